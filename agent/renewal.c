#include "agent/renewal.h"

#include <string.h>

#include "base/backoff.h"

#define DAY           INT64_C(86400)
#define FIRST_DELAY_S 60

const char *renew_reason_name(enum renew_reason reason)
{
    static const char *const names[] = {
        [RENEW_NOT_DUE] = NULL,        [RENEW_MISSING] = NULL,    [RENEW_DAMAGED] = "damaged",
        [RENEW_NAMES] = "names",       [RENEW_KEY] = "key",       [RENEW_ISSUER] = "issuer",
        [RENEW_LIFETIME] = "lifetime", [RENEW_FORCED] = "forced", [RENEW_REVOKED] = "revoked",
    };
    return names[reason];
}

static int64_t lifetime_s(struct validity v)
{
    /* RFC 5280: notAfter is included in the validity. */
    int64_t life = (int64_t)v.not_after - (int64_t)v.not_before + 1;
    return life > 0 ? life : 1;
}

time_t renewal_instant(const struct config_certificate *c, struct validity v, double jitter)
{
    int64_t life = lifetime_s(v);
    int64_t left = life < 10 * DAY ? life / 2 : life / 3;
    int64_t spread = life / 20 < DAY / 2 ? life / 20 : DAY / 2;

    if (c->renew_explicit) {
        int64_t wanted =
            c->renew_before_s > 0 ? c->renew_before_s : (int64_t)((double)life * c->renew_share);
        if (wanted > left)
            left = wanted;
    }
    left += (int64_t)((double)spread * jitter);
    /* A share or duration over the lifetime would renew for ever: leave it a tenth of its life. */
    if (left > life - life / 10)
        left = life - life / 10;
    return v.not_after - left;
}

static bool same_names(const struct strv *wanted, const struct strv *have)
{
    if (wanted->n != have->n)
        return false;
    for (size_t i = 0; i < wanted->n; i++) {
        if (!strv_has(have, wanted->items[i]))
            return false;
    }
    return true;
}

enum renew_reason renewal_reason(const struct config_certificate *c,
                                 const struct renewal_facts *facts, time_t now)
{
    const struct generation_facts *newest = facts->newest;

    if (facts->damaged)
        return RENEW_DAMAGED;
    if (!newest)
        return RENEW_MISSING;
    if (facts->revoked)
        return RENEW_REVOKED;
    if (!same_names(&c->names, &newest->names))
        return RENEW_NAMES;
    if (newest->key_type && strcmp(newest->key_type, key_type_name(c->key_type)) != 0)
        return RENEW_KEY;
    if (newest->directory && strcmp(newest->directory, c->issuer->directory) != 0)
        return RENEW_ISSUER;
    struct validity v = {newest->not_before, newest->not_after};
    if (now >= renewal_instant(c, v, facts->jitter))
        return RENEW_LIFETIME;
    return RENEW_NOT_DUE;
}

time_t renewal_next_try(int failures, time_t now, const struct validity *v, time_t retry_at,
                        uint32_t random)
{
    int64_t cap = DAY;

    if (v) {
        int64_t remaining = (int64_t)v->not_after - (int64_t)now;
        int64_t share = (remaining > 0 ? remaining : lifetime_s(*v)) / 8;
        if (share < cap)
            cap = share;
    }
    if (cap < FIRST_DELAY_S)
        cap = FIRST_DELAY_S;
    time_t next = now + (time_t)backoff_delay(failures, FIRST_DELAY_S, 10, cap, random);
    return next < retry_at ? retry_at : next;
}

bool renewal_is_emergency(struct validity v, time_t now)
{
    return (int64_t)v.not_after - (int64_t)now < lifetime_s(v) / 20;
}

time_t renewal_emergency(struct validity v)
{
    return v.not_after - (time_t)(lifetime_s(v) / 20) + 1;
}
