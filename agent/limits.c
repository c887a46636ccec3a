#include "agent/limits_private.h"

#include <string.h>

#include "base/clock.h"
#include "base/enc.h"
#include "pki/digest.h"
#include "pki/public_suffix.h"

#define SWEEP_MIN 256

/* Rows ----------------------------------------------------------------------------------------- */

int64_t limits_advance(struct limits *l, time_t now)
{
    int64_t now_ms = (int64_t)now * 1000;
    int64_t back_ms = l->now_ms - now_ms;

    if (l->now_ms != 0 && back_ms > 0) {
        for (int i = 0; i < LIMITS_N; i++) {
            for (const struct map_entry *e = map_first(l->rows[i]); e; e = map_next(e))
                ((struct limits_row *)map_entry_value(e))->full_at_ms -= back_ms;
        }
    }
    l->now_ms = now_ms;
    return now_ms;
}

void limits_sweep(struct limits *l)
{
    const struct map_entry *e, *next;
    size_t left = 0;

    for (int i = 0; i < LIMITS_N; i++) {
        for (e = map_first(l->rows[i]); e; e = next) {
            const struct limits_row *row = map_entry_value(e);
            next = map_next(e);
            if (row->full_at_ms <= l->now_ms && row->reserved == 0)
                free(map_remove(l->rows[i], map_entry_key(e)));
        }
        left += map_count(l->rows[i]);
    }
    l->sweep_at = 2 * left > SWEEP_MIN ? 2 * left : SWEEP_MIN;
}

struct limits_row *limits_find(const struct limits *l, enum limit limit, const char *key)
{
    return map_get(l->rows[limit], key);
}

struct limits_row *limits_need(struct limits *l, enum limit limit, const char *key)
{
    struct limits_row *row = limits_find(l, limit, key);
    size_t n = 0;

    if (row)
        return row;
    for (int i = 0; i < LIMITS_N; i++)
        n += map_count(l->rows[i]);
    if (n >= l->sweep_at)
        limits_sweep(l);
    row = xcalloc(1, sizeof(*row));
    map_set(l->rows[limit], key, row);
    return row;
}

static void spend(struct limits *l, enum limit limit, const char *key)
{
    if (l->rates[limit].count == 0)
        return;
    struct limits_row *row = limits_need(l, limit, key);
    row->full_at_ms = bucket_spend(&l->rates[limit], row->full_at_ms, l->now_ms);
    l->changes++;
}

static void reserve(struct limits *l, enum limit limit, const char *key)
{
    if (l->rates[limit].count > 0)
        limits_need(l, limit, key)->reserved++;
}

static void release(struct limits *l, enum limit limit, const char *key)
{
    struct limits_row *row = limits_find(l, limit, key);

    if (row && row->reserved > 0)
        row->reserved--;
}

/* What an order counts for --------------------------------------------------------------------- */

/* One name is its own key; a set is named by its first, told apart by its hash. */
static char *set_key(const struct strv *names)
{
    auto_strv struct strv sorted = {0};
    unsigned char digest[32];

    strv_copy(&sorted, names);
    strv_sort_unique(&sorted);
    if (sorted.n == 1)
        return xstrdup(sorted.items[0]);
    auto_free char *all = strv_join(&sorted, ",");
    sha256(all, strlen(all), digest);
    auto_free char *hash = enc_hex(digest, 8);
    return xasprintf("%s and %zu more (%s)", sorted.n > 0 ? sorted.items[0] : "none",
                     sorted.n > 0 ? sorted.n - 1 : 0, hash);
}

static void add_domains(const struct strv *names, struct strv *ret)
{
    for (size_t i = 0; i < names->n; i++)
        strv_add_owned(ret, public_suffix_domain(names->items[i]));
    strv_sort_unique(ret);
}

static void keys_of(enum limit limit, const struct strv *names, struct strv *ret)
{
    if (limit == LIMIT_CERTIFICATES)
        add_domains(names, ret);
    else if (limit == LIMIT_SAME_NAMES)
        strv_add_owned(ret, set_key(names));
    else if (limit == LIMIT_FAILURES || limit == LIMIT_FAILURES_IN_A_ROW)
        strv_copy(ret, names);
    else
        strv_add(ret, "");
}

static bool is_exempt(const struct limits_order *o, enum limit limit)
{
    return o->replaces || (o->same_names && (limit == LIMIT_ORDERS || limit == LIMIT_CERTIFICATES));
}

/* The limits that count certificates, at the order's end. A replacement by ARI is exempt from the
 * check only: its certificate counts among those with the same names all the same. */
static void at_end(struct limits *l, const struct limits_order *o,
                   void (*fn)(struct limits *, enum limit, const char *))
{
    static const enum limit limits[] = {LIMIT_CERTIFICATES, LIMIT_SAME_NAMES};

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        auto_strv struct strv keys = {0};

        if (l->rates[limits[i]].count == 0 || (limits[i] == LIMIT_CERTIFICATES && o->same_names))
            continue;
        keys_of(limits[i], o->names, &keys);
        for (size_t k = 0; k < keys.n; k++)
            fn(l, limits[i], keys.items[k]);
    }
}

/* Questions ------------------------------------------------------------------------------------ */

struct verdict_at {
    int64_t free_at_ms;
    enum limit limit;
    char *key; /* NULL: nothing forbids it */
};

/* Keeps the limit that lasts longest. */
static void ask(const struct limits *l, enum limit limit, const char *key, struct verdict_at *v)
{
    const struct limits_row *row = limits_find(l, limit, key);

    if (!row)
        return;
    int64_t at = bucket_free_at_ms(&l->rates[limit], row->full_at_ms, row->reserved, l->now_ms);
    if (at > l->now_ms && at > v->free_at_ms) {
        v->free_at_ms = at;
        v->limit = limit;
        set_string(&v->key, xstrdup(key));
    }
}

static void set_hint(enum limit limit, struct err **err)
{
    static const char *const hints[LIMITS_N] = {
        [LIMIT_ORDERS] = "nothing has to be done; if the CA gave you more, set `limits: {orders: "
                         "N/PERIOD}` of the issuer",
        [LIMIT_CERTIFICATES] = "put several names into one certificate; if the CA gave you more, "
                               "set `limits: {certificates: N/PERIOD}` of the issuer",
        [LIMIT_SAME_NAMES] = "what keeps asking for the same certificate? Any other set of names "
                             "counts on its own",
        [LIMIT_FAILURES] = "repair what the validation complains about first",
        [LIMIT_FAILURES_IN_A_ROW] =
            "the CA pauses such names: repair the validation, or remove the name",
        [LIMIT_ACCOUNTS] = "keep the state directory: an account is made once",
        [LIMIT_ACCOUNTS_IN_RANGE] = "keep the state directory: an account is made once",
    };

    err_hint(err, "%s", hints[limit]);
}

static bool say(const struct limits *l, struct verdict_at *v, struct err **err)
{
    auto_free char *key = take(v->key);
    auto_err struct err *e = NULL;
    char rate[RATE_TEXT_MAX], when[CLOCK_TEXT_MAX];
    time_t at = (time_t)((v->free_at_ms + 999) / 1000);

    if (!key)
        return true;
    err_set(&e, ERR_LIMITED, "the CA's limit of %s (%s) is used up%s%s until %s, by our count",
            limit_texts[v->limit], rate_text(&l->rates[v->limit], rate), *key ? " for " : "", key,
            clock_rfc3339(at, when));
    set_hint(v->limit, &e);
    e->retry_at = at;
    return err_move(err, &e);
}

bool limits_may_order(struct limits *l, const struct limits_order *o, time_t now, struct err **err)
{
    static const enum limit limits[] = {LIMIT_ORDERS, LIMIT_CERTIFICATES, LIMIT_SAME_NAMES,
                                        LIMIT_FAILURES, LIMIT_FAILURES_IN_A_ROW};
    struct verdict_at v = {0};

    limits_advance(l, now);
    if (!limits_check_paused(l, o, now, err))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        auto_strv struct strv keys = {0};

        if (map_count(l->rows[limits[i]]) == 0 || is_exempt(o, limits[i]))
            continue;
        keys_of(limits[i], o->names, &keys);
        for (size_t k = 0; k < keys.n; k++)
            ask(l, limits[i], keys.items[k], &v);
    }
    return say(l, &v, err);
}

bool limits_may_register(struct limits *l, time_t now, struct err **err)
{
    struct verdict_at v = {0};

    limits_advance(l, now);
    ask(l, LIMIT_ACCOUNTS, "", &v);
    ask(l, LIMIT_ACCOUNTS_IN_RANGE, "", &v);
    return say(l, &v, err);
}

/* Events --------------------------------------------------------------------------------------- */

void limits_order_asked(struct limits *l, const struct limits_order *o, time_t now)
{
    limits_order_resumed(l, o, now);
    if (!is_exempt(o, LIMIT_ORDERS))
        reserve(l, LIMIT_ORDERS, "");
}

void limits_order_unasked(struct limits *l, const struct limits_order *o, time_t now)
{
    limits_order_ended(l, o, false, now);
    if (!is_exempt(o, LIMIT_ORDERS))
        release(l, LIMIT_ORDERS, "");
}

void limits_order_placed(struct limits *l, const struct limits_order *o, time_t now)
{
    limits_order_resumed(l, o, now);
    if (!is_exempt(o, LIMIT_ORDERS))
        spend(l, LIMIT_ORDERS, "");
}

void limits_order_resumed(struct limits *l, const struct limits_order *o, time_t now)
{
    limits_advance(l, now);
    at_end(l, o, reserve);
}

void limits_order_ended(struct limits *l, const struct limits_order *o, bool issued, time_t now)
{
    limits_advance(l, now);
    at_end(l, o, release);
    if (!issued)
        return;
    at_end(l, o, spend);
    for (size_t i = 0; i < o->names->n; i++)
        limits_end_pause(l, o->names->items[i]);
}

void limits_failed(struct limits *l, const char *name, time_t now)
{
    limits_advance(l, now);
    spend(l, LIMIT_FAILURES, name);
    spend(l, LIMIT_FAILURES_IN_A_ROW, name);
}

void limits_validated(struct limits *l, const char *name, time_t now)
{
    struct limits_row *row = map_remove(l->rows[LIMIT_FAILURES_IN_A_ROW], name);

    limits_advance(l, now);
    limits_end_pause(l, name);
    if (row)
        l->changes++;
    free(row);
}

void limits_registered(struct limits *l, time_t now)
{
    limits_advance(l, now);
    spend(l, LIMIT_ACCOUNTS, "");
    spend(l, LIMIT_ACCOUNTS_IN_RANGE, "");
}

/* Life ----------------------------------------------------------------------------------------- */

static void forget(struct limits *l, enum limit limit)
{
    map_free(l->rows[limit], free);
    l->rows[limit] = map_new();
}

void limits_set_account(struct limits *l, const char *url)
{
    if (!url || (l->account && strcmp(l->account, url) == 0))
        return;
    if (l->account) {
        forget(l, LIMIT_ORDERS);
        forget(l, LIMIT_FAILURES);
        forget(l, LIMIT_FAILURES_IN_A_ROW);
        limits_forget_pauses(l);
    }
    set_string(&l->account, xstrdup(url));
    l->changes++;
}

void limits_configure(struct limits *l, const struct limits_config *config)
{
    const struct limit_set *known = limit_set_of(l->directory);

    memcpy(l->rates, known->rates, sizeof(l->rates));
    if (config && config->orders.count > 0)
        l->rates[LIMIT_ORDERS] = config->orders;
    if (config && config->certificates.count > 0)
        l->rates[LIMIT_CERTIFICATES] = config->certificates;
    for (int i = 0; i < LIMITS_N; i++) {
        if (l->rates[i].count == 0)
            forget(l, (enum limit)i);
        for (const struct map_entry *e = map_first(l->rows[i]); e; e = map_next(e)) {
            struct limits_row *row = map_entry_value(e);
            int64_t empty = l->now_ms + l->rates[i].count * rate_interval_ms(&l->rates[i]);
            row->full_at_ms = row->full_at_ms < empty ? row->full_at_ms : empty;
        }
    }
}

struct limits *limits_new(const char *directory, const struct limits_config *config)
{
    struct limits *l = xcalloc(1, sizeof(*l));

    l->directory = xstrdup(directory);
    l->sweep_at = SWEEP_MIN;
    for (int i = 0; i < LIMITS_N; i++)
        l->rows[i] = map_new();
    l->paused = map_new();
    limits_configure(l, config);
    return l;
}

void limits_free(struct limits *l)
{
    if (!l)
        return;
    for (int i = 0; i < LIMITS_N; i++)
        map_free(l->rows[i], free);
    limits_forget_pauses(l);
    map_free(l->paused, NULL);
    free(l->account);
    free(l->directory);
    free(l);
}

struct gate *limits_make_gate(const char *directory, const struct limits_config *config,
                              struct loop *loop)
{
    const struct limit_set *known = limit_set_of(directory);
    const struct rate *total = config ? &config->requests : NULL;

    if (known->n_requests == 0 && (!total || total->count == 0))
        return NULL;
    return gate_new(loop, known->requests, known->n_requests, total);
}

uint64_t limits_changes(const struct limits *l)
{
    return l->changes;
}
