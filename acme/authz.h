/* One authorization on its way to valid: a machine of its own below the order's step "authorize".
 *
 *     READ -> PRESENT -> ANSWER -> POLL -> VALID | FAILED
 *
 * It does one step when it is told to (authz_go) and reports after each; authz_set decides when. */
#pragma once

#include <stdbool.h>

#include "acme/challenge.h"
#include "acme/session.h"

enum authz_state {
    AUTHZ_READ,
    AUTHZ_PRESENT,
    AUTHZ_ANSWER,
    AUTHZ_POLL,
    AUTHZ_VALID,
    AUTHZ_FAILED,
};

struct authz_settings {
    struct session *session;
    struct solver *solver;
    const struct strv *names; /* of the order; must outlive the machine */
    bool explain;             /* only find out whether it failed, and why */
};

/* A step is over, or a pause. The machine may be freed in the callback. */
struct authz;
typedef void authz_fn(struct authz *a, void *userdata);
struct authz *authz_new(const struct authz_settings *settings, const char *url, authz_fn *fn,
                        void *userdata);
/* Withdraws what was presented. NULL is fine. */
void authz_free(struct authz *a);

enum authz_state authz_state(const struct authz *a);
/* A step is under way. */
bool authz_is_busy(const struct authz *a);
/* authz_go would start a step now: not busy, not pausing, not at an end. */
bool authz_is_ready(const struct authz *a);
void authz_go(struct authz *a);
/* Of a failed one; begins with the identifier. */
const struct err *authz_error(const struct authz *a);
/* Valid or failed by a validation of now: not reused, not for want of a reply. */
bool authz_is_judged(const struct authz *a);
/* As the order names it, of one that was read: with "*.". Caller frees. */
char *authz_name(const struct authz *a);
/* NULL before it was read. */
const char *authz_identifier(const struct authz *a);
