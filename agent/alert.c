/* One table of what is the matter; each look marks what is still so. What a message told is noted
 * when the receiver has taken it, so that a lost message costs nothing but time. */
#include "agent/alert.h"

#include <string.h>

#include "agent/alert_message.h"
#include "agent/alert_send.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "base/rate.h"

#define LOOK_MS     60000 /* without being poked: for what time alone brings about */
#define POKE_MS     1000  /* what happens within is one message */
#define RETRY_S     60
#define RETRY_MAX_S 3600

static const struct rate message_rate = {.count = 10, .period_s = 600};

struct row {
    json_t *labels, *annotations;
    time_t starts_at;
    time_t ends_at; /* 0: it goes on */
    time_t told_at; /* that it began; 0: nobody knows yet */
    int64_t hold_s;
    bool seen;   /* in the look under way */
    bool on_way; /* in the message under way, in the state it has now */
};

struct alerts {
    struct manager *manager;
    struct map *rows; /* labels as text -> struct row */
    struct timer *look;
    bool poked; /* the timer is the short one */
    struct alert_send *send;
    int64_t full_at_ms; /* the bucket of message_rate; wall clock */
    int failures;
    time_t retry_at; /* 0: the last message arrived */
};

static struct loop *loop_of(const struct alerts *a)
{
    return manager_services(a->manager)->loop;
}

static const struct config_alerts *config_of(const struct alerts *a)
{
    return &manager_config(a->manager)->alerts;
}

static void free_row(void *row)
{
    struct row *r = row;

    json_decref(r->labels);
    json_decref(r->annotations);
    free(r);
}

/* Looking -------------------------------------------------------------------------------------- */

static void on_condition(const struct alert_condition *c, void *userdata)
{
    struct alerts *a = userdata;
    json_t *labels = alert_labels(c);
    auto_free char *key = json_compact(labels);
    struct row *r = map_get(a->rows, key);

    if (r && r->ends_at > 0) { /* it is back before anybody, or just when somebody, heard its end */
        r->told_at = r->on_way ? 0 : r->told_at;
        r->ends_at = 0;
        r->on_way = false;
    }
    if (!r) {
        r = xcalloc(1, sizeof *r);
        r->labels = json_incref(labels);
        r->starts_at = clock_now();
        map_set(a->rows, key, r);
    }
    json_decref(labels);
    json_decref(r->annotations);
    r->annotations = alert_annotations(c);
    r->hold_s = c->hold_s;
    r->seen = true;
}

static void drop(struct alerts *a, const struct strv *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        free_row(map_remove(a->rows, keys->items[i]));
}

static void look_around(struct alerts *a)
{
    auto_strv struct strv over = {0};

    for (const struct map_entry *e = map_first(a->rows); e; e = map_next(e))
        ((struct row *)map_entry_value(e))->seen = false;
    alert_conditions(a->manager, clock_now(), on_condition, a);
    for (const struct map_entry *e = map_first(a->rows); e; e = map_next(e)) {
        struct row *r = map_entry_value(e);
        if (r->seen || r->ends_at > 0)
            continue;
        if (r->told_at == 0 && !r->on_way) { /* nobody knows: nobody needs to */
            strv_add(&over, map_entry_key(e));
            continue;
        }
        r->ends_at = clock_now();
        r->on_way = false;
    }
    drop(a, &over);
}

/* Telling -------------------------------------------------------------------------------------- */

static bool wants_telling(const struct alerts *a, const struct row *r, time_t now)
{
    if (r->ends_at > 0)
        return true;
    if ((int64_t)now - (int64_t)r->starts_at < r->hold_s)
        return false;
    return r->told_at == 0 || (int64_t)now - (int64_t)r->told_at >= config_of(a)->repeat_s;
}

static void note_delivery(struct alerts *a)
{
    auto_strv struct strv over = {0};

    for (const struct map_entry *e = map_first(a->rows); e; e = map_next(e)) {
        struct row *r = map_entry_value(e);
        if (!r->on_way)
            continue;
        r->on_way = false;
        r->told_at = clock_now();
        if (r->ends_at > 0)
            strv_add(&over, map_entry_key(e));
    }
    drop(a, &over);
}

static void on_sent(const struct err *e, void *userdata)
{
    struct alerts *a = userdata;
    int64_t pause_s = RETRY_S;

    a->send = NULL;
    if (!e) {
        a->failures = 0;
        a->retry_at = 0;
        note_delivery(a);
        return;
    }
    for (int i = 0; i < a->failures && pause_s < RETRY_MAX_S; i++)
        pause_s *= 2;
    a->failures++;
    a->retry_at = clock_now() + (pause_s < RETRY_MAX_S ? pause_s : RETRY_MAX_S);
    log_failure(LOG_LEVEL_WARNING, e, "alert not delivered, trying again");
}

static void tell(struct alerts *a)
{
    time_t now = clock_now();
    struct alert_message *message = alert_message_new();

    for (const struct map_entry *e = map_first(a->rows); e; e = map_next(e)) {
        struct row *r = map_entry_value(e);
        r->on_way = wants_telling(a, r, now);
        if (r->on_way)
            alert_message_add(message, r->labels, r->annotations, r->starts_at, r->ends_at);
    }
    if (alert_message_count(message) > 0) {
        a->full_at_ms = bucket_spend(&message_rate, a->full_at_ms, (int64_t)now * 1000);
        a->send = alert_send_start(manager_services(a->manager), config_of(a), message, on_sent, a);
    }
    alert_message_free(message);
}

/* What lies further ahead than it can is a clock that stepped back. */
static bool may_tell(struct alerts *a, time_t now)
{
    int64_t now_ms = (int64_t)now * 1000;
    int64_t full_at_max_ms = now_ms + message_rate.period_s * 1000;

    if (a->full_at_ms > full_at_max_ms)
        a->full_at_ms = full_at_max_ms;
    if (a->retry_at > now && (int64_t)a->retry_at - (int64_t)now <= RETRY_MAX_S)
        return false;
    return !a->send && bucket_free_at_ms(&message_rate, a->full_at_ms, 0, now_ms) <= now_ms;
}

static bool is_on(const struct alerts *a)
{
    return config_of(a)->url || config_of(a)->command.n > 0;
}

static void on_look(void *userdata);

static void look_after(struct alerts *a, int64_t ms)
{
    timer_free(a->look);
    a->look = timer_after(loop_of(a), ms, on_look, a);
}

static void on_look(void *userdata)
{
    struct alerts *a = userdata;

    timer_free(a->look);
    a->look = NULL;
    a->poked = false;
    if (!is_on(a)) /* until a reload pokes */
        return;
    look_around(a);
    if (may_tell(a, clock_now()))
        tell(a);
    look_after(a, LOOK_MS);
}

/* Public --------------------------------------------------------------------------------------- */

void alerts_poke(struct alerts *a)
{
    if (!is_on(a) || a->poked)
        return;
    look_after(a, POKE_MS);
    a->poked = true;
}

struct alerts *alerts_new(struct manager *m)
{
    struct alerts *a = xcalloc(1, sizeof *a);

    a->manager = m;
    a->rows = map_new();
    alerts_poke(a);
    return a;
}

void alerts_free(struct alerts *a)
{
    if (!a)
        return;
    alert_send_free(a->send);
    timer_free(a->look);
    map_free(a->rows, free_row);
    free(a);
}
