/* What the steps of a deployment do: ask_<step> starts the work for every server or output and
 * counts what is open; judge_<step> decides when all of it is over. */
#include <string.h>

#include "agent/deploy_private.h"
#include "agent/verdict.h"
#include "base/clock.h"
#include "base/log.h"

/* nginx lets old workers accept for 100 ms beside the new ones. */

/* PROVE and BACK_PROVE ------------------------------------------------------------------------- */

static void judge_way_back(struct deploy *d, const struct err *guilty)
{
    struct deploy_record *r = d->record;

    for (size_t i = 0; i < r->n_servers; i++)
        r->servers[i].state = SERVER_ROLLED_BACK;
    if (guilty)
        err_wrap(
            &r->error,
            "rolled back, but the old certificate could not be proven either (%s); before that",
            guilty->text);
    deploy_finish(d, OUTCOME_ROLLED_BACK, r->error);
}

static void judge_proof(struct deploy *d)
{
    struct deploy_record *r = d->record;
    struct err *guilty = NULL;
    struct err *alarm = NULL;
    enum deploy_outcome outcome = verdict_proof(r, d->settings.certificate, &guilty, &alarm);

    if (r->stage == DEPLOY_BACK_PROVE) {
        judge_way_back(d, guilty);
    } else if (guilty) {
        deploy_turn_round(d, take(guilty));
    } else if (r->stays) {
        deploy_finish(d, OUTCOME_FAILED, r->error);
    } else {
        deploy_finish(d, outcome, take(alarm));
    }
    err_free(guilty);
    err_free(alarm);
}

static void on_proof(void *userdata)
{
    struct leg *leg = userdata;
    struct deploy *d = leg->deploy;

    leg->proof = NULL;
    if (--d->open == 0)
        judge_proof(d);
}

/* Until then old processes of the server may still answer. */
static int64_t leg_overlap_until_ms(const struct leg *leg)
{
    int64_t own_ms = leg->server->server.type->overlap_ms;

    if (leg->reloaded_ms <= 0)
        return 0;
    return leg->reloaded_ms + (own_ms > 0 ? own_ms : SERVER_OVERLAP_MS);
}

void deploy_ask_proof(struct deploy *d)
{
    const struct generation *g = deploy_generation(d);
    bool back = d->record->stage == DEPLOY_BACK_PROVE;

    if (d->n_legs > 0)
        deploy_say(d, "proving over TLS that the servers show the certificate");
    d->open = d->n_legs;
    for (size_t i = 0; i < d->n_legs; i++) {
        struct leg *leg = &d->legs[i];
        struct server_row *row = leg_row(leg);
        struct proof_settings settings = {
            .services = d->settings.services,
            .certificate = d->settings.certificate,
            .server = leg->server,
            .row = row,
            .live_sha256 = generation_sha256(g),
            .generation = g->number,
            .overlap_until_ms = leg_overlap_until_ms(leg),
            /* Nothing will change at a server that did not load anything. */
            .one_look = !back && (row->not_running || leg->reload_error),
            .only_old = back,
        };
        leg->proof = proof_start(&settings, on_proof, leg);
    }
    if (d->open == 0)
        judge_proof(d);
}

/* RELOAD and BACK_RELOAD ----------------------------------------------------------------------- */

static void judge_reload(struct deploy *d)
{
    struct err *error = NULL;

    if (d->record->stage == DEPLOY_BACK_RELOAD) {
        deploy_step(d, DEPLOY_BACK_PROVE);
        return;
    }
    for (size_t i = 0; i < d->n_legs && !error; i++)
        error = err_copy(d->legs[i].reload_error);
    if (error)
        deploy_turn_round(d, error);
    else
        deploy_step(d, DEPLOY_PROVE);
}

static void note_reload(struct server_row *row, const struct rollout_result *result)
{
    row->not_running = result->reload == RELOAD_NOT_RUNNING;
    row->state = result->check_failed ? SERVER_PENDING : SERVER_CHECKED;
    if (result->reload == RELOAD_DONE || result->reload == RELOAD_FAILED) {
        row->reloaded = true; /* even a reload that failed may have had effects */
        row->reloaded_at = clock_now();
        row->reload_ms = result->took_ms;
        if (!result->error)
            row->state = SERVER_RELOADED;
    }
    err_free(row->error);
    row->error = err_copy(result->error);
}

static void note_reload_error(struct leg *leg, const struct rollout_result *result)
{
    struct deploy *d = leg->deploy;
    struct err *e = err_copy(result->error);

    err_wrap(&e, "server %s", leg->server->server.name);
    err_step(&e, result->check_failed ? "check" : "reload");
    if (d->record->stage == DEPLOY_BACK_RELOAD) {
        err_wrap(&d->record->error, "rolled back, but %s; before that", e->text);
        err_free(e);
    } else {
        err_free(leg->reload_error);
        leg->reload_error = e;
        leg->shared = result->shared;
    }
}

static void on_reloaded(const struct rollout_result *result, void *userdata)
{
    struct leg *leg = userdata;
    struct deploy *d = leg->deploy;

    leg->call = NULL;
    leg->reloaded_ms = result->reload == RELOAD_DONE ? clock_boot_ms() : 0;
    note_reload(leg_row(leg), result);
    if (result->error)
        note_reload_error(leg, result);
    else if (result->reload == RELOAD_NOT_RUNNING)
        log_warning("server is not running, nothing to reload", "certificate",
                    d->settings.certificate->name, "server", leg->server->server.name);
    if (--d->open == 0)
        judge_reload(d);
}

void deploy_ask_reload(struct deploy *d)
{
    bool back = d->record->stage == DEPLOY_BACK_RELOAD;
    auto_strv struct strv texts = {0};
    struct hook_event event = deploy_event(d, &texts);

    d->open = 1;
    for (size_t i = 0; i < d->n_legs; i++) {
        struct leg *leg = &d->legs[i];
        if (back && !leg_row(leg)->reloaded) {
            rollout_leave(leg->pass); /* it never saw the new files: others need not wait for us */
            leg->pass = NULL;
            continue;
        }
        if (d->open++ == 1)
            deploy_say(d, back ? "reloading the servers with the old certificate"
                               : "reloading the servers");
        leg->call = rollout_start(leg->rollout, back ? ROLLOUT_BACK : ROLLOUT_FORWARD, leg->pass,
                                  &event, on_reloaded, leg);
        leg_unexpect(leg);
    }
    if (--d->open == 0)
        judge_reload(d);
}

/* SWITCH and BACK_SWITCH ----------------------------------------------------------------------- */

static void on_switched(bool is_live, const struct err *e, void *userdata)
{
    struct deploy *d = userdata;

    d->switchover = NULL;
    if (is_live)
        d->events.switched(deploy_generation(d), d->events.userdata);
    if (d->record->stage == DEPLOY_BACK_SWITCH) {
        if (e) /* what could be written is back; the rest is told, and done by the next try */
            err_wrap(&d->record->error, "rolling back: %s; before that", e->text);
        deploy_step(d, DEPLOY_BACK_RELOAD);
    } else if (e && !is_live) { /* nothing was touched */
        deploy_finish(d, OUTCOME_FAILED, err_copy(e));
    } else if (e) {
        deploy_turn_round(d, err_copy(e));
    } else {
        deploy_step(d, DEPLOY_RELOAD);
    }
}

void deploy_ask_switch(struct deploy *d)
{
    bool back = d->record->stage == DEPLOY_BACK_SWITCH;

    deploy_say(d, back ? "writing the old certificate back" : "writing the outputs");
    d->switchover = switchover_start(d->settings.services, d->settings.certificate, d->record,
                                     deploy_generation(d), back, on_switched, d);
}

/* BASELINE ------------------------------------------------------------------------------------- */

static struct leg *failed_leg(const struct deploy *d)
{
    for (size_t i = 0; i < d->n_legs; i++) {
        if (d->legs[i].check_error)
            return &d->legs[i];
    }
    return NULL;
}

static void refuse(struct deploy *d, struct leg *failed)
{
    const char *name = failed->server->server.name;
    struct err *e = take(failed->check_error);

    if (rollout_pass_has_company(failed->pass) && !d->record->alone) {
        failed->shared =
            true; /* perhaps it is the files of another certificate that fail the check */
        failed->reload_error = err_copy(e);
    }
    err_wrap(&e, "server %s: its own check already fails before anything is written", name);
    err_step(&e, "baseline");
    err_hint(&e, "mend the configuration of %s; nothing was written or reloaded", name);
    set_string(&e->problem, xstrdup("server_config"));
    err_free(leg_row(failed)->error);
    leg_row(failed)->error = err_copy(e);
    deploy_finish(d, OUTCOME_REFUSED, e);
}

static void begin_switch(struct deploy *d)
{
    d->record->target = d->settings.target->number;
    deploy_step(d, DEPLOY_SWITCH);
}

static void on_audited(const struct audit_result *result, void *userdata)
{
    struct deploy *d = userdata;
    struct leg *failed = failed_leg(d);

    d->audit = NULL;
    if (failed && result->absent == 0)
        refuse(d, failed);
    else
        begin_switch(d);
}

/* A server's check may fail because the files it is configured to read have never been written:
 * only then may a failing check not stop us. */
static void judge_baseline(struct deploy *d)
{
    const struct config_certificate *c = d->settings.certificate;
    struct leg *failed = failed_leg(d);

    if (!failed || (c->n_outputs == 0 && d->settings.first))
        begin_switch(d);
    else if (c->n_outputs == 0)
        refuse(d, failed);
    else
        d->audit = audit_start(d->settings.services, d->settings.config, c,
                               d->settings.target->number, on_audited, d);
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

void deploy_ask_baseline(struct deploy *d)
{
    const struct generation *served =
        d->settings.previous ? d->settings.previous : d->settings.target;
    auto_strv struct strv texts = {0};
    struct hook_event event = deploy_event(d, &texts);

    if (d->n_legs > 0)
        deploy_say(d, "checking the servers before anything is switched");
    d->open = 2 * d->n_legs;
    for (size_t i = 0; i < d->n_legs; i++) {
        struct leg *leg = &d->legs[i];
        struct server_row *row = leg_row(leg);
        row->state = SERVER_PENDING;
        row->reloaded = row->not_running = false;
        err_free(row->error);
        row->error = NULL;
        leg->call =
            rollout_start(leg->rollout, ROLLOUT_CHECK, leg->pass, &event, on_baseline_checked, leg);
        struct proof_settings settings = {
            .services = d->settings.services,
            .certificate = d->settings.certificate,
            .server = leg->server,
            .row = row,
            .live_sha256 = generation_sha256(served),
            .generation = served->number,
        };
        leg->proof = survey_start(&settings, on_surveyed, leg);
    }
    if (d->open == 0)
        judge_baseline(d);
}
