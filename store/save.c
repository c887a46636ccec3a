/* Lanes of tasks. The head of a lane is with the worker, those behind it wait; a waiting task takes
 * up newer ones where it can. A batch is one task and everybody who wants to hear of it. */
#include "store/save.h"

#include <assert.h>
#include <string.h>

#include "base/log.h"
#include "store/state_private.h"

struct save {
    struct batch *batch; /* NULL: the callback runs, or the worker ended before */
    bool unheard;        /* the latter: only save_free is left to come */
    struct save *next;
    save_fn *fn;
    void *userdata;
};

struct batch {
    struct state *state;
    char *lane;
    struct save_task task;
    struct save *waiters;
    struct batch *next; /* in its lane */
    struct err *err;
    bool ran;
};

struct lane {
    struct batch *head; /* with the worker */
    struct batch *tail;
};

static void batch_run(void *task)
{
    struct batch *b = task;

    b->ran = true;
    if (state_check_place(b->state, &b->err))
        b->task.run(b->state, b->task.data, &b->err);
}

static void batch_free(struct batch *b)
{
    while (b->waiters) { /* their owners still have the handles */
        struct save *w = b->waiters;
        b->waiters = w->next;
        w->batch = NULL;
        w->unheard = true;
    }
    b->task.free(b->task.data);
    err_free(b->err);
    free(b->lane);
    state_unref(b->state);
    free(b);
}

/* Takes the head off its lane; returns the next one. */
static struct batch *lane_pop(struct batch *b)
{
    struct lane *lane = map_get(b->state->lanes, b->lane);

    assert(lane && lane->head == b);
    lane->head = take(b->next);
    if (lane->head)
        return lane->head;
    free(map_remove(b->state->lanes, b->lane));
    return NULL;
}

/* A callback may free any save, its own included, and the state (of which the batch has a
 * reference). */
static void batch_tell(struct batch *b)
{
    if (b->err && !b->waiters)
        log_failure(LOG_LEVEL_WARNING, b->err, "state not saved", "file", b->lane);
    while (b->waiters) {
        struct save *w = b->waiters;
        b->waiters = w->next;
        w->batch = NULL;
        w->fn(b->err, w->userdata);
        free(w);
    }
}

/* The worker ends: what was started is still carried out, here, unheard. */
static void on_dropped(void *task)
{
    struct batch *b = task;

    while (b) {
        struct batch *next = lane_pop(b);
        if (!b->ran)
            batch_run(b);
        if (b->err)
            log_failure(LOG_LEVEL_WARNING, b->err, "state not saved", "file", b->lane);
        batch_free(b);
        b = next;
    }
}

static void on_done(void *task)
{
    struct batch *b = task;
    struct batch *next = lane_pop(b);

    if (next)
        job_start(next->state->worker, batch_run, on_done, on_dropped, next);
    batch_tell(b);
    batch_free(b);
}

static struct batch *batch_new(struct state *s, const char *name, struct save_task task)
{
    struct batch *b = xcalloc(1, sizeof *b);

    b->state = state_ref(s);
    b->lane = xstrdup(name);
    b->task = task;
    return b;
}

/* The batch that carries the task out: a waiting one that takes it up, or a new one. */
static struct batch *lane_add(struct state *s, const char *name, struct save_task task)
{
    struct lane *lane = map_get(s->lanes, name);

    if (lane && lane->tail != lane->head && task.merge && lane->tail->task.run == task.run) {
        task.merge(lane->tail->task.data, task.data);
        task.free(task.data);
        return lane->tail;
    }
    struct batch *b = batch_new(s, name, task);
    if (lane) {
        lane->tail->next = b;
        lane->tail = b;
        return b;
    }
    lane = xcalloc(1, sizeof *lane);
    lane->head = lane->tail = b;
    map_set(s->lanes, name, lane);
    job_start(s->worker, batch_run, on_done, on_dropped, b);
    return b;
}

struct save *save_start(struct state *s, const char *lane, struct save_task task, save_fn *fn,
                        void *userdata)
{
    assert(s->access == STATE_OWN);
    struct batch *b = lane_add(s, lane, task);
    if (!fn)
        return NULL;

    struct save *w = xcalloc(1, sizeof *w);
    w->batch = b;
    w->fn = fn;
    w->userdata = userdata;
    struct save **end = &b->waiters; /* callbacks in the order of the saves */
    while (*end)
        end = &(*end)->next;
    *end = w;
    return w;
}

const void *save_latest(const struct state *s, const char *lane)
{
    const struct lane *l = map_get(s->lanes, lane);

    return l ? l->tail->task.data : NULL;
}

bool save_any(const struct state *s, const char *lane_prefix)
{
    size_t len = strlen(lane_prefix);

    for (const struct map_entry *e = map_first(s->lanes); e; e = map_next(e)) {
        if (strncmp(map_entry_key(e), lane_prefix, len) == 0)
            return true;
    }
    return false;
}

void save_free(struct save *s)
{
    if (!s || (!s->batch && !s->unheard))
        return;
    for (struct save **at = s->batch ? &s->batch->waiters : NULL; at && *at; at = &(*at)->next) {
        if (*at == s) {
            *at = s->next;
            break;
        }
    }
    free(s);
}
