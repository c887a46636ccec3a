/* A server that was not running, or an endpoint that did not answer, when its certificate was
 * deployed is proven when it comes up; so are endpoints that the configuration has got since. Looks
 * after growing pauses until every endpoint shows the certificate. Touches nothing. */
#pragma once

#include "agent/config.h"
#include "agent/deploy_record.h"
#include "agent/services.h"

/* Whether there are endpoints that do not show the certificate, or that were never looked at. */
bool recheck_is_wanted(const struct deploy_record *r, const struct config_certificate *c);

struct recheck_settings {
    const struct services *services;
    const struct config_certificate
        *certificate; /* borrowed: a new configuration needs a new recheck */
    struct deploy_record
        *record; /* rows and error are updated at each look; nothing else may change it */
    const char *live_sha256;
    int64_t generation; /* of that leaf */
};

struct recheck;
/* Everything is proven: the record's outcome says so. The handle is gone. */
typedef void recheck_fn(void *userdata);
struct recheck *recheck_start(const struct recheck_settings *settings, recheck_fn *fn,
                              void *userdata);
void recheck_free(struct recheck *r); /* NULL is fine */
