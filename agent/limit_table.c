#include "agent/limit_table.h"

#include <strings.h>

#include "base/mem.h"

#define HOUR 3600
#define DAY  86400

const char *const limit_names[LIMITS_N] = {
    [LIMIT_ORDERS] = "orders",
    [LIMIT_CERTIFICATES] = "certificates",
    [LIMIT_SAME_NAMES] = "same-names",
    [LIMIT_FAILURES] = "failures",
    [LIMIT_FAILURES_IN_A_ROW] = "failures-in-a-row",
    [LIMIT_ACCOUNTS] = "accounts",
    [LIMIT_ACCOUNTS_IN_RANGE] = "accounts-in-range",
};

const char *const limit_texts[LIMITS_N] = {
    [LIMIT_ORDERS] = "new orders per account",
    [LIMIT_CERTIFICATES] = "certificates per registered domain",
    [LIMIT_SAME_NAMES] = "certificates with exactly the same names",
    [LIMIT_FAILURES] = "failed validations per name",
    [LIMIT_FAILURES_IN_A_ROW] = "failed validations in a row per name",
    [LIMIT_ACCOUNTS] = "new accounts per IP address",
    [LIMIT_ACCOUNTS_IN_RANGE] = "new accounts per IPv6 /48",
};

/* Let's Encrypt, letsencrypt.org/docs/rate-limits of 2026-08-05. Consecutive failures: 1152, of
 * which one is forgotten a day. */
#define LETS_ENCRYPT_RATES                                                                         \
    {                                                                                              \
        [LIMIT_ORDERS] = {300, 3 * HOUR}, [LIMIT_CERTIFICATES] = {50, 7 * DAY},                    \
        [LIMIT_SAME_NAMES] = {5, 7 * DAY}, [LIMIT_FAILURES] = {5, HOUR},                           \
        [LIMIT_FAILURES_IN_A_ROW] = {1152, 1152 * DAY}, [LIMIT_ACCOUNTS] = {10, 3 * HOUR},         \
        [LIMIT_ACCOUNTS_IN_RANGE] = {500, 3 * HOUR},                                               \
    }

static const struct gate_rule production_requests[] = {
    {"new-nonce", {20, 1}}, {"new-account", {5, 1}},     {"new-order", {300, 1}},
    {"revoke", {10, 1}},    {"renewal-info", {1000, 1}}, {"directory", {40, 1}},
    {NULL, {250, 1}},
};

/* Staging counts as production does, with larger numbers for what lasts hours and days (which
 * nobody needs for trying out, so the smaller ones hold here, too) and smaller ones for some
 * requests. */
static const struct gate_rule staging_requests[] = {
    {"new-nonce", {20, 1}}, {"new-account", {5, 1}},     {"new-order", {20, 1}},
    {"revoke", {10, 1}},    {"renewal-info", {1000, 1}}, {"directory", {40, 1}},
    {NULL, {20, 1}},
};

static const struct {
    const char *directory;
    struct limit_set set;
} known[] = {
    {
        "https://acme-v02.api.letsencrypt.org/directory",
        {LETS_ENCRYPT_RATES, production_requests, ARRAY_LEN(production_requests)},
    },
    {
        "https://acme-staging-v02.api.letsencrypt.org/directory",
        {LETS_ENCRYPT_RATES, staging_requests, ARRAY_LEN(staging_requests)},
    },
};

const struct limit_set *limit_set_of(const char *directory)
{
    static const struct limit_set none;

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcasecmp(known[i].directory, directory) == 0)
            return &known[i].set;
    }
    return &none;
}
