#include "agent/turnstile.h"

#include "base/mem.h"

struct turnstile_pass {
    struct turnstile *turnstile;
    struct turnstile_pass *next, **at; /* while waiting */
    turnstile_fn *fn;
    void *userdata;
};

struct turnstile {
    struct loop *loop;
    size_t places, taken;
    struct turnstile_pass *first, **end;
    struct timer *turn;
};

struct turnstile *turnstile_new(struct loop *l, size_t places)
{
    struct turnstile *g = xcalloc(1, sizeof *g);

    *g = (struct turnstile){.loop = l, .places = places};
    g->end = &g->first;
    return g;
}

void turnstile_free(struct turnstile *g)
{
    if (!g)
        return;
    timer_free(g->turn);
    free(g);
}

static void unlink_pass(struct turnstile_pass *p)
{
    struct turnstile *g = p->turnstile;

    if (g->end == &p->next)
        g->end = p->at;
    *p->at = p->next;
    if (p->next)
        p->next->at = p->at;
    p->at = NULL;
}

static void poke(struct turnstile *g);

static void on_turn(void *userdata)
{
    struct turnstile *g = userdata;
    struct turnstile_pass *p = g->first;

    timer_free(g->turn);
    g->turn = NULL;
    if (!p || g->taken >= g->places)
        return;
    unlink_pass(p);
    g->taken++;
    poke(g);
    p->fn(p->userdata);
}

static void poke(struct turnstile *g)
{
    if (!g->turn && g->first && g->taken < g->places)
        g->turn = timer_after(g->loop, 0, on_turn, g);
}

struct turnstile_pass *turnstile_enter(struct turnstile *g, turnstile_fn *fn, void *userdata)
{
    struct turnstile_pass *p = xcalloc(1, sizeof *p);

    *p = (struct turnstile_pass){.turnstile = g, .at = g->end, .fn = fn, .userdata = userdata};
    *g->end = p;
    g->end = &p->next;
    poke(g);
    return p;
}

void turnstile_leave(struct turnstile_pass *p)
{
    if (!p)
        return;
    if (p->at)
        unlink_pass(p);
    else
        p->turnstile->taken--;
    poke(p->turnstile);
    free(p);
}
