/* The CA's authorization object (RFC 8555 7.1.4): whose it is, where it stands, and the challenge
 * that our solver can answer. Pure. */
#pragma once

#include <stdbool.h>

#include "acme/challenge.h"
#include "base/err.h"
#include "base/json.h"
#include "base/strv.h"

#define TOKEN_MAX 512

enum authz_status { AUTHZ_STATUS_PENDING, AUTHZ_STATUS_VALID, AUTHZ_STATUS_OVER };

struct authz_object {
    enum authz_status status;
    char *identifier; /* as the CA writes it, without "*." */
    bool wildcard;
    char *challenge_url; /* of the chosen challenge: pending authorizations only */
    char *token;
    bool answered;     /* the CA works on the challenge already */
    struct err *error; /* why it is over */
};

/* names: what was ordered; an authorization for anything else is refused. type: whose challenge is
 * looked for; unknown ones and those without a token are skipped. NULL: none is (just the status).
 */
NODISCARD bool authz_object_read(const json_t *json, const struct challenge_type *type,
                                 const struct strv *names, struct authz_object *ret,
                                 struct err **err);
void authz_object_done(struct authz_object *o);
