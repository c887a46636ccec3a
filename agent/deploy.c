/* Strategy:
 *
 *   take a pass for every server
 *   BASELINE   run each server's own check, look at each endpoint; a check that fails stops here
 *   SWITCH     save the target, then switch `live` and all outputs to it
 *   RELOAD     check and reload every server, together with other certificates
 *   PROVE      look at the endpoints until they show the new leaf
 *   BACK_*     the same three with the previous generation, when one of them failed
 *
 * deploy.json is on disk before SWITCH and BACK_SWITCH touch anything: after a kill in any of the later
 * steps the recorded step is simply done again, and all of them are idempotent. */
#include "agent/deploy.h"

#include <string.h>

#include "agent/metrics.h"
#include "agent/proof.h"
#include "agent/renewal.h"
#include "agent/switchover.h"
#include "agent/verdict.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

/* What is under way for one server. */
struct leg {
    struct deploy *deploy;
    const struct config_server *server;
    struct rollout *rollout;
    struct rollout_pass *pass;
    bool granted;
    bool expected; /* other certificates' batches wait for us */
    struct rollout_call *call;
    struct proof *proof;
    struct err *check_error;  /* of the baseline */
    struct err *reload_error; /* of this way (forward or back) */
    bool shared;              /* ... and other certificates were in the batch */
};

struct deploy {
    struct deploy_settings settings;
    struct deploy_events events;
    struct deploy_record *record; /* = settings.record */
    struct leg *legs;             /* sorted by server name: passes are taken in one order everywhere */
    size_t n_legs;
    size_t open; /* things the current step waits for */
    struct save *save;
    struct switchover *switchover;
    struct timer *turn;
};

static void deploy_step(struct deploy *d, enum deploy_stage stage);

static void leg_unexpect(struct leg *leg)
{
    if (leg->expected)
        rollout_unexpect(leg->rollout);
    leg->expected = false;
}

void deploy_free(struct deploy *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n_legs; i++) {
        leg_unexpect(&d->legs[i]);
        rollout_call_free(d->legs[i].call);
        proof_free(d->legs[i].proof);
        rollout_leave(d->legs[i].pass);
        err_free(d->legs[i].check_error);
        err_free(d->legs[i].reload_error);
    }
    free(d->legs);
    save_free(d->save);
    switchover_free(d->switchover);
    timer_free(d->turn);
    generation_unref(d->settings.target);
    generation_unref(d->settings.previous);
    free(d);
}

static bool is_way_back(enum deploy_stage stage)
{
    return stage == DEPLOY_BACK_SWITCH || stage == DEPLOY_BACK_RELOAD || stage == DEPLOY_BACK_PROVE;
}

/* The generation that is to be served in the current stage. */
static struct generation *deploy_generation(const struct deploy *d)
{
    return is_way_back(d->record->stage) && d->settings.previous ? d->settings.previous
                                                                 : d->settings.target;
}

static struct server_row *leg_row(const struct leg *leg)
{
    return deploy_record_server(leg->deploy->record, leg->server->server.name);
}

static void deploy_say(struct deploy *d, const char *text)
{
    d->events.activity(text, d->events.userdata);
}

/* Events for hooks. The strings live as long as `texts`. */
static struct hook_event deploy_event(const struct deploy *d, struct strv *texts)
{
    const struct config_certificate *c = d->settings.certificate;
    const struct generation *g = deploy_generation(d);
    const struct generation *old = d->settings.previous;
    auto_free char *live = generation_live_path(d->settings.services->state, c->name);

    strv_add_owned(texts, strv_join(&c->names, ","));
    strv_add(texts, live);
    strv_addf(texts, "%s/fullchain.pem", live);
    strv_addf(texts, "%s/privkey.pem", live);
    return (struct hook_event){
        .certificate = c->name,
        .names = texts->items[0],
        .reason = is_way_back(d->record->stage) ? "rolled-back" : d->settings.reason,
        .attempt = d->settings.attempt,
        .dir = texts->items[1],
        .fullchain = texts->items[2],
        .key = texts->items[3],
        .serial = g->chain->items[0]->serial_hex,
        .old_serial = old ? old->chain->items[0]->serial_hex : NULL,
    };
}

/* The end -------------------------------------------------------------------------------------------- */

static void on_finished(const struct err *e, void *userdata)
{
    struct deploy *d = userdata;
    struct deploy_events events = d->events;

    d->save = NULL;
    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "deploy.json not saved", "certificate",
                    d->settings.certificate->name);
    deploy_free(d);
    events.done(events.userdata);
}

static const char *outcome_label(enum deploy_outcome outcome)
{
    static const char *const labels[] = {
        [OUTCOME_NONE] = "failed",       [OUTCOME_PROVEN] = "proven",
        [OUTCOME_DEPLOYED] = "deployed", [OUTCOME_ROLLED_BACK] = "rolled-back",
        [OUTCOME_REFUSED] = "refused",   [OUTCOME_FAILED] = "failed",
    };
    return labels[outcome];
}

/* error is taken; NULL for a good end. An error of an outcome that did not put the new generation into
 * service makes another try necessary. */
static void deploy_finish(struct deploy *d, enum deploy_outcome outcome, struct err *error)
{
    struct deploy_record *r = d->record;
    bool again = outcome != OUTCOME_PROVEN && outcome != OUTCOME_DEPLOYED;
    bool shared = false;

    for (size_t i = 0; i < d->n_legs; i++)
        shared = shared || (d->legs[i].reload_error && d->legs[i].shared);
    if (error != r->error)
        err_free(r->error);
    r->error = error;
    r->outcome = outcome;
    r->stage = DEPLOY_IDLE;
    if (!again) {
        r->failures = 0;
        r->next_try = 0;
        r->alone = false;
    } else if (shared && !r->alone) {
        r->alone = true; /* perhaps another certificate of the batch was to blame: try by itself */
        r->next_try = clock_now();
    } else {
        const struct generation *served = d->settings.previous ? d->settings.previous : d->settings.target;
        r->failures++;
        r->next_try = renewal_next_try(r->failures, clock_now(), served->chain->items[0]->not_after, 0,
                                       random_u32());
    }
    metrics_count(d->settings.services->metrics, METRIC_DEPLOYS, 1, outcome_label(outcome), NULL);
    for (size_t i = 0; i < d->n_legs; i++) {
        leg_unexpect(&d->legs[i]);
        rollout_leave(d->legs[i].pass);
        d->legs[i].pass = NULL;
    }
    auto_json json_t *j = deploy_record_to_json(r);
    d->save = state_save(d->settings.services->state, d->settings.certificate->name, "deploy", j,
                         on_finished, d);
}

/* Whether the previous generation is fit to be served again. */
static bool can_go_back(const struct deploy *d)
{
    const struct generation *old = d->settings.previous;
    const struct config_certificate *c = d->settings.certificate;
    time_t now = clock_now();

    if (!old || old->number == d->settings.target->number)
        return false;
    const struct cert *leaf = old->chain->items[0];
    for (size_t i = 0; i < c->names.n; i++) {
        if (!strv_has(&leaf->names, c->names.items[i]))
            return false;
    }
    return leaf->not_after > now && !renewal_is_emergency(leaf, now);
}

/* error is taken. */
static void deploy_go_back(struct deploy *d, struct err *error)
{
    struct deploy_record *r = d->record;

    if (!can_go_back(d)) {
        err_wrap(&error, "the new certificate stays, there is no fit one to go back to");
        deploy_finish(d, OUTCOME_FAILED, error);
        return;
    }
    log_failure(LOG_LEVEL_ERROR, error, "rolling back", "certificate", d->settings.certificate->name,
                "attempt", d->settings.attempt);
    metrics_count(d->settings.services->metrics, METRIC_ROLLBACKS, 1, d->settings.certificate->name,
                  NULL);
    err_free(r->error);
    r->error = error;
    r->target = d->settings.previous->number;
    for (size_t i = 0; i < d->n_legs; i++) {
        if (d->legs[i].reload_error && d->legs[i].shared && !r->alone)
            continue; /* kept: says that the failure was shared */
        err_free(d->legs[i].reload_error);
        d->legs[i].reload_error = NULL;
    }
    deploy_step(d, DEPLOY_BACK_SWITCH);
}

/* PROVE and BACK_PROVE ------------------------------------------------------------------------------- */

static void judge_proof(struct deploy *d)
{
    struct deploy_record *r = d->record;
    struct err *guilty = NULL;
    struct err *alarm = NULL;
    enum deploy_outcome outcome = verdict_proof(r, d->settings.certificate, &guilty, &alarm);

    if (r->stage == DEPLOY_BACK_PROVE) {
        for (size_t i = 0; i < r->n_servers; i++)
            r->servers[i].state = SERVER_ROLLED_BACK;
        if (guilty)
            err_wrap(&r->error, "rolled back, but the old certificate could not be proven either (%s)",
                     guilty->text);
        err_free(guilty);
        err_free(alarm);
        deploy_finish(d, OUTCOME_ROLLED_BACK, r->error);
    } else if (guilty) {
        err_free(alarm);
        deploy_go_back(d, guilty);
    } else {
        deploy_finish(d, outcome, alarm);
    }
}

static void on_proof(void *userdata)
{
    struct leg *leg = userdata;
    struct deploy *d = leg->deploy;

    leg->proof = NULL;
    if (--d->open == 0)
        judge_proof(d);
}

static void ask_proof(struct deploy *d)
{
    const struct generation *g = deploy_generation(d);

    deploy_say(d, "proving over TLS that the servers show the certificate");
    d->open = d->n_legs;
    for (size_t i = 0; i < d->n_legs; i++) {
        struct leg *leg = &d->legs[i];
        struct proof_settings settings = {
            .services = d->settings.services,
            .certificate = d->settings.certificate,
            .server = leg->server,
            .row = leg_row(leg),
            .live_sha256 = generation_sha256(g),
            .only_old = d->record->stage == DEPLOY_BACK_PROVE,
        };
        settings.one_look = d->record->stage == DEPLOY_PROVE && settings.row->not_running;
        leg->proof = proof_start(&settings, on_proof, leg);
    }
    if (d->open == 0)
        judge_proof(d);
}

/* RELOAD and BACK_RELOAD ----------------------------------------------------------------------------- */

static void judge_reload(struct deploy *d)
{
    struct err *error = NULL;

    for (size_t i = 0; i < d->n_legs; i++) {
        if (d->legs[i].reload_error && !error)
            error = err_copy(d->legs[i].reload_error);
    }
    if (d->record->stage == DEPLOY_BACK_RELOAD) {
        err_free(error);
        deploy_step(d, DEPLOY_BACK_PROVE);
    } else if (error) {
        deploy_go_back(d, error);
    } else {
        deploy_step(d, DEPLOY_PROVE);
    }
}

static void on_reloaded(const struct rollout_result *result, void *userdata)
{
    struct leg *leg = userdata;
    struct deploy *d = leg->deploy;
    struct server_row *row = leg_row(leg);
    bool back = d->record->stage == DEPLOY_BACK_RELOAD;

    leg->call = NULL;
    row->not_running = result->reload == RELOAD_NOT_RUNNING;
    row->state = result->check_failed ? SERVER_PENDING : SERVER_CHECKED;
    if (!result->check_failed && result->reload != RELOAD_NOT_RUNNING) {
        row->reloaded = true; /* even a reload that failed may have had effects */
        row->reloaded_at = clock_now();
        row->reload_ms = result->took_ms;
        if (!result->error)
            row->state = SERVER_RELOADED;
    }
    err_free(row->error);
    row->error = err_copy(result->error);
    if (result->error) {
        struct err *e = err_copy(result->error);
        err_wrap(&e, "server %s", leg->server->server.name);
        err_step(&e, result->check_failed ? "check" : "reload");
        if (back) {
            err_wrap(&d->record->error, "rolled back, but %s; before that", e->text);
            err_free(e);
        } else {
            leg->reload_error = e;
            leg->shared = result->shared;
        }
    } else if (result->reload == RELOAD_NOT_RUNNING) {
        log_warning("server is not running, nothing to reload", "certificate",
                    d->settings.certificate->name, "server", leg->server->server.name);
    }
    if (--d->open == 0)
        judge_reload(d);
}

static void ask_reload(struct deploy *d)
{
    bool back = d->record->stage == DEPLOY_BACK_RELOAD;
    auto_strv struct strv texts = {0};
    struct hook_event event = deploy_event(d, &texts);

    deploy_say(d, back ? "reloading the servers with the old certificate" : "reloading the servers");
    d->open = 1;
    for (size_t i = 0; i < d->n_legs; i++) {
        struct leg *leg = &d->legs[i];
        if (back && !leg_row(leg)->reloaded) {
            rollout_leave(leg->pass); /* it never saw the new files: others need not wait for us */
            leg->pass = NULL;
            continue;
        }
        d->open++;
        leg->call = rollout_start(leg->rollout, back ? ROLLOUT_BACK : ROLLOUT_FORWARD, leg->pass, &event,
                                  on_reloaded, leg);
        leg_unexpect(leg);
    }
    if (--d->open == 0)
        judge_reload(d);
}

/* SWITCH and BACK_SWITCH ----------------------------------------------------------------------------- */

static void on_switched(const struct err *e, void *userdata)
{
    struct deploy *d = userdata;
    bool back = d->record->stage == DEPLOY_BACK_SWITCH;

    d->switchover = NULL;
    d->events.switched(deploy_generation(d), d->events.userdata);
    if (back) {
        if (e) /* what could be written is back; the rest is told and retried with the deployment */
            err_wrap(&d->record->error, "rolling back: %s; before that", e->text);
        deploy_step(d, DEPLOY_BACK_RELOAD);
    } else if (e) {
        deploy_go_back(d, err_copy(e));
    } else {
        deploy_step(d, DEPLOY_RELOAD);
    }
}

static void ask_switch(struct deploy *d)
{
    deploy_say(d, "writing the outputs");
    d->switchover = switchover_start(d->settings.services, d->settings.certificate, d->record,
                                     deploy_generation(d), on_switched, d);
}

/* BASELINE ------------------------------------------------------------------------------------------- */

/* A server's check may fail because the files it is configured to read have never been written: only
 * then may a failing check not stop us. */
static bool files_are_missing(const struct deploy *d)
{
    const struct config_certificate *c = d->settings.certificate;

    if (c->n_outputs == 0)
        return d->settings.previous == NULL;
    for (size_t i = 0; i < c->n_outputs; i++) {
        const struct output *o = &c->outputs[i];
        auto_err struct err *e = NULL;
        auto_free char *sha256 = o->type->current(o->settings, &e);
        if (!sha256 && err_is_absent(e))
            return true;
    }
    return false;
}

static void judge_baseline(struct deploy *d)
{
    struct leg *failed = NULL;

    for (size_t i = 0; i < d->n_legs && !failed; i++) {
        if (d->legs[i].check_error)
            failed = &d->legs[i];
    }
    if (failed && !files_are_missing(d)) {
        struct err *e = take(failed->check_error);
        if (rollout_pass_has_company(failed->pass) && !d->record->alone)
            failed->shared = true, failed->reload_error = err_copy(e);
        err_wrap(&e, "server %s: its own check already fails before anything is written",
                 failed->server->server.name);
        err_step(&e, "baseline");
        err_hint(&e, "mend the configuration of %s; nothing was written or reloaded",
                 failed->server->server.name);
        free(e->problem);
        e->problem = xstrdup("server_config");
        err_free(leg_row(failed)->error);
        leg_row(failed)->error = err_copy(e);
        deploy_finish(d, OUTCOME_REFUSED, e);
        return;
    }
    d->record->target = d->settings.target->number;
    deploy_step(d, DEPLOY_SWITCH);
}

static void on_baseline_checked(const struct rollout_result *result, void *userdata)
{
    struct leg *leg = userdata;
    struct deploy *d = leg->deploy;

    leg->call = NULL;
    leg->check_error = err_copy(result->error);
    if (--d->open == 0)
        judge_baseline(d);
}

static void on_surveyed(void *userdata)
{
    struct leg *leg = userdata;
    struct deploy *d = leg->deploy;

    leg->proof = NULL;
    if (--d->open == 0)
        judge_baseline(d);
}

static void ask_baseline(struct deploy *d)
{
    auto_strv struct strv texts = {0};
    struct hook_event event = deploy_event(d, &texts);

    deploy_say(d, "checking the servers before anything is switched");
    d->open = 2 * d->n_legs;
    for (size_t i = 0; i < d->n_legs; i++) {
        struct leg *leg = &d->legs[i];
        struct server_row *row = leg_row(leg);
        row->state = SERVER_PENDING;
        row->reloaded = row->not_running = false;
        err_free(row->error);
        row->error = NULL;
        leg->call = rollout_start(leg->rollout, ROLLOUT_CHECK, leg->pass, &event, on_baseline_checked,
                                  leg);
        struct proof_settings settings = {
            .services = d->settings.services,
            .certificate = d->settings.certificate,
            .server = leg->server,
            .row = row,
            .live_sha256 = generation_sha256(d->settings.previous ? d->settings.previous
                                                                  : d->settings.target),
        };
        leg->proof = survey_start(&settings, on_surveyed, leg);
    }
    if (d->open == 0)
        judge_baseline(d);
}

/* The table ------------------------------------------------------------------------------------------ */

static const struct {
    void (*ask)(struct deploy *d);
    bool save_first; /* the step may only begin when the record is on disk */
} steps[] = {
    [DEPLOY_IDLE] = {NULL, false},
    [DEPLOY_BASELINE] = {ask_baseline, false},
    [DEPLOY_SWITCH] = {ask_switch, true},
    [DEPLOY_RELOAD] = {ask_reload, false},
    [DEPLOY_PROVE] = {ask_proof, false},
    [DEPLOY_BACK_SWITCH] = {ask_switch, true},
    [DEPLOY_BACK_RELOAD] = {ask_reload, false},
    [DEPLOY_BACK_PROVE] = {ask_proof, false},
};

static void on_saved(const struct err *e, void *userdata)
{
    struct deploy *d = userdata;
    enum deploy_stage stage = d->record->stage;

    d->save = NULL;
    if (e && stage == DEPLOY_SWITCH) {
        struct err *error = err_copy(e);
        err_wrap(&error, "the deployment could not be recorded, so nothing was switched");
        deploy_finish(d, OUTCOME_REFUSED, error);
        return;
    }
    /* The way back is gone even when it cannot be recorded: the old files are what still works. */
    steps[stage].ask(d);
}

static void on_turn(void *userdata)
{
    struct deploy *d = userdata;
    timer_free(d->turn);
    d->turn = NULL;
    steps[d->record->stage].ask(d);
}

/* The only place where a deployment changes its step. The next one is asked on a later turn, or when the
 * record is on disk. */
static void deploy_step(struct deploy *d, enum deploy_stage stage)
{
    log_debug("deployment moves", "certificate", d->settings.certificate->name, "from",
              deploy_stage_name(d->record->stage), "to", deploy_stage_name(stage));
    d->record->stage = stage;
    if (!steps[stage].save_first) {
        d->turn = timer_after(d->settings.services->loop, 0, on_turn, d);
        return;
    }
    auto_json json_t *j = deploy_record_to_json(d->record);
    d->save = state_save(d->settings.services->state, d->settings.certificate->name, "deploy", j,
                         on_saved, d);
}

/* Passes are taken one after the other in the order of the servers' names. */
static void deploy_enter(struct deploy *d);

static void on_granted(void *userdata)
{
    struct leg *leg = userdata;
    leg->granted = true;
    deploy_enter(leg->deploy);
}

static void deploy_enter(struct deploy *d)
{
    for (size_t i = 0; i < d->n_legs; i++) {
        struct leg *leg = &d->legs[i];
        if (leg->granted)
            continue;
        leg->pass = rollout_enter(leg->rollout, d->record->alone, on_granted, leg);
        return;
    }
    deploy_step(d, d->record->stage);
}

static int by_server_name(const void *a, const void *b)
{
    const struct leg *x = a, *y = b;
    return strcmp(x->server->server.name, y->server->server.name);
}

/* Rows of servers and outputs that the configuration does not have any more are dropped. */
static void record_fit(struct deploy_record *r, const struct config_certificate *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n_servers; i++) {
        bool wanted = false;
        for (size_t s = 0; s < c->n_servers; s++)
            wanted = wanted || strcmp(c->servers[s]->server.name, r->servers[i].name) == 0;
        if (wanted)
            r->servers[kept++] = r->servers[i];
        else
            server_row_done(&r->servers[i]);
    }
    r->n_servers = kept;
    kept = 0;
    for (size_t i = 0; i < r->n_outputs; i++) {
        bool wanted = false;
        for (size_t o = 0; o < c->n_outputs; o++)
            wanted = wanted || (strcmp(c->outputs[o].path, r->outputs[i].path) == 0 &&
                                strcmp(c->outputs[o].type->name, r->outputs[i].type) == 0);
        if (wanted)
            r->outputs[kept++] = r->outputs[i];
        else
            output_row_done(&r->outputs[i]);
    }
    r->n_outputs = kept;
}

static void deploy_begin_record(struct deploy *d)
{
    struct deploy_record *r = d->record;

    record_fit(r, d->settings.certificate);
    for (size_t i = 0; i < d->n_legs; i++) /* made before any pointer to a row is taken */
        (void)leg_row(&d->legs[i]);
    if (r->stage != DEPLOY_IDLE)
        return;
    r->stage = DEPLOY_BASELINE;
    r->candidate = d->settings.target->number;
    r->previous = d->settings.previous ? d->settings.previous->number : 0;
    r->outcome = OUTCOME_NONE;
    set_string(&r->attempt, xstrdup(d->settings.attempt));
}

struct deploy *deploy_start(const struct deploy_settings *settings, const struct deploy_events *events)
{
    struct deploy *d = xcalloc(1, sizeof *d);
    const struct config_certificate *c = settings->certificate;

    d->settings = *settings;
    d->settings.target = generation_ref(settings->target);
    d->settings.previous = settings->previous ? generation_ref(settings->previous) : NULL;
    d->events = *events;
    d->record = settings->record;
    d->n_legs = c->n_servers;
    d->legs = xcalloc(d->n_legs + 1, sizeof *d->legs);
    for (size_t i = 0; i < d->n_legs; i++)
        d->legs[i] = (struct leg){
            .deploy = d,
            .server = c->servers[i],
            .rollout = settings->rollouts[i],
            .expected = settings->expected,
        };
    qsort(d->legs, d->n_legs, sizeof *d->legs, by_server_name);
    deploy_begin_record(d);
    deploy_enter(d);
    return d;
}
