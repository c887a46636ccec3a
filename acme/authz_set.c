/* Strategy: each machine reports when a step or a pause is over; pump() then starts whatever may
 * start, within the bound on requests. Pauses cost no place in it, so a hundred slow validations
 * are waited for together. */
#include "acme/authz_set.h"

#include "base/buf.h"

/* Names fail within moments of each other: a report of all of them is worth a short wait. */
#define GRACE_MS       2000
#define ERROR_TEXT_MAX 4096

struct authz_set {
    struct authz_settings settings;
    struct authz_set_events events;
    struct authz **items;
    size_t n;
    bool answering;      /* everything is presented: answers may go out */
    struct timer *grace; /* armed by the first failure */
    struct timer *turn;
    bool done;
};

static size_t count(const struct authz_set *s, enum authz_state state)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n += authz_state(s->items[i]) == state;
    return n;
}

size_t authz_set_open(const struct authz_set *s)
{
    return s->n - count(s, AUTHZ_VALID) - count(s, AUTHZ_FAILED);
}

/* The first failure with the others' texts. NULL when none failed; caller frees. */
static struct err *collect_errors(const struct authz_set *s)
{
    struct err *all = NULL;
    auto_buf struct buf others;

    buf_init(&others, ERROR_TEXT_MAX);
    for (size_t i = 0; i < s->n; i++) {
        const struct err *e = authz_error(s->items[i]);
        if (e && !all)
            all = err_copy(e);
        else if (e)
            buf_addf(&others, "; %s", e->text);
    }
    if (others.len > 0)
        set_string(&all->text, xasprintf("%.4000s%s", all->text, others.data));
    return all;
}

static void finish(struct authz_set *s)
{
    struct err *e = collect_errors(s);

    s->done = true;
    s->events.done(e, s->events.userdata); /* may free the set */
    err_free(e);
}

static void on_grace_over(void *userdata)
{
    finish(userdata);
}

static void tell_waiting(const struct authz_set *s)
{
    const char *name = NULL;
    size_t waiting = 0;

    for (size_t i = 0; i < s->n; i++) {
        if (authz_state(s->items[i]) == AUTHZ_VALID)
            continue;
        name = name ? name : authz_identifier(s->items[i]);
        waiting++;
    }
    if (!name)
        return;
    auto_free char *text =
        waiting > 1 ? xasprintf("waiting for the CA to validate %s and %zu more", name, waiting - 1)
                    : xasprintf("waiting for the CA to validate %s", name);
    s->events.activity(text, s->events.userdata);
}

/* Starts what may start now. */
static void pump(struct authz_set *s)
{
    size_t busy = 0;

    if (!s->answering && count(s, AUTHZ_READ) == 0 && count(s, AUTHZ_PRESENT) == 0) {
        s->answering = true;
        tell_waiting(s);
    }
    for (size_t i = 0; i < s->n; i++)
        busy += authz_is_busy(s->items[i]);
    for (size_t i = 0; i < s->n && busy < AUTHZ_BUSY_MAX; i++) {
        enum authz_state state = authz_state(s->items[i]);
        bool allowed = s->answering || state == AUTHZ_READ || state == AUTHZ_PRESENT;
        if (allowed && authz_is_ready(s->items[i])) {
            authz_go(s->items[i]);
            busy++;
        }
    }
}

static void tell_validated(const struct authz_set *s, const struct authz *a)
{
    enum authz_state state = authz_state(a);

    if (!s->events.validated || !authz_is_judged(a) ||
        (state != AUTHZ_VALID && state != AUTHZ_FAILED))
        return;
    auto_free char *name = authz_name(a);
    s->events.validated(name, state == AUTHZ_VALID, s->events.userdata);
}

static void on_step(struct authz *a, void *userdata)
{
    struct authz_set *s = userdata;
    bool failed = count(s, AUTHZ_FAILED) > 0;

    tell_validated(s, a);
    if (s->done)
        return;
    /* Before the first answer nothing is lost by stopping: the CA has not looked at any name yet.
     */
    if (authz_set_open(s) == 0 || (failed && !s->answering)) {
        finish(s);
        return;
    }
    if (failed && !s->grace)
        s->grace = timer_after(session_loop(s->settings.session), GRACE_MS, on_grace_over, s);
    pump(s);
}

static void on_turn(void *userdata)
{
    finish(userdata);
}

struct authz_set *authz_set_start(const struct authz_settings *settings, const struct strv *urls,
                                  const struct authz_set_events *events)
{
    struct authz_set *s = xcalloc(1, sizeof(*s));

    s->settings = *settings;
    s->events = *events;
    s->items = xreallocarray(NULL, urls->n + 1, sizeof(struct authz *));
    for (; s->n < urls->n; s->n++)
        s->items[s->n] = authz_new(settings, urls->items[s->n], on_step, s);
    if (s->n > 0)
        pump(s);
    else
        s->turn = timer_after(session_loop(settings->session), 0, on_turn, s);
    return s;
}

void authz_set_free(struct authz_set *s)
{
    if (!s)
        return;
    timer_free(s->grace);
    timer_free(s->turn);
    for (size_t i = 0; i < s->n; i++)
        authz_free(s->items[i]);
    free(s->items);
    free(s);
}
