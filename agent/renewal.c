#include "agent/renewal.h"

#include <string.h>

#include "base/backoff.h"

#define DAY INT64_C(86400)

const char *renew_reason_name(enum renew_reason reason)
{
    static const char *const names[] = {
        [RENEW_NOT_DUE] = NULL,      [RENEW_MISSING] = NULL,     [RENEW_DAMAGED] = "damaged",
        [RENEW_NAMES] = "names",     [RENEW_KEY] = "key",        [RENEW_ISSUER] = "issuer",
        [RENEW_LIFETIME] = "lifetime", [RENEW_FORCED] = "forced",
    };
    return names[reason];
}

static int64_t lifetime_s(const struct cert *leaf)
{
    /* RFC 5280: notAfter is included in the validity. */
    int64_t life = (int64_t)leaf->not_after - (int64_t)leaf->not_before + 1;
    return life > 0 ? life : 1;
}

time_t renewal_instant(const struct config_certificate *c, const struct cert *leaf, double jitter)
{
    int64_t life = lifetime_s(leaf);
    int64_t left = life < 10 * DAY ? life / 2 : life / 3;
    int64_t spread = life / 20 < DAY / 2 ? life / 20 : DAY / 2;

    if (c->renew_explicit) {
        int64_t wanted = c->renew_before_s > 0 ? c->renew_before_s
                                               : (int64_t)((double)life * c->renew_share);
        if (wanted > left)
            left = wanted;
    }
    left += (int64_t)((double)spread * jitter);
    /* A share or duration over the lifetime would renew for ever: leave it a tenth of its life. */
    if (left > life - life / 10)
        left = life - life / 10;
    return leaf->not_after - left;
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

enum renew_reason renewal_reason(const struct config_certificate *c, const struct renewal_facts *facts,
                                 time_t now)
{
    const struct cert *leaf = facts->leaf;

    if (!leaf)
        return facts->damaged ? RENEW_DAMAGED : RENEW_MISSING;
    if (!same_names(&c->names, &leaf->names))
        return RENEW_NAMES;
    if (strcmp(leaf->key_type_name, key_type_name(c->key_type)) != 0)
        return RENEW_KEY;
    if (facts->directory && strcmp(facts->directory, c->issuer->directory) != 0)
        return RENEW_ISSUER;
    if (now >= renewal_instant(c, leaf, facts->jitter))
        return RENEW_LIFETIME;
    return RENEW_NOT_DUE;
}

time_t renewal_next_try(int failures, time_t now, time_t not_after, time_t retry_at, uint32_t random)
{
    int64_t cap = DAY;
    int64_t remaining = (int64_t)not_after - (int64_t)now;

    if (not_after != 0 && remaining > 0 && remaining / 8 < cap)
        cap = remaining / 8;
    if (cap < 60)
        cap = 60;
    time_t next = now + (time_t)backoff_delay(failures, 60, 10, cap, random);
    return next < retry_at ? retry_at : next;
}

bool renewal_is_emergency(const struct cert *leaf, time_t now)
{
    return (int64_t)leaf->not_after - (int64_t)now < lifetime_s(leaf) / 20;
}
