#include "agent/staple_plan.h"

#include "base/backoff.h"

#define STEP_MAX_S     3600
#define LATE_MAX_S     300
#define STEP_MIN_S     2
#define MARGIN_MAX_S   600
#define YOUNG_S        (15 * 60)
#define YOUNG_CAP_S    60
#define CAP_S          3600
#define HOPELESS_CAP_S (6 * 3600)
#define RETRY_MAX_S    86400

static int64_t clamp(int64_t n, int64_t min, int64_t max)
{
    if (n < min)
        return min;
    return n > max ? max : n;
}

/* 0 to n-1, for n of any size up to some centuries. */
static int64_t spread(int64_t n, uint32_t random)
{
    return n > 0 ? (int64_t)((double)n * ((double)random / 4294967296.0)) : 0;
}

time_t staple_withdraw_at(struct staple_times held)
{
    int64_t life = (int64_t)held.next_update - held.this_update;

    return held.next_update - clamp(life / 8, 1, MARGIN_MAX_S);
}

time_t staple_next_fetch(struct staple_times held, time_t fresh_until, time_t now, uint32_t random)
{
    int64_t life = (int64_t)held.next_update - held.this_update;
    time_t half = held.this_update + life / 2;
    time_t late = held.this_update + life / 4 * 3;
    time_t at;

    if (now < half) {
        at = half + spread(life / 16, random); /* 10,000 staples of one minute are no stampede */
    } else if (now < late) {
        int64_t step = clamp(life / 16, STEP_MIN_S, STEP_MAX_S);
        at = now + step - spread(step / 4, random);
    } else {
        int64_t step = clamp(life / 64, STEP_MIN_S, LATE_MAX_S);
        at = now + step - spread(step / 4, random);
    }
    if (at < fresh_until && now < late)
        at = fresh_until < late ? fresh_until : late;
    return at > now ? at : now + 1;
}

bool staple_is_young(time_t not_before, time_t now)
{
    /* CAs date back, by an hour mostly: that hour counts as well. */
    return now < not_before + 3600 + YOUNG_S;
}

time_t staple_next_try(int failures, enum ocsp_status last, time_t not_before, time_t retry_at,
                       time_t now, uint32_t random)
{
    int64_t cap = CAP_S;

    if (staple_is_young(not_before, now))
        cap = YOUNG_CAP_S;
    else if (last == OCSP_STATUS_UNAUTHORIZED || last == OCSP_STATUS_NOT_UNDERSTOOD)
        cap = HOPELESS_CAP_S;
    time_t at = now + backoff_delay(failures, 5, 2, cap, random);

    if (retry_at > at && retry_at < now + RETRY_MAX_S)
        at = retry_at;
    return at;
}
