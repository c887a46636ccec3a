/* Strategy:
 *
 *   take a pass for every server
 *   BASELINE   run each server's own check, look at each endpoint; a check that fails stops here
 *   SWITCH     save the target, then switch `live` and all outputs to it
 *   RELOAD     check and reload every server, together with other certificates
 *   PROVE      look at the endpoints until they show the new leaf
 *   BACK_*     the same three with the previous generation, when one of them failed
 *
 * deploy.json is on disk before SWITCH and BACK_SWITCH touch anything: after a kill in any of the
 * later steps the recorded step is simply done again, and all of them are idempotent.
 *
 * When a step fails and there is no generation fit to go back to, the new one stays: the steps that
 * are left are still done for what could be written, and the deployment ends as failed, to be tried
 * again. */
#include <string.h>
#include <unistd.h>

#include "agent/deploy_private.h"
#include "agent/metrics.h"
#include "agent/renewal.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

void leg_unexpect(struct leg *leg)
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
    audit_free(d->audit);
    timer_free(d->turn);
    generation_unref(d->settings.target);
    if (d->settings.previous)
        generation_unref(d->settings.previous);
    config_unref(d->settings.config);
    free(d->attempt);
    free(d);
}

struct generation *deploy_generation(const struct deploy *d)
{
    return deploy_stage_is_back(d->record->stage) ? d->settings.previous : d->settings.target;
}

struct server_row *leg_row(const struct leg *leg)
{
    return deploy_record_server(leg->deploy->record, leg->server->server.name);
}

void deploy_say(struct deploy *d, const char *text)
{
    d->events.activity(text, d->events.userdata);
}

struct hook_event deploy_event(const struct deploy *d, struct strv *texts)
{
    const struct config_certificate *c = d->settings.certificate;
    const struct generation *g = deploy_generation(d);
    const struct generation *old = d->settings.previous;
    auto_free char *live = generation_live_path(d->settings.services->state, c->name);

    strv_add_owned(texts, strv_join(&c->names, ","));
    strv_add(texts, live);
    strv_addf(texts, "%s/fullchain.pem", live);
    strv_addf(texts, "%s/privkey.pem", live);
    strv_addf(texts, "%s/ocsp.der", live);
    bool stapled = access(texts->items[4], F_OK) == 0;
    return (struct hook_event){
        .certificate = c->name,
        .names = texts->items[0],
        .reason = deploy_stage_is_back(d->record->stage) ? "rolled-back" : d->settings.reason,
        .attempt = d->attempt,
        .dir = texts->items[1],
        .fullchain = texts->items[2],
        .key = texts->items[3],
        .staple = stapled ? texts->items[4] : NULL,
        .serial = g->chain->items[0]->serial_hex,
        .old_serial = old ? old->chain->items[0]->serial_hex : NULL,
    };
}

/* The end -------------------------------------------------------------------------------------- */

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

static struct validity validity_of(const struct generation *g)
{
    const struct cert *leaf = g->chain->items[0];

    return (struct validity){leaf->not_before, leaf->not_after};
}

/* When and how the deployment is tried again, if it is. */
static void plan_next_try(const struct deploy *d)
{
    struct deploy_record *r = d->record;
    const struct generation *served =
        d->settings.previous ? d->settings.previous : d->settings.target;
    struct validity v = validity_of(served);
    bool shared = false;

    for (size_t i = 0; i < d->n_legs; i++)
        shared = shared || (d->legs[i].reload_error && d->legs[i].shared);
    if (r->outcome == OUTCOME_PROVEN || r->outcome == OUTCOME_DEPLOYED) {
        r->failures = 0;
        r->next_try = 0;
        r->alone = false;
    } else if (shared && !r->alone) {
        r->alone = true; /* perhaps another certificate of the batch was to blame: try by itself */
        r->next_try = clock_now();
    } else {
        r->failures++;
        r->next_try = renewal_next_try(r->failures, clock_now(), &v, 0, random_u32());
    }
}

void deploy_finish(struct deploy *d, enum deploy_outcome outcome, struct err *error)
{
    struct deploy_record *r = d->record;

    if (error != r->error)
        err_free(r->error);
    r->error = error;
    r->outcome = outcome;
    r->stage = DEPLOY_IDLE;
    plan_next_try(d);
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

/* Turning round -------------------------------------------------------------------------------- */

/* Whether the previous generation is fit to be served again. */
static bool can_go_back(const struct deploy *d)
{
    const struct generation *old = d->settings.previous;
    const struct config_certificate *c = d->settings.certificate;
    time_t now = clock_now();

    if (!old || old->number == d->settings.target->number || d->settings.no_way_back)
        return false;
    const struct cert *leaf = old->chain->items[0];
    for (size_t i = 0; i < c->names.n; i++) {
        if (!strv_has(&leaf->names, c->names.items[i]))
            return false;
    }
    return leaf->not_after > now && !renewal_is_emergency(validity_of(old), now);
}

/* The new generation stays. */
static void go_on(struct deploy *d, struct err *error)
{
    struct deploy_record *r = d->record;

    if (r->stays) { /* told already, the first error says most */
        err_free(error);
    } else {
        err_wrap(&error, "the new certificate stays, there is no fit one to go back to");
        err_free(r->error);
        r->error = error;
        r->stays = true;
    }
    for (size_t i = 0; i < d->n_legs; i++)
        rollout_stay(d->legs[i].pass);
    if (r->stage == DEPLOY_PROVE)
        deploy_finish(d, OUTCOME_FAILED, r->error);
    else
        deploy_step(d, r->stage == DEPLOY_SWITCH ? DEPLOY_RELOAD : DEPLOY_PROVE);
}

void deploy_turn_round(struct deploy *d, struct err *error)
{
    struct deploy_record *r = d->record;

    if (!can_go_back(d)) {
        go_on(d, error);
        return;
    }
    log_failure(LOG_LEVEL_ERROR, error, "rolling back", "certificate",
                d->settings.certificate->name, "attempt", d->attempt);
    metrics_count(d->settings.services->metrics, METRIC_ROLLBACKS, 1, d->settings.certificate->name,
                  NULL);
    err_free(r->error);
    r->error = error;
    r->target = d->settings.previous->number;
    deploy_step(d, DEPLOY_BACK_SWITCH);
}

/* The table ------------------------------------------------------------------------------------ */

static const struct {
    void (*ask)(struct deploy *d);
    bool save_first; /* the step may only begin when the record is on disk */
} steps[] = {
    [DEPLOY_IDLE] = {NULL, false},
    [DEPLOY_BASELINE] = {deploy_ask_baseline, false},
    [DEPLOY_SWITCH] = {deploy_ask_switch, true},
    [DEPLOY_RELOAD] = {deploy_ask_reload, false},
    [DEPLOY_PROVE] = {deploy_ask_proof, false},
    [DEPLOY_BACK_SWITCH] = {deploy_ask_switch, true},
    [DEPLOY_BACK_RELOAD] = {deploy_ask_reload, false},
    [DEPLOY_BACK_PROVE] = {deploy_ask_proof, false},
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

void deploy_step(struct deploy *d, enum deploy_stage stage)
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

/* The beginning -------------------------------------------------------------------------------- */

static void deploy_enter(struct deploy *d);

static void on_granted(void *userdata)
{
    struct leg *leg = userdata;

    leg->granted = true;
    if (!leg->expected)
        rollout_expect(leg->rollout);
    leg->expected = true;
    deploy_enter(leg->deploy);
}

/* Passes are taken one after the other in the order of the servers' names. */
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

static void begin_record(struct deploy *d)
{
    struct deploy_record *r = d->record;
    bool on_the_way = r->stage != DEPLOY_IDLE && r->candidate == d->settings.target->number &&
                      (!deploy_stage_is_back(r->stage) || d->settings.previous);

    deploy_record_fit(r, d->settings.certificate);
    for (size_t i = 0; i < d->n_legs; i++) /* made before any pointer to a row is taken */
        (void)leg_row(&d->legs[i]);
    if (on_the_way) {
        /* What is on disk was saved before the reload: it may have taken place since. */
        for (size_t i = 0; i < r->n_servers && !deploy_stage_is_back(r->stage); i++)
            r->servers[i].reloaded = true;
        return;
    }
    if (r->candidate != d->settings.target->number) {
        r->failures = 0;
        r->alone = false;
    }
    r->stage = DEPLOY_BASELINE;
    r->candidate = d->settings.target->number;
    r->previous = d->settings.previous ? d->settings.previous->number : 0;
    r->outcome = OUTCOME_NONE;
    r->stays = false;
    set_string(&r->attempt, xstrdup(d->attempt));
}

struct deploy *deploy_start(const struct deploy_settings *settings,
                            const struct deploy_events *events)
{
    struct deploy *d = xcalloc(1, sizeof *d);
    const struct config_certificate *c = settings->certificate;

    d->settings = *settings;
    d->settings.config = config_ref(settings->config);
    d->settings.target = generation_ref(settings->target);
    d->settings.previous = settings->previous ? generation_ref(settings->previous) : NULL;
    d->events = *events;
    d->attempt = xstrdup(settings->attempt);
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
    begin_record(d);
    deploy_enter(d);
    return d;
}
