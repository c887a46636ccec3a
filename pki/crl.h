/* Certificate revocation lists. They can be large, so nothing is made of their entries: a list is
 * its octets, walked once per look-up. Pure; for worker threads when the list is not small. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/err.h"
#include "pki/cert.h"

#define CRL_MAX    (32 * 1024 * 1024)
#define CRL_SKEW_S 300

struct crl;
/* One complete list, DER or (what some distribution points have) PEM. The octets are copied once.
 * ERR_REFUSED for anything else, for delta and indirect lists, and for critical extensions nobody
 * knows. Every entry was seen to be well formed. */
NODISCARD struct crl *crl_parse(const void *data, size_t len, struct err **err);
void crl_free(struct crl *c);
static inline void crl_free_p(struct crl **c)
{
    crl_free(*c);
}
#define auto_crl __attribute__((cleanup(crl_free_p)))
time_t crl_this_update(const struct crl *c);
time_t crl_next_update(const struct crl *c);

/* Whether the list is the one for certificates by `issuer` that name `url` as their distribution
 * point: signed by it, its issuing distribution point (RFC 5280 5.2.5) is that URL and includes
 * leaves and all reasons, thisUpdate is not in the future, nextUpdate still to come. */
NODISCARD bool crl_check(const struct crl *c, const struct cert *issuer, const char *url,
                         time_t now, struct err **err);

struct crl_query {
    const char *serial_hex; /* as in struct cert */
    bool revoked;           /* result; an entry with removeFromCRL is none */
    time_t revoked_at;
    const char *reason; /* "keyCompromise", ...; "unspecified" when nobody said. Static */
};
/* All questions in one walk. */
void crl_look_up(const struct crl *c, struct crl_query *queries, size_t n);

/* CRLReason as RFC 5280 spells it; "unspecified" for what it does not know. Static. */
const char *crl_reason_name(long reason);
