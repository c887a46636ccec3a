/* The document: what each bucket lacked at one instant, so that it means the same whatever the
 * clock says when it is read.
 *
 *     {"at": "...", "account": URL, "rows": {"certificates": {"example.org": 12096000}},
 *      "paused": {"www.example.org": {"url": URL, "at": "..."}}}
 */
#include <string.h>

#include "agent/limits_private.h"

#define KEY_MAX  400
#define ROWS_MAX 1000000
#define URL_MAX  2000

static json_t *rows_json(const struct limits *l, enum limit limit)
{
    json_t *rows = json_object();

    for (const struct map_entry *e = map_first(l->rows[limit]); e; e = map_next(e)) {
        const struct limits_row *row = map_entry_value(e);
        if (row->full_at_ms > l->now_ms)
            json_put_int(rows, map_entry_key(e), row->full_at_ms - l->now_ms);
    }
    return rows;
}

static json_t *paused_json(const struct limits *l)
{
    json_t *paused = json_object();

    for (const struct map_entry *e = map_first(l->paused); e; e = map_next(e)) {
        const struct limits_pause *p = map_entry_value(e);
        json_t *o = json_object();
        json_put_str(o, "url", p->url);
        json_put_time(o, "at", p->at);
        json_put(paused, map_entry_key(e), o);
    }
    return paused;
}

json_t *limits_to_json(struct limits *l, time_t now)
{
    json_t *j = json_object();
    json_t *rows = json_object();

    limits_advance(l, now);
    limits_sweep(l);
    for (int i = 0; i < LIMITS_N; i++) {
        if (map_count(l->rows[i]) > 0)
            json_put(rows, limit_names[i], rows_json(l, (enum limit)i));
    }
    json_put_time(j, "at", now);
    json_put_str(j, "account", l->account);
    json_put(j, "rows", rows);
    json_put(j, "paused", paused_json(l));
    return j;
}

/* Ours is what we wrote: anything else in a damaged file must not reach a terminal. */
static bool is_plain(const char *text, size_t max)
{
    size_t n = 0;

    while (text[n] >= ' ' && text[n] <= '~')
        n++;
    return n <= max && text[n] == '\0';
}

/* elapsed_ms >= 0: since the document was written. */
static void read_rows(struct limits *l, enum limit limit, const json_t *rows, int64_t elapsed_ms)
{
    const struct rate *rate = &l->rates[limit];
    const char *key;
    const json_t *value;
    size_t n = 0;

    if (rate->count == 0 || !json_is_object(rows))
        return;
    int64_t empty_ms = rate->count * rate_interval_ms(rate);
    json_object_foreach((json_t *)(uintptr_t)rows, key, value)
    {
        int64_t lacks_ms = json_is_integer(value) ? json_integer_value(value) : 0;

        lacks_ms = lacks_ms < empty_ms ? lacks_ms : empty_ms;
        if (lacks_ms <= elapsed_ms || !is_plain(key, KEY_MAX) || n++ >= ROWS_MAX)
            continue;
        limits_need(l, limit, key)->full_at_ms = l->now_ms + lacks_ms - elapsed_ms;
    }
}

static void read_paused(struct limits *l, const json_t *paused)
{
    const char *name;
    const json_t *value;
    size_t n = 0;

    if (!json_is_object(paused))
        return;
    json_object_foreach((json_t *)(uintptr_t)paused, name, value)
    {
        const char *url = json_str(value, "url");
        time_t at = json_time(value, "at");

        if (at != 0 && is_plain(name, KEY_MAX) && (!url || is_plain(url, URL_MAX)) &&
            n++ < ROWS_MAX)
            limits_set_pause(l, name, url, at);
    }
}

void limits_read(struct limits *l, const json_t *json, time_t now)
{
    const json_t *rows = json_get(json, "rows");
    time_t at = json_time(json, "at");
    int64_t elapsed_ms = now > at ? ((int64_t)now - at) * 1000 : 0;

    limits_advance(l, now);
    if (at == 0) /* no document of ours */
        return;
    for (int i = 0; i < LIMITS_N; i++)
        read_rows(l, (enum limit)i, json_get(rows, limit_names[i]), elapsed_ms);
    read_paused(l, json_get(json, "paused"));
    if (!l->account)
        l->account = xstrdup(json_str(json, "account"));
}
