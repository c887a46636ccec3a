/* When and why a certificate is renewed. Pure functions of facts and an instant; no threshold is a
 * number of days that does not come from the certificate's own lifetime. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/config.h"
#include "store/generation.h"

enum renew_reason {
    RENEW_NOT_DUE,
    RENEW_MISSING,  /* there is no live generation */
    RENEW_REVOKED,  /* by its CA */
    RENEW_DAMAGED,  /* files of the live generation are missing or torn */
    RENEW_NAMES,    /* the configuration names others */
    RENEW_KEY,      /* another key type is configured */
    RENEW_ISSUER,   /* another directory is configured */
    RENEW_ARI,      /* its CA would like it to be renewed now */
    RENEW_LIFETIME, /* its time has come */
    RENEW_FORCED,   /* somebody asked */
};
/* "lifetime", ... as in the status document; NULL for NOT_DUE and MISSING. */
const char *renew_reason_name(enum renew_reason reason);

struct validity {
    time_t not_before, not_after;
};

struct renewal_facts {
    const struct generation_facts *newest; /* that can be used, or NULL */
    bool damaged;                          /* there is a newer one that cannot */
    bool revoked;                          /* the newest one is */
    double jitter;                         /* 0..1, fixed per certificate */
    time_t ari_at;    /* the instant chosen in the CA's window for the newest one; 0: none */
    int ari_renewals; /* by which it came about, in a row (renewal_counts_ari) */
};

/* The instant at which a certificate is due: a third of its lifetime left (half of it when the
 * lifetime is under 10 days), earlier by the jitter's share of min(lifetime/20, 12 h); an explicit
 * renew.before may only make it earlier. */
time_t renewal_instant(const struct config_certificate *c, struct validity v, double jitter);
/* When the newest one is due and by whom: ARI's instant goes both ways, but not past an explicit
 * renew.before, nor past the emergency; a CA that says "now" again and again is followed the more
 * slowly. */
struct renewal_due {
    time_t at;
    bool by_ari;
};
struct renewal_due renewal_due(const struct config_certificate *c,
                               const struct renewal_facts *facts);
/* How many renewals in a row ARI asked for soon after the one before, once one more is done. */
int renewal_counts_ari(const struct renewal_facts *facts, enum renew_reason reason, time_t now);
/* Why it must be renewed at `now`, or RENEW_NOT_DUE. */
enum renew_reason renewal_reason(const struct config_certificate *c,
                                 const struct renewal_facts *facts, time_t now);
/* The instant of another try after `failures` failures in a row: about 1, 10, 100 minutes, then
 * daily, at most an eighth of what is left of the certificate's life (of its whole life when it is
 * over; NULL: there is none yet), and never before `retry_at` (0: none). */
time_t renewal_next_try(int failures, time_t now, const struct validity *v, time_t retry_at,
                        uint32_t random);
/* Whether less than a twentieth of the lifetime is left, and from when on that is so. */
bool renewal_is_emergency(struct validity v, time_t now);
time_t renewal_emergency(struct validity v);
