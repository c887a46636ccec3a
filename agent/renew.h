/* Somebody's wish to have certificates renewed, deployed, rolled back or revoked: one ticket each,
 * collected into the document everleaf.renew/1 (product.md section 10). */
#pragma once

#include "agent/manager.h"

struct renew_options {
    struct strv names; /* empty: all */
    enum ticket_action action;
    bool force;                /* although not due */
    bool due_only;             /* respects back-off */
    int64_t generation;        /* of a rollback; 0: the one before the live one */
    enum revoke_reason reason; /* keyCompromise is always `now` */
    bool now;                  /* revoke before it is replaced */
    bool no_wait;              /* over as soon as every wish is accepted */
    const char *by;            /* "agent" or "self" */
};

struct renew;
/* The document is borrowed; the handle is gone. */
typedef void renew_fn(const json_t *document, void *userdata);
/* Options are copied. NULL and ERR_CONFIG for a name that is not configured (its nearest is the
 * hint). Calls back on a later turn. */
NODISCARD struct renew *renew_start(struct manager *m, const struct renew_options *options,
                                    renew_fn *fn, void *userdata, struct err **err);
void renew_free(struct renew *r); /* the renewals go on; NULL is fine */
bool renew_concerns(const struct renew *r, const char *certificate);
/* What is known by now; those under way are "in-progress". `e` (may be NULL) says why it ends here.
 */
json_t *renew_document(const struct renew *r, const struct err *e);
/* A document for a request that never began; results are empty. */
json_t *renew_failure(const struct err *e, const char *by, int exit_status);
/* The worse one of two exit statuses: 3 (broken) before 4 (unknown) before 1. */
int renew_worse(int a, int b);
