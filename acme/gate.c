/* One queue per rule, one timer for all: it is armed for the first instant at which the head of any
 * queue may pass, so that nobody polls and a thousand waits cost one wake-up per request. */
#include "acme/gate.h"

#include <string.h>

#include "base/clock.h"
#include "base/rate_window.h"

struct gate_wait {
    struct lane *lane; /* NULL when the gate was freed */
    struct gate_wait *previous, *next;
    uint64_t number; /* order of arrival over all lanes */
    gate_fn *fn;
    void *userdata;
    bool called;
};

struct lane {
    struct gate *gate;
    const char *operation;
    struct rate_window *window; /* NULL: no rule */
    struct gate_wait *first, *last;
};

struct gate {
    struct loop *loop;
    struct rate_window *total; /* or NULL */
    struct timer *timer;       /* armed while somebody waits */
    uint64_t arrivals;
    size_t n;
    struct lane lanes[]; /* the last is for what no rule names */
};

struct gate *gate_new(struct loop *l, const struct gate_rule *rules, size_t n,
                      const struct rate *total)
{
    struct gate *g = xcalloc(1, sizeof(*g) + (n + 1) * sizeof(g->lanes[0]));

    g->loop = l;
    g->total = total && total->count > 0 ? rate_window_new(total) : NULL;
    for (size_t i = 0; i < n; i++) {
        if (rules[i].operation)
            g->lanes[g->n++] = (struct lane){
                .gate = g,
                .operation = rules[i].operation,
                .window = rate_window_new(&rules[i].rate),
            };
    }
    struct lane *rest = &g->lanes[g->n++];
    rest->gate = g;
    for (size_t i = 0; i < n; i++) {
        if (!rules[i].operation && !rest->window)
            rest->window = rate_window_new(&rules[i].rate);
    }
    return g;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    timer_free(g->timer);
    for (size_t i = 0; i < g->n; i++) {
        for (struct gate_wait *w = g->lanes[i].first; w; w = w->next)
            w->lane = NULL;
        rate_window_free(g->lanes[i].window);
    }
    rate_window_free(g->total);
    free(g);
}

static struct lane *lane_of(struct gate *g, const char *operation)
{
    size_t i = 0;

    while (i + 1 < g->n && strcmp(g->lanes[i].operation, operation) != 0)
        i++;
    return &g->lanes[i];
}

static int64_t lane_wait_ms(const struct lane *lane, int64_t now_ms)
{
    int64_t own = rate_window_wait_ms(lane->window, now_ms);
    int64_t total = rate_window_wait_ms(lane->gate->total, now_ms);

    return own > total ? own : total;
}

static void lane_take(struct lane *lane, int64_t now_ms)
{
    rate_window_take(lane->window, now_ms);
    rate_window_take(lane->gate->total, now_ms);
}

static void unlink_wait(struct gate_wait *w)
{
    struct lane *lane = w->lane;

    *(w->previous ? &w->previous->next : &lane->first) = w->next;
    *(w->next ? &w->next->previous : &lane->last) = w->previous;
}

/* Of the heads that may pass, the one that came first; else NULL and how long until one may. */
static struct gate_wait *next_to_pass(struct gate *g, int64_t now_ms, int64_t *ret_wait_ms)
{
    struct gate_wait *found = NULL;

    *ret_wait_ms = -1;
    for (size_t i = 0; i < g->n; i++) {
        struct gate_wait *head = g->lanes[i].first;
        int64_t wait = head ? lane_wait_ms(&g->lanes[i], now_ms) : 0;

        if (head && wait == 0 && (!found || head->number < found->number))
            found = head;
        if (wait > 0 && (*ret_wait_ms < 0 || wait < *ret_wait_ms))
            *ret_wait_ms = wait;
    }
    return found;
}

static void on_timer(void *userdata);

static void arm(struct gate *g)
{
    int64_t wait_ms;

    timer_free(take(g->timer));
    if (next_to_pass(g, clock_boot_ms(), &wait_ms))
        wait_ms = 0;
    if (wait_ms >= 0)
        g->timer = timer_after(g->loop, wait_ms, on_timer, g);
}

/* A callback may free other waits, or add some. */
static void on_timer(void *userdata)
{
    struct gate *g = userdata;
    struct gate_wait *w;
    int64_t now_ms = clock_boot_ms(), wait_ms;

    while ((w = next_to_pass(g, now_ms, &wait_ms))) {
        unlink_wait(w);
        lane_take(w->lane, now_ms);
        w->called = true;
        w->fn(w->userdata);
        free(w);
        now_ms = clock_boot_ms();
    }
    arm(g);
}

void gate_set_total(struct gate *g, const struct rate *total)
{
    rate_window_free(g->total);
    g->total = total && total->count > 0 ? rate_window_new(total) : NULL;
    arm(g);
}

bool gate_try(struct gate *g, const char *operation)
{
    struct lane *lane = g ? lane_of(g, operation) : NULL;
    int64_t now_ms = clock_boot_ms();

    if (!lane)
        return true;
    if (lane->first || lane_wait_ms(lane, now_ms) > 0)
        return false;
    lane_take(lane, now_ms);
    return true;
}

struct gate_wait *gate_wait(struct gate *g, const char *operation, gate_fn *fn, void *userdata)
{
    struct gate_wait *w = xcalloc(1, sizeof(*w));
    struct lane *lane = lane_of(g, operation);

    w->lane = lane;
    w->number = g->arrivals++;
    w->fn = fn;
    w->userdata = userdata;
    w->previous = lane->last;
    *(lane->last ? &lane->last->next : &lane->first) = w;
    lane->last = w;
    if (w == lane->first) /* behind others the timer is right already */
        arm(g);
    return w;
}

void gate_wait_free(struct gate_wait *w)
{
    if (!w || w->called)
        return;
    if (!w->lane) {
        free(w);
        return;
    }
    struct lane *lane = w->lane;
    bool was_first = w == lane->first;

    unlink_wait(w);
    if (was_first)
        arm(lane->gate);
    free(w);
}
