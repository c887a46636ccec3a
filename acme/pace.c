#include "acme/pace.h"

#include "base/backoff.h"
#include "base/clock.h"

#define POLL_FIRST_MS   20
#define POLL_LAST_MS    10000
#define POLL_EAGER_MS   2000
#define POLL_SLOW_MS    1000
#define RETRY_AFTER_MAX 60

/* 0.3, 0.9, 2.7 s: over a hiccup or a restart, not over an outage. */
#define RETRIES_MAX    3
#define RETRY_FIRST_MS 300
#define RETRY_FACTOR   3
#define RETRY_LAST_MS  10000
#define RETRY_SPAN_MS  60000

int64_t pace_poll_ms(struct pace_poll *p, const char *retry_after)
{
    int64_t now_ms = clock_boot_ms();
    time_t now = clock_now();
    time_t at;

    if (p->polls == 0)
        p->since_ms = now_ms;

    int64_t delay = POLL_FIRST_MS;
    for (int i = 0; i < p->polls && delay < POLL_LAST_MS; i++)
        delay *= 2;
    p->polls++;

    if (clock_parse_retry_after(retry_after, now, 1, RETRY_AFTER_MAX, &at))
        return (int64_t)(at - now) * 1000;
    if (now_ms + delay - p->since_ms > POLL_EAGER_MS && delay < POLL_SLOW_MS)
        delay = POLL_SLOW_MS;
    return delay < POLL_LAST_MS ? delay : POLL_LAST_MS;
}

bool pace_retry_ms(struct pace_retry *r, const struct err *e, int64_t *ret_pause_ms)
{
    int64_t now_ms = clock_boot_ms();

    if (e->kind != ERR_TRANSIENT && e->kind != ERR_LIMITED)
        return false;
    /* Time-outs may have used up minutes: the span bounds what the number of tries does not. */
    if (r->tries++ == 0)
        r->since_ms = now_ms;
    if (r->tries > RETRIES_MAX || now_ms - r->since_ms > RETRY_SPAN_MS)
        return false;

    int64_t pause =
        backoff_delay(r->tries, RETRY_FIRST_MS, RETRY_FACTOR, RETRY_LAST_MS, random_u32());
    if (e->retry_at != 0) {
        int64_t wait_ms = ((int64_t)e->retry_at - clock_now()) * 1000;
        if (wait_ms > RETRY_AFTER_MAX * 1000)
            return false;
        if (wait_ms > pause)
            pause = wait_ms;
    } else if (e->kind == ERR_LIMITED) { /* nobody said when: not to be tried out */
        return false;
    }
    *ret_pause_ms = pause;
    return true;
}
