/* What a certificate does: runs of an issuance and a deployment, and looking after what they left.
 * What is done when is for managed.c to say. */
#include <stdio.h>
#include <string.h>

#include "agent/managed_private.h"
#include "agent/metrics.h"
#include "agent/verdict.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

#define GENERATIONS_KEPT 3

static const struct services *services_of(const struct managed *m)
{
    return m->host->services;
}

void managed_say(struct managed *m, const char *text)
{
    if (!text && !m->activity)
        return;
    set_string(&m->activity, xstrdup(text));
    if (text)
        trace_step(m->trace, text);
    m->host->activity(m, text, m->host->userdata);
}

static void on_activity(const char *text, void *userdata)
{
    managed_say(userdata, text);
}

static void history(struct managed *m, const char *event, const char *text)
{
    state_history_add(services_of(m)->state, m->name, event, m->attempt[0] ? m->attempt : NULL,
                      text);
}

/* Runs ----------------------------------------------------------------------------------------- */

static void begin_trace(struct managed *m)
{
    static const char *const names[] = {
        [RUN_NONE] = "none",     [RUN_RENEW] = "renew",   [RUN_REPAIR] = "repair",
        [RUN_STAPLE] = "staple", [RUN_DEPLOY] = "deploy", [RUN_ROLLBACK] = "rollback",
        [RUN_REVOKE] = "revoke",
    };
    struct trace_subject subject = {
        .run = names[m->run],
        .attempt = m->attempt,
        .certificate = m->name,
        .issuer = m->certificate->issuer->name,
        .reason = renew_reason_name(m->reason),
    };

    trace_end(m->trace, "interrupted", NULL);
    m->trace = trace_begin(services_of(m)->traces, &subject);
}

void managed_begin_run(struct managed *m, enum managed_run run)
{
    if (m->run != RUN_NONE)
        return;
    m->run = run;
    m->answers = 0;
    snprintf(m->attempt, sizeof m->attempt, "%08x%08x", random_u32(), random_u32());
    m->started_ms = clock_boot_ms();
    begin_trace(m);
    json_decref(m->old);
    m->old = m->live.number > 0 ? managed_cert_json(&m->live) : NULL;
}

/* What is wrong with a deployment of the past is for `status` to say, what failed now is not
 * nothing. */
static int exit_status_for(const struct managed *m, const char *result)
{
    int status = m->unreadable ? 4 : managed_exit_status(m);
    bool deployed = (m->run == RUN_DEPLOY || m->run == RUN_ROLLBACK) && !m->record.error;

    if (strcmp(result, "not-due") == 0 || (deployed && managed_is_good(m, result)))
        return status == 1 ? 0 : status;
    return status == 0 && !managed_is_good(m, result) ? 1 : status;
}

void managed_tell(struct managed *m, unsigned actions, const char *result)
{
    if (!m->tickets.first)
        return;
    auto_json json_t *j = managed_result(m, result);
    tickets_tell(&m->tickets, actions, j, exit_status_for(m, result));
}

static void end_trace(struct managed *m, const char *result)
{
    bool good = !result || (strcmp(result, "failed") != 0 && strcmp(result, "rolled-back") != 0);
    const struct err *e = m->record.error ? m->record.error : m->schedule.error;

    trace_end(take(m->trace), result ? result : "done", good ? NULL : e);
}

void managed_end_run(struct managed *m, const char *result)
{
    bool good = result && managed_is_good(m, result);

    if (result && (m->run == RUN_RENEW || m->run == RUN_REVOKE)) {
        metrics_count(services_of(m)->metrics, METRIC_RENEWALS, 1, result, NULL);
        if (strcmp(result, "renewed") == 0)
            metrics_observe(services_of(m)->metrics, METRIC_RENEWAL_DURATION, NULL,
                            clock_boot_ms() - m->started_ms);
    }
    if (good && managed_revokes_next(m)) { /* who waits is told after that */
        m->run = RUN_REVOKE;
        return;
    }
    end_trace(m, result);
    if (result)
        managed_tell(m, m->answers | (good ? 0 : TICKETS_OF(TICKET_REVOKE)), result);
    m->run = RUN_NONE;
    m->reason = RENEW_NOT_DUE;
    managed_say(m, NULL);
}

void managed_release_slot(struct managed *m)
{
    if (m->has_slot || m->queued)
        m->host->release_slot(m, m->host->userdata);
    m->has_slot = m->queued = false;
}

void managed_unexpect(struct managed *m)
{
    for (size_t i = 0; m->expected && i < m->certificate->n_servers; i++)
        rollout_unexpect(m->rollouts[i]);
    m->expected = false;
}

/* Endpoints that were not proven when the deployment ended ---------------------------------------
 */

static void on_proven_later(void *userdata)
{
    struct managed *m = userdata;
    auto_free char *verdict = verdict_text(&m->record);

    m->recheck = NULL;
    log_info("certificate proven", "certificate", m->name, "attempt", m->record.attempt, "result",
             verdict);
    history(m, "proven", verdict);
    managed_save_record(m);
}

void managed_watch(struct managed *m)
{
    if (!m->started || m->recheck || m->live.number == 0 ||
        !recheck_is_wanted(&m->record, m->certificate))
        return;
    struct recheck_settings settings = {
        .services = services_of(m),
        .certificate = m->certificate,
        .record = &m->record,
        .live_sha256 = m->live.sha256,
        .generation = m->live.number,
    };
    m->recheck = recheck_start(&settings, on_proven_later, m);
}

void managed_stop_watching(struct managed *m)
{
    recheck_free(m->recheck);
    m->recheck = NULL;
}

/* Deployment ----------------------------------------------------------------------------------- */

static void prune(struct managed *m)
{
    size_t n = 0;
    auto_free int64_t *in_use = xcalloc(m->record.n_outputs + 3, sizeof *in_use);

    in_use[n++] = m->record.target;
    in_use[n++] = m->record.previous;
    in_use[n++] = m->schedule.revocation.generation;
    for (size_t i = 0; i < m->record.n_outputs; i++)
        in_use[n++] = m->record.outputs[i].generation;
    (void)generation_prune(services_of(m)->state, m->name, GENERATIONS_KEPT, in_use, n, NULL, NULL);
}

/* A generation that came of a renewal serves those who asked for a deployment as well. */
static unsigned answers_of(enum managed_run run)
{
    if (run == RUN_ROLLBACK)
        return TICKETS_OF(TICKET_ROLLBACK);
    return TICKETS_OF(TICKET_DEPLOY) | (run == RUN_DEPLOY ? 0 : TICKETS_OF(TICKET_RENEW));
}

static const char *deployment_ended(const struct managed *m)
{
    const struct deploy_record *r = &m->record;

    if (m->run == RUN_ROLLBACK)
        return "rollback-failed";
    return r->outcome == OUTCOME_ROLLED_BACK ? "rolled-back" : "deploy-failed";
}

static void report_good(struct managed *m)
{
    const struct deploy_record *r = &m->record;
    bool proven = r->outcome == OUTCOME_PROVEN;
    auto_free char *verdict = verdict_text(r);

    log_info(proven ? "certificate proven" : "certificate deployed", "certificate", m->name,
             "attempt", m->attempt, "serial", m->live.serial, "sha256", m->live.sha256, "result",
             verdict);
    if (r->error)
        log_failure(LOG_LEVEL_WARNING, r->error, "unproven", "certificate", m->name, "attempt",
                    m->attempt);
    history(m, proven ? "proven" : "deployed", verdict);
    if (m->run == RUN_ROLLBACK && managed_is_held(m))
        history(m, "held", "until the next renewal or everleaf deploy");
}

/* Tells the story of a deployment that ended. Returns the result, NULL when it is not the end. */
static const char *report_deploy(struct managed *m)
{
    const struct deploy_record *r = &m->record;
    bool back = m->run == RUN_ROLLBACK;

    if (r->outcome == OUTCOME_PROVEN || r->outcome == OUTCOME_DEPLOYED) {
        report_good(m);
        return back ? "rolled-back" : "renewed";
    }
    log_failure(LOG_LEVEL_ERROR, r->error, "deployment failed", "certificate", m->name, "attempt",
                m->attempt, "step", "deploy");
    history(m, deployment_ended(m), r->error ? r->error->text : NULL);
    if (r->alone && r->failures == 0)
        return NULL; /* tried again by itself at once */
    return r->outcome == OUTCOME_ROLLED_BACK && !back ? "rolled-back" : "failed";
}

static void on_deployed(void *userdata)
{
    struct managed *m = userdata;
    bool good = m->record.outcome == OUTCOME_PROVEN || m->record.outcome == OUTCOME_DEPLOYED;
    const char *result = report_deploy(m);

    m->deploy = NULL;
    if (good) {
        m->audited = true;
        m->outputs_wrong = false;
        prune(m);
    }
    if (result && !good && managed_is_held(m) && m->live.number != m->record.candidate)
        managed_give_up_hold(m);
    /* A repair that succeeded is no result: what it is about is told by what follows. */
    bool silent = good && (m->run == RUN_REPAIR || m->run == RUN_STAPLE);
    if (result)
        managed_end_run(m, silent ? NULL : result);
    managed_consider(m);
}

static void on_switched(struct generation *g, void *userdata)
{
    struct managed *m = userdata;

    managed_take_facts(&m->live, g);
    managed_follow_staple(m);
}

/* Loads what a deployment needs. False: over, it is tried again when the state was read again. */
static bool load_for_deploy(struct managed *m, struct generation **ret_target,
                            struct generation **ret_previous)
{
    struct state *state = services_of(m)->state;
    int64_t target = managed_target(m);
    bool on_the_way = m->record.stage != DEPLOY_IDLE && m->record.candidate == target;
    int64_t previous = on_the_way ? m->record.previous : m->live.number;
    auto_err struct err *e = NULL;

    if (m->issued && m->issued->number == target)
        *ret_target = take(m->issued);
    else
        *ret_target = generation_load(state, m->name, target, &e);
    if (!*ret_target) {
        log_failure(LOG_LEVEL_ERROR, e, "generation unusable", "certificate", m->name);
        err_free(m->schedule.error);
        m->schedule.error = take(e);
        m->unreadable = true;
        managed_end_run(m, "failed");
        managed_tell(m, TICKETS_ALL, "failed");
        managed_read_again(m);
        return false;
    }
    if (previous > 0 && previous != target)
        *ret_previous = generation_load(state, m->name, previous, &e);
    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "previous generation unusable", "certificate", m->name);
    return true;
}

static bool is_revoked(const struct managed *m, const struct generation *g)
{
    return managed_is_revoked_serial(m, g->chain->items[0]->serial_hex) ||
           (g->number == m->live.number && managed_is_revoked(m));
}

static const char *hook_reason(const struct managed *m)
{
    if (m->run == RUN_ROLLBACK)
        return "rolled-back";
    return m->run == RUN_REPAIR || m->run == RUN_DEPLOY ? "deploy" : "renewed";
}

void managed_deploy(struct managed *m, enum managed_run run)
{
    struct generation *target = NULL, *previous = NULL;

    managed_stop_watching(m);
    if (!managed_is_held(m))
        m->record.held_over = 0;
    else if (run == RUN_RENEW) /* of a rollback that was interrupted, or is tried again */
        run = RUN_ROLLBACK;
    managed_begin_run(m, run);
    m->answers = answers_of(m->run);
    if (!load_for_deploy(m, &target, &previous))
        return;
    if (managed_wants_staple(m, target)) {
        generation_unref(target);
        generation_unref(previous);
        return;
    }
    if (m->record.stage != DEPLOY_IDLE && m->record.attempt)
        snprintf(m->attempt, sizeof m->attempt, "%s", m->record.attempt);
    trace_set_attempt(m->trace, m->attempt);
    struct deploy_settings settings = {
        .services = services_of(m),
        .config = m->config,
        .certificate = m->certificate,
        .rollouts = m->rollouts,
        .record = &m->record,
        .target = target,
        .previous = previous,
        .no_way_back = previous && is_revoked(m, previous),
        .first = m->live.number == 0,
        .reason = hook_reason(m),
        .attempt = m->attempt,
        .expected = m->expected,
    };
    struct deploy_events events = {
        .activity = on_activity,
        .switched = on_switched,
        .done = on_deployed,
        .userdata = m,
    };
    m->expected = false; /* the deployment undoes it */
    m->deploy = deploy_start(&settings, &events);
    generation_unref(target);
    generation_unref(previous);
}

/* Issuance ------------------------------------------------------------------------------------- */

static void issuance_failed(struct managed *m, const struct err *e)
{
    struct schedule *s = &m->schedule;
    bool has_any = m->newest.number > 0;
    char next[CLOCK_TEXT_MAX];

    m->ordering = issuance_is_pending(services_of(m), m->name, m->newest.number);
    managed_back_off(m, e);
    err_free(s->error);
    s->error = err_copy(e);
    managed_advise(m, &s->error);
    set_string(&s->attempt, xstrdup(m->attempt));
    managed_save_schedule(m);
    log_failure(has_any ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, e, "renewal failed", "certificate",
                m->name, "issuer", m->certificate->issuer->name, "attempt", m->attempt, "next_try",
                clock_rfc3339(s->next_try, next));
    history(m, "failed", e->text);
    metrics_count(services_of(m)->metrics, METRIC_RENEWAL_FAILURES, 1, err_kind_name(e->kind),
                  NULL);
    managed_release_slot(m);
    managed_unexpect(m);
    managed_end_run(m, "failed");
    managed_consider(m);
}

static void on_issued(struct generation *g, const struct err *e, void *userdata)
{
    struct managed *m = userdata;
    struct schedule *s = &m->schedule;

    m->issuance = NULL;
    if (e) {
        issuance_failed(m, e);
        return;
    }
    struct renewal_facts facts;
    managed_facts(m, &facts);
    s->ari_renewals = renewal_counts_ari(&facts, m->reason, clock_now());
    managed_release_slot(m);
    managed_take_facts(&m->newest, g);
    generation_unref(m->issued);
    m->issued = g;
    m->damaged = m->ordering = false;
    err_free(s->error);
    s->error = NULL;
    s->failures = 0;
    s->next_try = 0;
    s->last_success = clock_now();
    set_string(&s->attempt, xstrdup(m->attempt));
    managed_save_schedule(m);
    log_info("certificate issued", "certificate", m->name, "issuer", m->certificate->issuer->name,
             "attempt", m->attempt, "serial", m->newest.serial);
    history(m, "issued", m->newest.serial);
    managed_consider(m);
}

/* The issuer and the solver at run time; NULL and err. */
static struct issuer *prepare_issuer(struct managed *m, struct err **err)
{
    const struct config_certificate *c = m->certificate;
    const struct services *services = services_of(m);

    if (!c->solver->state && !solver_open(c->solver, services->loop, services->worker, err))
        return NULL;
    return m->host->issuer(m->config, c->issuer, err, m->host->userdata);
}

/* Of this CA, with exactly these names: CAs count it apart from new ones. */
static bool renews_same_names(const struct managed *m)
{
    const struct generation_facts *newest = &m->newest;
    const struct strv *names = &m->certificate->names;

    if (newest->number == 0 || !newest->directory || newest->names.n != names->n ||
        strcmp(newest->directory, m->certificate->issuer->directory) != 0)
        return false;
    for (size_t i = 0; i < names->n; i++) {
        if (!strv_has(&newest->names, names->items[i]))
            return false;
    }
    return true;
}

void managed_issue(struct managed *m)
{
    const struct config_certificate *c = m->certificate;
    const char *reason = renew_reason_name(m->reason);
    auto_err struct err *e = NULL;

    managed_stop_watching(m);
    managed_begin_run(m, RUN_RENEW);
    m->answers = TICKETS_OF(TICKET_RENEW);
    struct issuer *issuer = prepare_issuer(m, &e);
    if (!issuer) {
        err_step(&e, "prepare");
        issuance_failed(m, e);
        return;
    }
    log_info("renewing", "certificate", m->name, "issuer", c->issuer->name, "attempt", m->attempt,
             "reason", reason ? reason : "missing");
    for (size_t i = 0; i < c->n_servers; i++)
        rollout_expect(m->rollouts[i]);
    m->expected = true;
    struct issuance_settings settings = {
        .services = services_of(m),
        .certificate = c,
        .issuer = issuer,
        .find_issuer = m->host->find_issuer,
        .newest = m->newest.number,
        .replaces = managed_replaces(m, issuer),
        .same_names = renews_same_names(m),
        .due_at = m->reason == RENEW_LIFETIME || m->reason == RENEW_ARI ? managed_renew_at(m) : 0,
        .force = tickets_force(&m->tickets),
        .new_key = managed_wants_replacement(m),
        .attempt = m->attempt,
        .userdata = m->host->userdata,
    };
    struct issuance_events events = {.activity = on_activity, .done = on_issued, .userdata = m};
    m->issuance = issuance_start(&settings, &events);
}
