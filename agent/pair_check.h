/* For servers that their own check does not protect (struct server_type, `pairs`): whether each
 * certificate file that they are configured with belongs to its key file. Done by a worker. */
#pragma once

#include "agent/config.h"
#include "agent/services.h"

struct pair_check;
/* e: a pair that does not match; NULL: all do, as far as we may read them. */
typedef void pair_check_fn(const struct err *e, void *userdata);
/* Calls back on a later turn; freeing the handle cancels, it is gone at the callback. The
 * configuration, of which the server is a part, is referenced. */
struct pair_check *pair_check_start(const struct services *services, struct config *config,
                                    const struct config_server *server, pair_check_fn *fn,
                                    void *userdata);
void pair_check_free(struct pair_check *p); /* NULL is fine */
