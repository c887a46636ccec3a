#include <stdlib.h>
#include <string.h>

#include "agent/limits_private.h"

struct shown {
    const char *limit, *key;
    int64_t used, max;
    time_t free_at; /* 0: now */
};

static struct shown show(const struct limits *l, enum limit limit, const char *key)
{
    static const struct limits_row full;
    const struct rate *rate = &l->rates[limit];
    const struct limits_row *row = limits_find(l, limit, key);
    struct shown s = {.limit = limit_names[limit], .key = key, .max = rate->count};

    if (!row)
        row = &full;
    s.used = bucket_used(rate, row->full_at_ms, l->now_ms) + row->reserved;
    s.used = s.used < s.max ? s.used : s.max;
    int64_t at = bucket_free_at_ms(rate, row->full_at_ms, row->reserved, l->now_ms);
    s.free_at = at > l->now_ms ? (time_t)((at + 999) / 1000) : 0;
    return s;
}

/* Fullest first; then by name, so that equal ones do not dance. */
static int compare(const void *a, const void *b)
{
    const struct shown *x = a, *y = b;
    int64_t left = y->used * x->max, right = x->used * y->max;

    if (left != right)
        return left < right ? -1 : 1;
    if (x->limit != y->limit)
        return strcmp(x->limit, y->limit);
    return strcmp(x->key, y->key);
}

static void add(json_t *list, const struct shown *s)
{
    auto_free char *name = xasprintf("%s%s%s", s->limit, *s->key ? " " : "", s->key);
    json_t *o = json_object();

    json_put_str(o, "name", name);
    json_put_int(o, "used", s->used);
    json_put_int(o, "max", s->max);
    json_put_time(o, "free_at", s->free_at);
    json_array_append_new(list, o);
}

static bool is_keyed(enum limit limit)
{
    return limit == LIMIT_CERTIFICATES || limit == LIMIT_SAME_NAMES || limit == LIMIT_FAILURES ||
           limit == LIMIT_FAILURES_IN_A_ROW;
}

static size_t collect(const struct limits *l, struct shown *rows)
{
    size_t n = 0;

    for (int i = 0; i < LIMITS_N; i++) {
        enum limit limit = (enum limit)i;

        if (!is_keyed(limit))
            continue;
        for (const struct map_entry *e = map_first(l->rows[i]); e; e = map_next(e)) {
            rows[n] = show(l, limit, map_entry_key(e));
            n += rows[n].used > 0;
        }
    }
    return n;
}

json_t *limits_status(struct limits *l, time_t now)
{
    json_t *list = json_array();
    size_t n = 0;

    limits_advance(l, now);
    for (int i = 0; i < LIMITS_N; i++) {
        enum limit limit = (enum limit)i;
        n += map_count(l->rows[i]);
        if (is_keyed(limit) || l->rates[i].count == 0)
            continue;
        struct shown s = show(l, limit, "");
        if (limit == LIMIT_ORDERS || s.used > 0)
            add(list, &s);
    }

    struct shown *rows = xcalloc(n + 1, sizeof(*rows));
    n = collect(l, rows);
    qsort(rows, n, sizeof(*rows), compare);
    for (size_t i = 0; i < n && json_array_size(list) < LIMITS_ROWS_MAX; i++)
        add(list, &rows[i]);
    free(rows);
    return list;
}

int64_t limits_remaining(struct limits *l, enum limit limit, time_t now)
{
    int64_t least = l->rates[limit].count;

    limits_advance(l, now);
    if (least == 0)
        return -1;
    for (const struct map_entry *e = map_first(l->rows[limit]); e; e = map_next(e)) {
        struct shown s = show(l, limit, map_entry_key(e));
        least = s.max - s.used < least ? s.max - s.used : least;
    }
    return least;
}
