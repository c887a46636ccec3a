/* Names that the CA has paused for the account: not a count, but what it said. */
#include "agent/limits_private.h"
#include "agent/pause.h"

#define PAUSE_TRY_S    (24 * 3600)
#define PAUSE_FORGET_S (30 * 24 * 3600) /* a name that nobody orders any more */

static void pause_free(void *value)
{
    struct limits_pause *p = value;

    if (p)
        free(p->url);
    free(p);
}

void limits_set_pause(struct limits *l, const char *name, const char *url, time_t at)
{
    struct limits_pause *p = xcalloc(1, sizeof(*p));

    p->url = xstrdup(url);
    p->at = at;
    pause_free(map_set(l->paused, name, p));
}

void limits_end_pause(struct limits *l, const char *name)
{
    struct limits_pause *p = map_remove(l->paused, name);

    if (p)
        l->changes++;
    pause_free(p);
}

void limits_forget_pauses(struct limits *l)
{
    map_free(l->paused, pause_free);
    l->paused = map_new();
}

bool limits_check_paused(const struct limits *l, const struct limits_order *o, time_t now,
                         struct err **err)
{
    for (size_t i = 0; i < o->names->n; i++) {
        const struct limits_pause *p = map_get(l->paused, o->names->items[i]);
        auto_err struct err *e = NULL;

        /* A clock that went back must not make it last longer. */
        if (!p || now < p->at || now - p->at >= PAUSE_TRY_S)
            continue;
        err_set(&e, ERR_LIMITED, "the CA has paused %s for this account", o->names->items[i]);
        if (p->url)
            err_hint(&e, "repair the validation, then go to %s", p->url);
        e->retry_at = p->at + PAUSE_TRY_S;
        return err_move(err, &e);
    }
    return true;
}

static void forget_old_pauses(struct limits *l, time_t now)
{
    const struct map_entry *e, *next;

    for (e = map_first(l->paused); e; e = next) {
        const struct limits_pause *p = map_entry_value(e);
        next = map_next(e);
        if (now - p->at > PAUSE_FORGET_S)
            pause_free(map_remove(l->paused, map_entry_key(e)));
    }
}

bool limits_refused(struct limits *l, const struct limits_order *o, const struct err *e, time_t now)
{
    auto_free char *url = pause_url(e);
    bool named = false;

    limits_advance(l, now);
    forget_old_pauses(l, now);
    if (!url)
        return false;
    for (int pass = 0; pass < 2 && !named; pass++) { /* a text that names none means all */
        for (size_t i = 0; i < o->names->n; i++) {
            if (pass == 1 || pause_names(e, o->names->items[i])) {
                limits_set_pause(l, o->names->items[i], url, now);
                named = true;
            }
        }
    }
    l->changes++;
    return true;
}

bool limits_is_paused(const struct limits *l)
{
    return map_count(l->paused) > 0;
}
