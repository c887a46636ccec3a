/* Has a certificate revoked by the CA that issued it: signed by the account there, else, when there
 * is none any more or the CA does not take its word, by the certificate's own key. */
#pragma once

#include "acme/revoke.h"
#include "agent/issuer.h"
#include "store/generation.h"

struct revoking_settings {
    const struct services *services;
    struct generation *generation; /* referenced */
    struct issuer *issuer;         /* of the directory it came from */
    enum revoke_reason reason;
};

/* e (borrowed): NULL when it is revoked. The handle is gone. */
struct revoking;
typedef void revoking_fn(const struct err *e, void *userdata);
struct revoking *revoking_start(const struct revoking_settings *settings, revoking_fn *fn,
                                void *userdata);
void revoking_free(struct revoking *r); /* the CA may have heard of it; NULL is fine */
