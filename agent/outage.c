#include "agent/outage.h"

#include <stdint.h>

/* Further away than any pause: the clock jumped. */
static bool is_past(time_t instant, time_t now)
{
    return instant <= now || (int64_t)instant - now > OUTAGE_PAUSE_S;
}

bool outage_failed(struct outage *o, time_t now)
{
    if (o->failures < OUTAGE_FAILURES)
        o->failures++;
    if (o->since != 0 || o->failures < OUTAGE_FAILURES)
        return false;
    o->since = now;
    if (is_past(o->next_try, now))
        o->next_try = now + OUTAGE_TRY_S;
    return true;
}

bool outage_answered(struct outage *o)
{
    bool ends = o->since != 0;

    *o = (struct outage){0};
    return ends;
}

void outage_pause(struct outage *o, time_t now, time_t until)
{
    if (!is_past(until, now) && (until > o->next_try || is_past(o->next_try, now)))
        o->next_try = until;
}

bool outage_may_try(struct outage *o, time_t now)
{
    if (outage_next_try(o, now) != 0)
        return false;
    o->next_try = o->since != 0 ? now + OUTAGE_TRY_S : 0;
    return true;
}

time_t outage_next_try(const struct outage *o, time_t now)
{
    return is_past(o->next_try, now) ? 0 : o->next_try;
}
