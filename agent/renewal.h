/* When and why a certificate is renewed. Pure functions of facts and an instant; no threshold is a
 * number of days that does not come from the certificate's own lifetime. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/config.h"
#include "pki/cert.h"

enum renew_reason {
    RENEW_NOT_DUE,
    RENEW_MISSING,  /* there is no live generation */
    RENEW_DAMAGED,  /* files of the live generation are missing or torn */
    RENEW_NAMES,    /* the configuration names others */
    RENEW_KEY,      /* another key type is configured */
    RENEW_ISSUER,   /* another directory is configured */
    RENEW_LIFETIME, /* its time has come */
    RENEW_FORCED,   /* somebody asked */
};
/* "lifetime", ... as in the status document; NULL for NOT_DUE and MISSING. */
const char *renew_reason_name(enum renew_reason reason);

struct renewal_facts {
    const struct cert *leaf;  /* of the live generation, or NULL */
    bool damaged;             /* there was a live generation that cannot be used */
    const char *directory;    /* the live generation came from, or NULL if unknown */
    double jitter;            /* 0..1, fixed per certificate */
};

/* The instant at which a certificate is due: a third of its lifetime left (half of it when the lifetime
 * is under 10 days), earlier by the jitter's share of min(lifetime/20, 12 h); an explicit renew.before
 * may only make it earlier. */
time_t renewal_instant(const struct config_certificate *c, const struct cert *leaf, double jitter);
/* Why it must be renewed at `now`, or RENEW_NOT_DUE. */
enum renew_reason renewal_reason(const struct config_certificate *c, const struct renewal_facts *facts,
                                 time_t now);
/* Delay in seconds before another try after `failures` failures in a row: about 1, 10, 100 minutes, then
 * daily, at most an eighth of the remaining lifetime (not_after 0: no certificate yet), at least 30 s;
 * never before `retry_at` (0: none). Returns the instant. */
time_t renewal_next_try(int failures, time_t now, time_t not_after, time_t retry_at, uint32_t random);
/* Whether less than a twentieth of the lifetime is left. */
bool renewal_is_emergency(const struct cert *leaf, time_t now);
