#include "agent/standby.h"

#include "base/clock.h"

struct waiting {
    struct managed *managed;
    struct authority *authority;
};

struct standby {
    struct loop *loop;
    struct waiting *items;
    size_t n;
    struct timer *timer; /* of the earliest try: */
    time_t first;
    struct timer *turn; /* somebody may go ahead, not in the middle of a callback */
    struct waiting *free_now;
    size_t n_free_now;
};

static void arm(struct standby *s);

/* Takes out what fits; the rest keeps its order. */
static size_t take_all(struct standby *s, const struct authority *authority, struct waiting *ret)
{
    size_t kept = 0, n = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (s->items[i].authority == authority)
            ret[n++] = s->items[i];
        else
            s->items[kept++] = s->items[i];
    }
    s->n = kept;
    return n;
}

static void on_turn(void *userdata)
{
    struct standby *s = userdata;

    timer_free(take(s->turn));
    while (s->n_free_now > 0) /* what is considered may remove others */
        managed_wake(s->free_now[--s->n_free_now].managed);
    arm(s);
}

void standby_release(struct standby *s, struct authority *authority)
{
    s->free_now = xreallocarray(s->free_now, s->n_free_now + s->n + 1, sizeof *s->free_now);
    s->n_free_now += take_all(s, authority, s->free_now + s->n_free_now);
    if (!s->turn)
        s->turn = timer_after(s->loop, 0, on_turn, s);
}

/* The neediest of those whose CA may be tried now. */
static void on_try(void *userdata)
{
    struct standby *s = userdata;
    struct managed *best = NULL;
    time_t now = clock_now();

    timer_free(take(s->timer));
    for (size_t i = 0; i < s->n; i++) {
        struct managed *m = s->items[i].managed;
        if (authority_next_try(s->items[i].authority, now) == 0 &&
            (!best || managed_need(m) < managed_need(best)))
            best = m;
    }
    if (best) {
        standby_remove(s, best);
        managed_wake(best);
    }
    arm(s);
}

static void arm(struct standby *s)
{
    time_t first = 0, now = clock_now();

    timer_free(take(s->timer));
    for (size_t i = 0; i < s->n; i++) {
        time_t at = authority_next_try(s->items[i].authority, now);
        at = at == 0 ? now : at;
        if (first == 0 || at < first)
            first = at;
    }
    s->first = first;
    if (first != 0)
        s->timer = timer_at(s->loop, first, on_try, s);
}

void standby_add(struct standby *s, struct managed *m, struct authority *authority)
{
    s->items = xreallocarray(s->items, s->n + 1, sizeof *s->items);
    s->items[s->n++] = (struct waiting){m, authority};
    if (!s->timer || authority_next_try(authority, clock_now()) < s->first)
        arm(s);
}

static void drop(struct waiting *items, size_t *n, const struct managed *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < *n; i++) {
        if (items[i].managed != m)
            items[kept++] = items[i];
    }
    *n = kept;
}

void standby_remove(struct standby *s, struct managed *m)
{
    drop(s->items, &s->n, m);
    drop(s->free_now, &s->n_free_now, m);
}

struct standby *standby_new(struct loop *l)
{
    struct standby *s = xcalloc(1, sizeof *s);

    s->loop = l;
    return s;
}

void standby_free(struct standby *s)
{
    if (!s)
        return;
    timer_free(s->timer);
    timer_free(s->turn);
    free(s->items);
    free(s->free_now);
    free(s);
}
