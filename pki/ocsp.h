/* What an OCSP responder says, believed only when the certificate's issuer stands behind it. Pure:
 * nothing is fetched or kept here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/err.h"
#include "pki/cert.h"
#include "pki/ocsp_request.h"

enum ocsp_status {
    /* Signed by the issuer, or by whom it named: */
    OCSP_STATUS_GOOD,
    OCSP_STATUS_REVOKED,
    OCSP_STATUS_UNKNOWN,
    /* Signed by nobody: */
    OCSP_STATUS_TRY_LATER,      /* also internalError: soon again */
    OCSP_STATUS_UNAUTHORIZED,   /* it does not know the certificate (yet), RFC 5019 2.2.3 */
    OCSP_STATUS_NOT_UNDERSTOOD, /* malformedRequest, sigRequired: asking again is of little use */
};
const char *ocsp_status_name(enum ocsp_status status); /* "good", "tryLater", ... */

struct ocsp_answer {
    enum ocsp_status status;
    time_t this_update; /* these two are 0 when nobody signed */
    time_t next_update; /* of use until then: nextUpdate, or the earlier end of the certificate or
                           of the delegate that signed */
    bool beyond_leaf;   /* nextUpdate lies behind the certificate's end: odd, so clamped */
    time_t revoked_at;  /* REVOKED: when */
    const char *reason; /* REVOKED: "keyCompromise", ...; "unspecified" when nobody said. Static */
};

#define OCSP_RESPONSE_MAX (64 * 1024)
#define OCSP_SKEW_S       300

/* Validates a response (RFC 6960 3.2): signed by `issuer` or by a certificate that it issued for
 * OCSP signing and that has not expired; one entry with exactly the CertID of `leaf` by `hash`;
 * thisUpdate not in the future and not before `held` (that of the staple we have; 0: none);
 * nextUpdate to come, and present unless the news is bad. Clocks may differ by OCSP_SKEW_S, but a
 * good answer that is over is never accepted. False and ERR_REFUSED for everything else. */
NODISCARD bool ocsp_check(const void *der, size_t len, const struct cert *leaf,
                          const struct cert *issuer, enum ocsp_hash hash, time_t held, time_t now,
                          struct ocsp_answer *ret, struct err **err);

/* Status and dates of a response that nobody checks, for `inspect` of a server whose issuer is not
 * known. The entry of the leaf's serial. */
NODISCARD bool ocsp_peek(const void *der, size_t len, const struct cert *leaf,
                         struct ocsp_answer *ret, struct err **err);

/* Whether a response that was checked before is the one for that CertID, see ocsp_id(). */
bool ocsp_is_about(const void *der, size_t len, const char *id);

/* The responder's own replies (RFC 6960 4.2.1): unsigned, five octets. */
extern const unsigned char ocsp_reply_malformed[5], ocsp_reply_try_later[5];
