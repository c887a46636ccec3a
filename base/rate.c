#include "base/rate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

static bool read_count(const char *text, size_t len, int64_t *ret)
{
    int64_t n = 0;

    if (len == 0 || len > 7 || strspn(text, "0123456789") != len)
        return false;
    for (size_t i = 0; i < len; i++)
        n = n * 10 + (text[i] - '0');
    *ret = n;
    return n >= 1 && n <= RATE_COUNT_MAX;
}

bool rate_parse(const char *text, struct rate *ret)
{
    const char *slash = strchr(text, '/');
    struct rate r;

    if (!slash || !read_count(text, (size_t)(slash - text), &r.count))
        return false;

    const char *period = slash + 1;
    char one[3] = {'1', period[0], '\0'}; /* "20/s" */
    if (strlen(period) == 1)
        period = one;
    if (!duration_parse(period, &r.period_s) || r.period_s < 1 || r.period_s > RATE_PERIOD_MAX)
        return false;
    *ret = r;
    return true;
}

const char *rate_text(const struct rate *r, char out[RATE_TEXT_MAX])
{
    static const struct {
        int64_t seconds;
        const char *text;
    } units[] = {{1, "s"}, {60, "m"}, {3600, "h"}, {86400, "d"}};
    char period[CLOCK_TEXT_MAX];

    duration_text(r->period_s, period);
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (r->period_s == units[i].seconds)
            snprintf(period, sizeof(period), "%s", units[i].text);
    }
    snprintf(out, RATE_TEXT_MAX, "%" PRId64 "/%s", r->count, period);
    return out;
}

int64_t rate_interval_ms(const struct rate *r)
{
    return (r->period_s * 1000 + r->count - 1) / r->count;
}

int64_t bucket_used(const struct rate *r, int64_t full_at_ms, int64_t now_ms)
{
    int64_t interval = rate_interval_ms(r);
    int64_t used = full_at_ms > now_ms ? (full_at_ms - now_ms + interval - 1) / interval : 0;

    return used < r->count ? used : r->count;
}

int64_t bucket_free_at_ms(const struct rate *r, int64_t full_at_ms, int64_t reserved,
                          int64_t now_ms)
{
    int64_t interval = rate_interval_ms(r);
    int64_t full = full_at_ms > now_ms ? full_at_ms : now_ms;
    int64_t wanted = reserved < r->count ? reserved + 1 : r->count;
    int64_t at = full - (r->count - wanted) * interval;

    /* All that the bucket can hold is spoken for: only the end of one of those helps. */
    return reserved >= r->count ? full + interval : at;
}

int64_t bucket_spend(const struct rate *r, int64_t full_at_ms, int64_t now_ms)
{
    int64_t interval = rate_interval_ms(r);
    int64_t full = (full_at_ms > now_ms ? full_at_ms : now_ms) + interval;
    int64_t empty = now_ms + r->count * interval;

    return full < empty ? full : empty;
}
