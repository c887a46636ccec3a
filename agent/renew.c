#include "agent/renew.h"

#include <string.h>

#include "base/schema.h"

struct wish {
    struct renew *renew;
    struct managed *managed; /* NULL once it was told: the certificate may be gone */
    char *name;
    struct ticket *ticket;
    bool joined; /* something was under way already */
    json_t *result;
    int exit_status;
};

struct renew {
    struct manager *manager;
    struct wish *wishes;
    size_t n_wishes, open;
    bool no_wait;
    char *by;
    struct timer *turn;
    renew_fn *fn;
    void *userdata;
};

int renew_worse(int a, int b)
{
    static const int rank[] = {[0] = 0, [1] = 1, [2] = 2, [3] = 4, [4] = 3};

    return rank[a] >= rank[b] ? a : b;
}

void renew_free(struct renew *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_wishes; i++) {
        ticket_free(r->wishes[i].ticket);
        json_decref(r->wishes[i].result);
        free(r->wishes[i].name);
    }
    free(r->wishes);
    timer_free(r->turn);
    free(r->by);
    free(r);
}

bool renew_concerns(const struct renew *r, const char *certificate)
{
    for (size_t i = 0; i < r->n_wishes; i++) {
        if (strcmp(r->wishes[i].name, certificate) == 0)
            return true;
    }
    return false;
}

/* Documents ------------------------------------------------------------------------------------ */

json_t *renew_failure(const struct err *e, const char *by, int exit_status)
{
    json_t *j = json_object();

    json_put_str(j, "schema", "everleaf.renew/1");
    json_put_int(j, "exit", exit_status);
    json_put_str(j, "by", by);
    json_put(j, "results", json_array());
    if (e)
        json_put(j, "error", err_to_json(e));
    return j;
}

static json_t *unfinished(const struct wish *w)
{
    static const char *const unknown[] = {"attempt",    "old",      "new",
                                          "generation", "proven",   "reload_ms",
                                          "total_ms",   "next_try", "error"};
    json_t *j = json_object();

    json_put_str(j, "name", w->name);
    json_put_str(j, "result", w->renew->no_wait && !w->joined ? "accepted" : "in-progress");
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        json_put(j, unknown[i], json_null());
    return j;
}

json_t *renew_document(const struct renew *r, const struct err *e)
{
    int exit_status = e ? 1 : 0;
    json_t *results = json_array();

    for (size_t i = 0; i < r->n_wishes; i++) {
        const struct wish *w = &r->wishes[i];
        exit_status = renew_worse(exit_status, w->exit_status);
        json_array_append_new(results, w->result ? json_incref(w->result) : unfinished(w));
    }
    json_t *j = renew_failure(e, r->by, exit_status);
    json_put(j, "results", results);
    return j;
}

/* Waiting -------------------------------------------------------------------------------------- */

static void renew_finish(struct renew *r)
{
    auto_json json_t *document = renew_document(r, NULL);
    renew_fn *fn = r->fn;
    void *userdata = r->userdata;

    renew_free(r);
    fn(document, userdata);
}

static void on_told(const json_t *result, int exit_status, void *userdata)
{
    struct wish *w = userdata;
    struct renew *r = w->renew;

    w->ticket = NULL;
    w->managed = NULL;
    w->result = json_deep_copy(result);
    w->exit_status = exit_status;
    if (--r->open == 0)
        renew_finish(r);
}

static void on_turn(void *userdata)
{
    struct renew *r = userdata;
    bool undecided = false;

    timer_free(r->turn);
    r->turn = NULL;
    for (size_t i = 0; i < r->n_wishes; i++)
        undecided = undecided || (r->wishes[i].managed && !managed_is_busy(r->wishes[i].managed));
    if (undecided) /* it looks at its ticket on a turn of its own */
        r->turn = timer_after(manager_services(r->manager)->loop, 0, on_turn, r);
    else
        renew_finish(r);
}

static bool find_all(struct manager *m, const struct strv *names, struct err **err)
{
    auto_strv struct strv known = {0};

    for (size_t i = 0; i < names->n; i++) {
        if (manager_find(m, names->items[i]))
            continue;
        for (size_t k = 0; k < manager_count(m); k++)
            strv_add(&known, managed_name(manager_at(m, k)));
        const char *nearest =
            known.n > 0 ? schema_nearest(names->items[i], (const char *const *)known.items) : NULL;
        err_set(err, ERR_CONFIG, "there is no certificate \"%s\" in %s", names->items[i],
                manager_config(m)->file);
        if (nearest)
            err_hint(err, "did you mean \"%s\"?", nearest);
        return false;
    }
    return true;
}

static void add_wish(struct renew *r, struct managed *managed, const struct ticket_options *options)
{
    struct wish *w = &r->wishes[r->n_wishes];

    if (renew_concerns(r, managed_name(managed)))
        return; /* named twice */
    *w = (struct wish){
        .renew = r,
        .managed = managed,
        .name = xstrdup(managed_name(managed)),
        .joined = managed_is_busy(managed),
        .ticket = managed_request(managed, options, on_told, w),
    };
    r->n_wishes++;
    r->open++;
}

static void on_nothing(void *userdata)
{
    renew_finish(userdata);
}

struct renew *renew_start(struct manager *m, const struct renew_options *options, renew_fn *fn,
                          void *userdata, struct err **err)
{
    struct ticket_options ticket = {
        .action = options->action,
        .force = options->force,
        .due_only = options->due_only,
        .generation = options->generation,
        .reason = options->reason,
        .now = options->now || options->reason == REVOKE_KEY_COMPROMISE,
    };
    size_t max = options->names.n > 0 ? options->names.n : manager_count(m);

    if (!find_all(m, &options->names, err))
        return NULL;
    struct renew *r = xcalloc(1, sizeof *r);
    r->manager = m;
    r->no_wait = options->no_wait;
    r->by = xstrdup(options->by);
    r->fn = fn;
    r->userdata = userdata;
    r->wishes = xcalloc(max + 1, sizeof *r->wishes);
    for (size_t i = 0; i < options->names.n; i++)
        add_wish(r, manager_find(m, options->names.items[i]), &ticket);
    for (size_t i = 0; options->names.n == 0 && i < manager_count(m); i++)
        add_wish(r, manager_at(m, i), &ticket);
    if (r->open == 0 || r->no_wait)
        r->turn = timer_after(manager_services(m)->loop, 0, r->open == 0 ? on_nothing : on_turn, r);
    return r;
}
