#include "agent/renewal.h"

#include <string.h>

#include "base/backoff.h"

#define DAY           INT64_C(86400)
#define FIRST_DELAY_S 60

const char *renew_reason_name(enum renew_reason reason)
{
    static const char *const names[] = {
        [RENEW_NOT_DUE] = NULL,      [RENEW_MISSING] = NULL,        [RENEW_DAMAGED] = "damaged",
        [RENEW_NAMES] = "names",     [RENEW_KEY] = "key",           [RENEW_ISSUER] = "issuer",
        [RENEW_ARI] = "ari",         [RENEW_LIFETIME] = "lifetime", [RENEW_FORCED] = "forced",
        [RENEW_REVOKED] = "revoked",
    };
    return names[reason];
}

static int64_t lifetime_s(struct validity v)
{
    /* RFC 5280: notAfter is included in the validity. */
    int64_t life = (int64_t)v.not_after - (int64_t)v.not_before + 1;
    return life > 0 ? life : 1;
}

/* What an explicit renew.before leaves; 0 without one. */
static int64_t explicit_left(const struct config_certificate *c, int64_t life)
{
    if (!c->renew_explicit)
        return 0;
    return c->renew_before_s > 0 ? c->renew_before_s : (int64_t)((double)life * c->renew_share);
}

static time_t instant_of(struct validity v, int64_t left, double jitter)
{
    int64_t life = lifetime_s(v);
    int64_t spread = life / 20 < DAY / 2 ? life / 20 : DAY / 2;

    left += (int64_t)((double)spread * jitter);
    /* A share or duration over the lifetime would renew for ever: leave it a tenth of its life. */
    if (left > life - life / 10)
        left = life - life / 10;
    return v.not_after - left;
}

time_t renewal_instant(const struct config_certificate *c, struct validity v, double jitter)
{
    int64_t life = lifetime_s(v);
    int64_t left = life < 10 * DAY ? life / 2 : life / 3;
    int64_t wanted = explicit_left(c, life);

    return instant_of(v, wanted > left ? wanted : left, jitter);
}

/* After n renewals in a row that ARI asked for at once: 1, 10, 100 minutes, then daily. */
static time_t ari_floor(const struct renewal_facts *facts, int64_t life)
{
    int64_t cap = life / 8 < DAY ? life / 8 : DAY;
    uint32_t random = (uint32_t)(facts->jitter * UINT32_MAX);

    if (facts->ari_renewals == 0)
        return 0;
    if (cap < FIRST_DELAY_S)
        cap = FIRST_DELAY_S;
    return facts->newest->created_at +
           (time_t)backoff_delay(facts->ari_renewals, FIRST_DELAY_S, 10, cap, random);
}

struct renewal_due renewal_due(const struct config_certificate *c,
                               const struct renewal_facts *facts)
{
    struct validity v = {facts->newest->not_before, facts->newest->not_after};
    int64_t life = lifetime_s(v), wanted = explicit_left(c, life);
    time_t at = facts->ari_at, least = ari_floor(facts, life);

    if (at == 0)
        return (struct renewal_due){renewal_instant(c, v, facts->jitter), false};
    at = at < least ? least : at;
    if (wanted > 0 && instant_of(v, wanted, facts->jitter) < at)
        return (struct renewal_due){instant_of(v, wanted, facts->jitter), false};
    if (at >= renewal_emergency(v))
        return (struct renewal_due){renewal_emergency(v), false};
    return (struct renewal_due){at, true};
}

int renewal_counts_ari(const struct renewal_facts *facts, enum renew_reason reason, time_t now)
{
    if (reason != RENEW_ARI || !facts->newest)
        return 0;
    struct validity v = {facts->newest->not_before, facts->newest->not_after};
    bool early = (int64_t)now - facts->newest->created_at < lifetime_s(v) / 4;
    return early && facts->ari_renewals < 1000 ? facts->ari_renewals + 1 : 1;
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
    struct renewal_due due = renewal_due(c, facts);
    if (now < due.at)
        return RENEW_NOT_DUE;
    return due.by_ari ? RENEW_ARI : RENEW_LIFETIME;
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
