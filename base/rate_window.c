/* The instants of the last `count` events in a ring: the next event may come one period after the
 * oldest of them. */
#include "base/rate_window.h"

#include "base/mem.h"

struct rate_window {
    int64_t period_ms;
    int64_t count;
    int64_t next;    /* where the next event goes, and the oldest one is */
    int64_t last_ms; /* of the newest event */
    int64_t at_ms[];
};

struct rate_window *rate_window_new(const struct rate *r)
{
    int64_t parts = (r->count + RATE_WINDOW_MAX - 1) / RATE_WINDOW_MAX;
    int64_t count = r->count / parts;
    struct rate_window *w = xcalloc(1, sizeof(*w) + (size_t)count * sizeof(w->at_ms[0]));

    w->count = count;
    w->period_ms = (r->period_s * 1000 + parts - 1) / parts;
    w->last_ms = INT64_MIN;
    for (int64_t i = 0; i < count; i++)
        w->at_ms[i] = INT64_MIN / 2; /* long ago */
    return w;
}

void rate_window_free(struct rate_window *w)
{
    free(w);
}

int64_t rate_window_wait_ms(const struct rate_window *w, int64_t now_ms)
{
    if (!w)
        return 0;

    int64_t free_at = w->at_ms[w->next] + w->period_ms;
    return free_at > now_ms ? free_at - now_ms : 0;
}

void rate_window_take(struct rate_window *w, int64_t now_ms)
{
    if (!w)
        return;
    if (now_ms < w->last_ms) /* the ring is in order, whatever the clock does */
        now_ms = w->last_ms;
    w->at_ms[w->next] = w->last_ms = now_ms;
    w->next = (w->next + 1) % w->count;
}
