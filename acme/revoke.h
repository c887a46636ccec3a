/* Revocation (RFC 8555 7.6), signed by the account that issued, or by the certificate's own key
 * when there is no such account any more. A certificate that is revoked already is a success. */
#pragma once

#include "acme/session.h"

struct cert;

/* Reasons that a subscriber may give (RFC 5280 5.3.1); CAs take fewer (badRevocationReason). */
enum revoke_reason {
    REVOKE_UNSPECIFIED = 0, /* not sent */
    REVOKE_KEY_COMPROMISE = 1,
    REVOKE_AFFILIATION_CHANGED = 3,
    REVOKE_SUPERSEDED = 4,
    REVOKE_CESSATION_OF_OPERATION = 5,
    REVOKE_PRIVILEGE_WITHDRAWN = 9,
};
/* "keyCompromise" (any case, with or without - and _) or its number. */
bool revoke_reason_parse(const char *text, enum revoke_reason *ret);
const char *revoke_reason_name(enum revoke_reason reason); /* "keyCompromise" */
extern const char *const revoke_reason_names[];            /* NULL-terminated */

/* e: NULL when the certificate is revoked. The handle ends with the callback; freeing it there is
 * harmless, later not. Ends before the session does. */
struct revoke;
typedef void revoke_fn(const struct err *e, void *userdata);
/* key NULL: the account's; else the certificate's. */
struct revoke *revoke_start(struct session *s, const struct cert *cert, enum revoke_reason reason,
                            struct key *key, revoke_fn *fn, void *userdata);
void revoke_free(struct revoke *r); /* cancels (the CA may have heard of it); NULL is fine */
