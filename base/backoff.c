#include "base/backoff.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/* Of the delay, in both directions. */
#define JITTER 0.2

static int64_t at_least(int64_t n, int64_t least)
{
    return n > least ? n : least;
}

int64_t backoff_delay(int failures, int64_t base, int64_t factor, int64_t cap, uint32_t random)
{
    base = at_least(base, 1);
    factor = at_least(factor, 1);
    cap = at_least(cap, 1);

    int64_t delay = base < cap ? base : cap;
    /* factor 1 would make the loop as long as somebody else's counter */
    for (int i = 1; i < failures && delay < cap && factor > 1; i++)
        delay = delay > cap / factor ? cap : delay * factor;

    double share = (2.0 * random / UINT32_MAX - 1.0) * JITTER;
    int64_t jittered;
    if (__builtin_add_overflow(delay, (int64_t)((double)delay * share), &jittered))
        jittered = INT64_MAX;
    return at_least(jittered, at_least(base / 2, 1));
}

uint32_t random_u32(void)
{
    uint32_t n;

    while (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
        if (errno != EINTR)
            abort(); /* predictable names and delays are no way to go on */
    return n;
}
