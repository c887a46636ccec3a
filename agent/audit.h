/* What the outputs of a certificate hold, compared by a worker: they may be on a slow or a dead
 * file system. */
#pragma once

#include "agent/config.h"
#include "agent/services.h"

struct audit_result {
    size_t absent; /* outputs at which nothing of ours is */
    size_t wrong;  /* outputs that do not hold the generation in the right form, the absent ones
                      included */
};

struct audit;
typedef void audit_fn(const struct audit_result *result, void *userdata);
/* Compares with a generation. Calls back on a later turn; freeing the handle cancels, it is gone at
 * the callback. The configuration is referenced. */
struct audit *audit_start(const struct services *services, struct config *config,
                          const struct config_certificate *certificate, int64_t generation,
                          audit_fn *fn, void *userdata);
void audit_free(struct audit *a); /* NULL is fine */
