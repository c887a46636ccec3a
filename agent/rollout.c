#include "agent/rollout.h"

#include <string.h>

#include "agent/metrics.h"
#include "agent/pair_check.h"
#include "base/clock.h"
#include "base/log.h"

#define GATHER_MS       5000
#define AFTER_FAILURE_S 60

struct rollout_pass {
    struct rollout *rollout;
    struct rollout_pass *next;
    bool exclusive;
    bool granted;
    bool owes_back; /* its batch failed and its old files are not back yet */
    struct timer *grant;
    rollout_pass_fn *fn;
    void *userdata;
};

struct rollout_call {
    struct rollout *rollout;
    struct rollout_call *next;
    enum rollout_kind kind;
    struct rollout_pass *pass;
    bool running; /* part of the run under way */
    char *certificate, *names, *reason, *attempt, *dir, *fullchain, *key, *staple, *serial,
        *old_serial;
    rollout_fn *fn;
    void *userdata;
};

struct rollout {
    const struct services *services;
    struct config *config; /* reference; of the server */
    const struct config_server *server;
    struct config *next_config; /* set while something ran, or NULL */
    const struct config_server *next_server;
    struct rollout_pass *passes;
    struct rollout_call *calls; /* in order of arrival */
    unsigned expected;
    struct timer *turn;   /* a look at what to do next, on a later turn */
    struct timer *gather; /* the batch closes at the latest then */
    bool gathered;
    int64_t failed_at_ms;          /* boot clock of the last failed reload, 0: none */
    struct hook_job *job;          /* one of these while something runs */
    struct pair_check *pair_check; /* behind the server's own check */
    enum rollout_kind kind;        /* of the run under way */
    char *certificates;            /* of the run under way, comma-separated */
    struct hook_certificate *batch;
    int64_t started_ms;
};

static void rollout_turn(void *userdata);

static void rollout_poke(struct rollout *r)
{
    if (!r->turn)
        r->turn = timer_after(r->services->loop, 0, rollout_turn, r);
}

struct rollout *rollout_new(const struct services *services, struct config *config,
                            const struct config_server *server)
{
    struct rollout *r = xcalloc(1, sizeof *r);
    r->services = services;
    r->config = config_ref(config);
    r->server = server;
    return r;
}

static void call_free(struct rollout_call *c)
{
    free(c->certificate);
    free(c->names);
    free(c->reason);
    free(c->attempt);
    free(c->dir);
    free(c->fullchain);
    free(c->key);
    free(c->staple);
    free(c->serial);
    free(c->old_serial);
    free(c);
}

void rollout_free(struct rollout *r)
{
    if (!r)
        return;
    hook_job_free(r->job);
    pair_check_free(r->pair_check);
    timer_free(r->turn);
    timer_free(r->gather);
    while (r->calls) {
        struct rollout_call *c = r->calls;
        r->calls = c->next;
        call_free(c);
    }
    while (r->passes) {
        struct rollout_pass *pass = r->passes;
        r->passes = pass->next;
        timer_free(pass->grant);
        free(pass);
    }
    free(r->certificates);
    free(r->batch);
    config_unref(r->next_config);
    config_unref(r->config);
    free(r);
}

static bool is_busy(const struct rollout *r)
{
    return r->job || r->pair_check;
}

static void adopt_server(struct rollout *r)
{
    if (!r->next_config || is_busy(r))
        return;
    config_unref(r->config);
    r->config = take(r->next_config);
    r->server = r->next_server;
}

void rollout_set_server(struct rollout *r, struct config *config,
                        const struct config_server *server)
{
    config_unref(r->next_config);
    r->next_config = config_ref(config);
    r->next_server = server;
    adopt_server(r);
}

const struct config_server *rollout_server(const struct rollout *r)
{
    return r->server;
}

void rollout_expect(struct rollout *r)
{
    r->expected++;
}

void rollout_unexpect(struct rollout *r)
{
    r->expected--;
    rollout_poke(r);
}

/* Passes --------------------------------------------------------------------------------------- */

static bool pass_may_enter(const struct rollout *r, const struct rollout_pass *wanted)
{
    for (const struct rollout_pass *p = r->passes; p; p = p->next) {
        if (p == wanted)
            continue;
        if (p->granted && (p->exclusive || wanted->exclusive))
            return false;
        if (!p->granted && p->exclusive && !wanted->exclusive)
            return false; /* those that come back one by one are not starved by newcomers */
    }
    return true;
}

static void on_granted(void *userdata)
{
    struct rollout_pass *pass = userdata;
    timer_free(pass->grant);
    pass->grant = NULL;
    pass->fn(pass->userdata);
}

static void passes_grant(struct rollout *r)
{
    for (struct rollout_pass *p = r->passes; p; p = p->next) {
        if (p->granted || !pass_may_enter(r, p))
            continue;
        p->granted = true;
        p->grant = timer_after(r->services->loop, 0, on_granted, p);
    }
}

struct rollout_pass *rollout_enter(struct rollout *r, bool exclusive, rollout_pass_fn *fn,
                                   void *userdata)
{
    struct rollout_pass *pass = xcalloc(1, sizeof *pass);
    struct rollout_pass **end = &r->passes;

    pass->rollout = r;
    pass->exclusive = exclusive;
    pass->fn = fn;
    pass->userdata = userdata;
    while (*end)
        end = &(*end)->next;
    *end = pass;
    passes_grant(r);
    return pass;
}

void rollout_leave(struct rollout_pass *pass)
{
    if (!pass)
        return;
    struct rollout *r = pass->rollout;
    struct rollout_pass **at = &r->passes;

    while (*at != pass)
        at = &(*at)->next;
    *at = pass->next;
    timer_free(pass->grant);
    free(pass);
    passes_grant(r);
    rollout_poke(r);
}

bool rollout_pass_has_company(const struct rollout_pass *pass)
{
    for (const struct rollout_pass *p = pass->rollout->passes; p; p = p->next) {
        if (p != pass && p->granted)
            return true;
    }
    return false;
}

void rollout_stay(struct rollout_pass *pass)
{
    pass->owes_back = false;
    rollout_poke(pass->rollout);
}

static bool is_back_owed(const struct rollout *r)
{
    for (const struct rollout_pass *p = r->passes; p; p = p->next) {
        if (p->owes_back)
            return true;
    }
    return false;
}

/* Runs ----------------------------------------------------------------------------------------- */

static size_t count_calls(const struct rollout *r, enum rollout_kind kind)
{
    size_t n = 0;
    for (const struct rollout_call *c = r->calls; c; c = c->next)
        n += c->kind == kind && !c->running;
    return n;
}

/* The event of a run: the first call's facts and the names of all certificates. */
static struct hook_event run_event(struct rollout *r)
{
    struct hook_event event = {0};
    auto_strv struct strv all = {0};
    size_t n = 0;

    for (const struct rollout_call *c = r->calls; c; c = c->next)
        n += c->running;
    r->batch = xreallocarray(r->batch, n + 1, sizeof(*r->batch));
    n = 0;
    for (const struct rollout_call *c = r->calls; c; c = c->next) {
        if (!c->running)
            continue;
        r->batch[n++] = (struct hook_certificate){
            .name = c->certificate, .dir = c->dir, .fullchain = c->fullchain, .key = c->key};
        if (!event.certificate)
            event = (struct hook_event){
                .certificate = c->certificate,
                .names = c->names,
                .reason = c->reason,
                .attempt = c->attempt,
                .dir = c->dir,
                .fullchain = c->fullchain,
                .key = c->key,
                .staple = c->staple,
                .serial = c->serial,
                .old_serial = c->old_serial,
            };
        strv_add(&all, c->certificate);
    }
    set_string(&r->certificates, strv_join(&all, ","));
    event.certificates = r->certificates;
    event.batch = r->batch;
    event.n_batch = n;
    event.server = r->server->server.name;
    return event;
}

/* Takes the calls of the run off the list and tells each; a callback may free other calls. */
static void run_finish(struct rollout *r, const struct rollout_result *template)
{
    struct rollout_result result = *template;
    size_t n = 0;

    for (struct rollout_call *c = r->calls; c; c = c->next) {
        n += c->running;
        if (c->running && c->pass && r->kind == ROLLOUT_FORWARD && result.error)
            c->pass->owes_back = true;
        if (c->running && c->pass && r->kind == ROLLOUT_BACK)
            c->pass->owes_back = false;
    }
    result.shared = n > 1;
    rollout_poke(r);
    for (;;) {
        struct rollout_call **at = &r->calls;
        while (*at && !(*at)->running)
            at = &(*at)->next;
        struct rollout_call *c = *at;
        if (!c)
            return;
        *at = c->next;
        rollout_fn *fn = c->fn;
        void *userdata = c->userdata;
        call_free(c);
        fn(&result, userdata);
    }
}

static void on_reloaded(enum reload_result reload, const struct err *e, void *userdata)
{
    struct rollout *r = userdata;
    int64_t took = clock_boot_ms() - r->started_ms;

    r->job = NULL;
    if (reload == RELOAD_DONE || reload == RELOAD_FAILED)
        metrics_observe(r->services->metrics, METRIC_HOOK_DURATION, r->server->server.name, took);
    if (reload == RELOAD_FAILED)
        r->failed_at_ms = clock_boot_ms();
    else if (r->kind == ROLLOUT_FORWARD)
        r->failed_at_ms = 0;
    if (reload == RELOAD_FAILED)
        log_failure(LOG_LEVEL_WARNING, e, "reload failed", "server", r->server->server.name,
                    "certificates", r->certificates);
    else
        log_debug("reload", "server", r->server->server.name, "certificates", r->certificates);
    run_finish(r, &(struct rollout_result){
                      .error = reload == RELOAD_FAILED ? e : NULL,
                      .reload = reload,
                      .took_ms = took,
                  });
}

static bool has_running(const struct rollout *r)
{
    for (const struct rollout_call *c = r->calls; c; c = c->next) {
        if (c->running)
            return true;
    }
    return false; /* all were cancelled since */
}

static void judge_check(struct rollout *r, const struct err *e)
{
    if (e || r->kind == ROLLOUT_CHECK || !has_running(r)) {
        run_finish(r, &(struct rollout_result){
                          .error = e, .check_failed = e != NULL, .reload = RELOAD_NOTHING});
        return;
    }
    struct hook_event event = run_event(r);
    r->started_ms = clock_boot_ms();
    r->job = server_reload(&r->server->server, r->services->loop, &event, on_reloaded, r);
}

static void on_pairs_checked(const struct err *e, void *userdata)
{
    struct rollout *r = userdata;

    r->pair_check = NULL;
    judge_check(r, e);
}

static void on_checked(const struct err *e, void *userdata)
{
    struct rollout *r = userdata;
    const struct server *s = &r->server->server;

    r->job = NULL;
    if (!e && s->type->pairs && !s->check_off)
        r->pair_check = pair_check_start(r->services, r->config, r->server, on_pairs_checked, r);
    else
        judge_check(r, e);
}

static void run_start(struct rollout *r, enum rollout_kind kind)
{
    for (struct rollout_call *c = r->calls; c; c = c->next)
        c->running = c->kind == kind;
    r->kind = kind;
    struct hook_event event = run_event(r);
    r->job = server_check(&r->server->server, r->services->loop, &event, on_checked, r);
}

static void on_gathered(void *userdata)
{
    struct rollout *r = userdata;
    r->gathered = true;
    rollout_poke(r);
}

/* Whether one certificate is inside by itself: nobody can join its batch. */
static bool is_exclusive(const struct rollout *r)
{
    for (const struct rollout_pass *p = r->passes; p; p = p->next) {
        if (p->granted && p->exclusive)
            return true;
    }
    return false;
}

/* Whether the batch may close now; else a timer is set that looks again. */
static bool batch_is_closed(struct rollout *r)
{
    int64_t wait = 0;

    if (r->failed_at_ms > 0)
        wait = r->failed_at_ms + AFTER_FAILURE_S * INT64_C(1000) - clock_boot_ms();
    if (wait <= 0 && (r->expected == 0 || r->gathered || is_exclusive(r)))
        return true;
    if (wait > 0) {
        timer_free(r->gather);
        r->gather = timer_after(r->services->loop, wait, on_gathered, r);
    } else if (!r->gather) {
        r->gather = timer_after(r->services->loop, GATHER_MS, on_gathered, r);
    }
    return false;
}

static void rollout_turn(void *userdata)
{
    struct rollout *r = userdata;

    timer_free(r->turn);
    r->turn = NULL;
    if (is_busy(r))
        return; /* the end of the run looks again */
    adopt_server(r);
    if (count_calls(r, ROLLOUT_CHECK) > 0) {
        run_start(r, ROLLOUT_CHECK);
    } else if (is_back_owed(r)) {
        return; /* the member that owes it looks again */
    } else if (count_calls(r, ROLLOUT_BACK) > 0) {
        run_start(r, ROLLOUT_BACK);
    } else if (count_calls(r, ROLLOUT_FORWARD) > 0 && batch_is_closed(r)) {
        timer_free(r->gather);
        r->gather = NULL;
        r->gathered = false;
        run_start(r, ROLLOUT_FORWARD);
    }
}

struct rollout_call *rollout_start(struct rollout *r, enum rollout_kind kind,
                                   struct rollout_pass *pass, const struct hook_event *event,
                                   rollout_fn *fn, void *userdata)
{
    struct rollout_call *c = xcalloc(1, sizeof *c);
    struct rollout_call **end = &r->calls;

    *c = (struct rollout_call){
        .rollout = r,
        .kind = kind,
        .pass = pass,
        .certificate = xstrdup(event->certificate),
        .names = xstrdup(event->names),
        .reason = xstrdup(event->reason),
        .attempt = xstrdup(event->attempt),
        .dir = xstrdup(event->dir),
        .fullchain = xstrdup(event->fullchain),
        .key = xstrdup(event->key),
        .staple = xstrdup(event->staple),
        .serial = xstrdup(event->serial),
        .old_serial = xstrdup(event->old_serial),
        .fn = fn,
        .userdata = userdata,
    };
    if (pass && kind == ROLLOUT_BACK)
        pass->owes_back = false;
    while (*end)
        end = &(*end)->next;
    *end = c;
    rollout_poke(r);
    return c;
}

void rollout_call_free(struct rollout_call *c)
{
    if (!c)
        return;
    struct rollout_call **at = &c->rollout->calls;
    while (*at && *at != c)
        at = &(*at)->next;
    if (*at)
        *at = c->next;
    call_free(c);
}
