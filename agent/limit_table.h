/* What known CAs allow, as published; other CAs have no limits here until the configuration says
 * so. What is counted against these numbers: agent/limits.h. */
#pragma once

#include "acme/gate.h"
#include "base/rate.h"

enum limit {
    LIMIT_ORDERS,            /* new orders per account */
    LIMIT_CERTIFICATES,      /* per registered domain, IPv4 address, IPv6 /64 */
    LIMIT_SAME_NAMES,        /* certificates with exactly the same names */
    LIMIT_FAILURES,          /* failed authorizations per identifier and account */
    LIMIT_FAILURES_IN_A_ROW, /* the same without a success between; then the CA pauses the pair */
    LIMIT_ACCOUNTS,          /* new accounts per IP address */
    LIMIT_ACCOUNTS_IN_RANGE, /* new accounts per IPv6 /48 */
    LIMITS_N,
};

/* Closed sets for status, metrics and files: "orders", ...; and for people. */
extern const char *const limit_names[LIMITS_N];
extern const char *const limit_texts[LIMITS_N];

struct limit_set {
    struct rate rates[LIMITS_N];      /* count 0: none */
    const struct gate_rule *requests; /* per second and IP address */
    size_t n_requests;
};
/* Never NULL. */
const struct limit_set *limit_set_of(const char *directory);
