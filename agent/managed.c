/* Strategy: managed_consider() is the only place that decides what happens next, from facts that are on
 * disk or derived from it; every end of something (issuance, deployment, slot) comes back to it.
 *
 *   a deployment was interrupted, or a newer generation was accepted than ever deployed -> deploy
 *   a deployment failed and its next try has come                                        -> deploy again
 *   an output does not hold what is live                                                 -> deploy the live one
 *   a renewal is due and its back-off is over                                            -> slot, issuance
 *   else sleep until the earliest of these instants */
#include "agent/managed.h"

#include <string.h>

#include "agent/deploy.h"
#include "agent/issuance.h"
#include "agent/metrics.h"
#include "agent/proof.h"
#include "agent/ticket.h"
#include "agent/verdict.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

#define GENERATIONS_KEPT    3
#define RECHECK_FIRST_MS    1000
#define RECHECK_MAX_MS      60000
#define CLOCK_TOLERANCE_S   (INT64_C(7) * 86400) /* a next try further away is a jump of the clock */

struct managed {
    const struct managed_host *host;
    struct config *config; /* reference */
    const struct config_certificate *certificate;
    struct config *next_config; /* of a reload while busy, or NULL */
    const struct config_certificate *next_certificate;
    char *name;
    struct schedule schedule;
    struct deploy_record record;
    struct generation *live;   /* or NULL */
    struct generation *newest; /* newest accepted one; may be the live one */
    bool damaged;              /* there is a live link, but it cannot be used */
    bool outputs_wrong;        /* some output does not hold the live generation */
    bool repaired;             /* ... and that was tried since the start */
    bool started;
    /* Under way */
    bool queued;
    bool has_slot;
    bool expected;
    struct issuance *issuance;
    struct deploy *deploy;
    struct save *save;
    struct rollout **rollouts;
    struct proof **rechecks;
    size_t n_rechecks, open_rechecks;
    int64_t recheck_ms;
    struct timer *recheck;
    struct timer *wake;
    bool forced; /* the issuance under way was forced */
    char *activity;
    char attempt[17];
    int64_t started_ms;
    enum renew_reason reason;
    json_t *old; /* the certificate before this renewal, for results */
    struct ticket_list tickets;
};

static void managed_consider(struct managed *m);

const char *managed_name(const struct managed *m)
{
    return m->name;
}

bool managed_is_busy(const struct managed *m)
{
    return m->queued || m->issuance || m->deploy;
}

static const struct services *services_of(const struct managed *m)
{
    return m->host->services;
}

static void set_activity(struct managed *m, const char *text)
{
    set_string(&m->activity, xstrdup(text));
    if (text)
        m->host->activity(m, text, m->host->userdata);
}

static void on_activity(const char *text, void *userdata)
{
    set_activity(userdata, text);
}

static void new_attempt(struct managed *m)
{
    uint32_t id[2] = {random_u32(), random_u32()};
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < 16; i++)
        m->attempt[i] = digits[(id[i / 8] >> (4 * (i % 8))) & 15];
    m->attempt[16] = '\0';
}

static void history(struct managed *m, const char *event, const char *text)
{
    state_history_add(services_of(m)->state, m->name, event, m->attempt[0] ? m->attempt : NULL, text);
}

/* Saves without waiting: what is lost by a kill right now is found out again. */
static void on_schedule_saved(const struct err *e, void *userdata)
{
    struct managed *m = userdata;

    m->save = NULL;
    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "schedule.json not saved", "certificate", m->name);
}

static void save_schedule(struct managed *m)
{
    auto_json json_t *j = schedule_to_json(&m->schedule);

    save_free(m->save);
    m->save = state_save(services_of(m)->state, m->name, "schedule", j, on_schedule_saved, m);
}

/* Facts ---------------------------------------------------------------------------------------------- */

static const struct cert *leaf_of(const struct generation *g)
{
    return g ? g->chain->items[0] : NULL;
}

/* What counts for "is it due": the newest accepted generation, deployed or not. Issuing again because a
 * deployment failed would help nobody. */
static struct renewal_facts facts_of(const struct managed *m)
{
    return (struct renewal_facts){
        .leaf = leaf_of(m->newest),
        .damaged = m->damaged,
        .directory = m->newest ? json_str(m->newest->info, "directory") : NULL,
        .jitter = m->schedule.jitter,
    };
}

static enum renew_reason due_reason(const struct managed *m, time_t now)
{
    struct renewal_facts facts = facts_of(m);
    return renewal_reason(m->certificate, &facts, now);
}

static bool is_over(time_t instant, time_t now)
{
    return instant <= now || (int64_t)instant - (int64_t)now > CLOCK_TOLERANCE_S;
}

enum pending { PENDING_NOTHING, PENDING_RESUME, PENDING_RETRY, PENDING_REPAIR };

/* Is there something to deploy, and since when may it be? */
static enum pending pending_deploy(const struct managed *m)
{
    const struct deploy_record *r = &m->record;

    if (!m->newest)
        return PENDING_NOTHING;
    if (r->stage != DEPLOY_IDLE || m->newest->number > r->candidate)
        return PENDING_RESUME;
    if (leaf_of(m->newest)->not_after <= clock_now())
        return PENDING_NOTHING;
    if (r->next_try != 0)
        return PENDING_RETRY;
    if (!m->live && m->newest)
        return PENDING_RESUME;
    if (m->outputs_wrong && !m->repaired)
        return PENDING_REPAIR;
    return PENDING_NOTHING;
}

/* Loading -------------------------------------------------------------------------------------------- */

static void load_generations(struct managed *m)
{
    struct generation_list list = {0};
    auto_err struct err *e = NULL;

    if (!generation_list(services_of(m)->state, m->name, &list, &e)) {
        log_failure(LOG_LEVEL_ERROR, e, "generations unreadable", "certificate", m->name);
        m->damaged = true;
        return;
    }
    if (list.live > 0) {
        m->live = generation_load(services_of(m)->state, m->name, list.live, &e);
        if (!m->live) {
            log_failure(LOG_LEVEL_ERROR, e, "live generation unusable", "certificate", m->name);
            m->damaged = true;
        }
    }
    for (size_t i = list.n; i > 0 && !m->newest; i--) {
        auto_err struct err *unusable = NULL;
        if (m->live && list.numbers[i - 1] == m->live->number)
            m->newest = generation_ref(m->live);
        else
            m->newest = generation_load(services_of(m)->state, m->name, list.numbers[i - 1], &unusable);
    }
    if (m->newest)
        m->damaged = false; /* what is left can be made live again without a new order */
    generation_list_done(&list);
}

static bool outputs_hold(const struct managed *m, const struct generation *g)
{
    for (size_t i = 0; i < m->certificate->n_outputs; i++) {
        const struct output *o = &m->certificate->outputs[i];
        auto_err struct err *e = NULL;
        auto_free char *sha256 = o->type->current(o->settings, &e);
        if (!sha256 || strcmp(sha256, generation_sha256(g)) != 0)
            return false;
    }
    return true;
}

static void load_documents(struct managed *m)
{
    auto_err struct err *e = NULL;
    auto_json json_t *schedule = state_load(services_of(m)->state, m->name, "schedule", &e);
    auto_json json_t *deploy = e ? NULL : state_load(services_of(m)->state, m->name, "deploy", &e);

    if (e)
        log_failure(LOG_LEVEL_ERROR, e, "state unreadable", "certificate", m->name);
    schedule_read(&m->schedule, schedule);
    deploy_record_read(&m->record, deploy);
}

static void take_config(struct managed *m, struct config *config,
                        const struct config_certificate *certificate)
{
    config_unref(m->config);
    m->config = config;
    m->certificate = certificate;
    m->rollouts = xreallocarray(m->rollouts, certificate->n_servers + 1, sizeof(struct rollout *));
    for (size_t i = 0; i < certificate->n_servers; i++)
        m->rollouts[i] = m->host->rollout(certificate->servers[i], m->host->userdata);
}

struct managed *managed_new(const struct managed_host *host, struct config *config,
                            const struct config_certificate *certificate)
{
    struct managed *m = xcalloc(1, sizeof *m);

    m->host = host;
    m->name = xstrdup(certificate->name);
    m->recheck_ms = RECHECK_FIRST_MS;
    take_config(m, config_ref(config), certificate);
    load_documents(m);
    load_generations(m);
    if (m->live && m->record.stage == DEPLOY_IDLE)
        m->outputs_wrong = !outputs_hold(m, m->live);
    return m;
}

static void stop_rechecks(struct managed *m)
{
    for (size_t i = 0; i < m->n_rechecks; i++)
        proof_free(m->rechecks[i]);
    free(m->rechecks);
    m->rechecks = NULL;
    m->n_rechecks = m->open_rechecks = 0;
    timer_free(m->recheck);
    m->recheck = NULL;
}

void managed_free(struct managed *m)
{
    if (!m)
        return;
    tickets_done(&m->tickets);
    stop_rechecks(m);
    issuance_free(m->issuance);
    deploy_free(m->deploy);
    save_free(m->save);
    timer_free(m->wake);
    if (m->has_slot || m->queued)
        m->host->release_slot(m, m->host->userdata);
    if (m->live)
        generation_unref(m->live);
    if (m->newest)
        generation_unref(m->newest);
    schedule_done(&m->schedule);
    deploy_record_done(&m->record);
    json_decref(m->old);
    config_unref(m->config);
    config_unref(m->next_config);
    free(m->rollouts);
    free(m->activity);
    free(m->name);
    free(m);
}

void managed_set_config(struct managed *m, struct config *config,
                        const struct config_certificate *certificate)
{
    config_unref(m->next_config);
    m->next_config = config_ref(config);
    m->next_certificate = certificate;
    /* An order for other names, key, issuer or challenge is of no use any more; the next attempt finds
     * it on disk, sees that it does not fit, and has its authorizations deactivated. */
    const struct config_certificate *c = m->certificate;
    bool changed = !strv_equal(&c->names, &certificate->names) ||
                   c->key_type != certificate->key_type ||
                   strcmp(c->issuer->directory, certificate->issuer->directory) != 0 ||
                   strcmp(c->solver->name, certificate->solver->name) != 0;
    if (m->issuance && changed) {
        issuance_free(take(m->issuance));
        m->host->release_slot(m, m->host->userdata);
        m->has_slot = false;
        log_info("order given up: the configuration changed", "certificate", m->name);
    }
    managed_consider(m);
}

/* Tickets -------------------------------------------------------------------------------------------- */

static int exit_status_of(const struct managed *m)
{
    const struct cert *leaf = leaf_of(m->live);
    const struct deploy_record *r = &m->record;

    if (!leaf || leaf->not_after <= clock_now() || verdict_serves_other(r, m->certificate))
        return 3;
    if (m->schedule.failures > 0 || r->failures > 0 || (r->stage == DEPLOY_IDLE && r->error))
        return 1;
    return 0;
}

static time_t next_try_of(const struct managed *m)
{
    if (m->record.next_try > 0 && m->newest)
        return m->record.next_try;
    return m->schedule.next_try;
}

static const struct err *error_of(const struct managed *m)
{
    return m->record.error ? m->record.error : m->schedule.error;
}

static void tell_tickets(struct managed *m, const char *result)
{
    json_t *j = json_object();
    bool renewed = strcmp(result, "renewed") == 0;
    int64_t reload_ms = -1;

    if (!m->tickets.first) {
        json_decref(j);
        return;
    }
    for (size_t i = 0; i < m->record.n_servers; i++) {
        if (m->record.servers[i].reload_ms > reload_ms && m->record.servers[i].reloaded)
            reload_ms = m->record.servers[i].reload_ms;
    }
    json_put_str(j, "name", m->name);
    json_put_str(j, "result", result);
    json_put_str(j, "attempt", m->attempt[0] ? m->attempt : NULL);
    json_put(j, "old", m->old ? json_incref(m->old) : json_null());
    json_put(j, "new", renewed ? cert_to_json(leaf_of(m->live)) : json_null());
    json_put(j, "generation", m->live ? json_integer(m->live->number) : json_null());
    json_put_bool(j, "proven", m->record.outcome == OUTCOME_PROVEN);
    json_put(j, "reload_ms", reload_ms >= 0 ? json_integer(reload_ms) : json_null());
    json_put_int(j, "total_ms", m->started_ms > 0 ? clock_boot_ms() - m->started_ms : 0);
    time_t next = strcmp(result, "not-due") == 0 && m->newest
                      ? renewal_instant(m->certificate, leaf_of(m->newest), m->schedule.jitter)
                      : next_try_of(m);
    json_put_time(j, "next_try", next);
    json_put(j, "error", err_to_json(error_of(m)));
    tickets_tell(&m->tickets, j, exit_status_of(m));
    json_decref(j);
}

/* Ends of things ------------------------------------------------------------------------------------- */

static void on_pruned(const struct err *e, void *userdata)
{
    (void)userdata;
    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "old generations not removed");
}

static void prune(struct managed *m)
{
    int64_t in_use[16];
    size_t n = 0;

    in_use[n++] = m->record.target;
    in_use[n++] = m->record.previous;
    for (size_t i = 0; i < m->record.n_outputs && n < ARRAY_LEN(in_use); i++)
        in_use[n++] = m->record.outputs[i].generation;
    generation_prune(services_of(m)->state, m->name, GENERATIONS_KEPT, in_use, n, on_pruned, NULL);
}

static void schedule_recheck(struct managed *m);

/* Stories and counters of a deployment that ended. */
static const char *report_deploy(struct managed *m)
{
    const struct deploy_record *r = &m->record;
    const struct cert *leaf = leaf_of(m->live);
    auto_free char *verdict = verdict_text(r);
    const char *sha = leaf ? leaf->sha256_hex : NULL;

    if (r->outcome == OUTCOME_PROVEN || r->outcome == OUTCOME_DEPLOYED) {
        log_info(r->outcome == OUTCOME_PROVEN ? "certificate proven" : "certificate deployed",
                 "certificate", m->name, "attempt", m->attempt, "serial", leaf ? leaf->serial_hex : NULL,
                 "sha256", sha, "result", verdict);
        if (r->error)
            log_failure(LOG_LEVEL_WARNING, r->error, "unproven", "certificate", m->name, "attempt",
                        m->attempt);
        history(m, r->outcome == OUTCOME_PROVEN ? "proven" : "deployed", verdict);
        return "renewed";
    }
    if (r->alone && r->failures == 0 && r->next_try <= clock_now())
        return NULL; /* not the end: it is tried by itself at once */
    log_failure(LOG_LEVEL_ERROR, r->error, "deployment failed", "certificate", m->name, "attempt",
                m->attempt, "step", "deploy");
    history(m, r->outcome == OUTCOME_ROLLED_BACK ? "rolled-back" : "deploy-failed",
            r->error ? r->error->text : NULL);
    return r->outcome == OUTCOME_ROLLED_BACK ? "rolled-back" : "failed";
}

static void on_deployed(void *userdata)
{
    struct managed *m = userdata;

    m->deploy = NULL;
    set_activity(m, NULL);
    m->outputs_wrong = m->live && !outputs_hold(m, m->live);
    m->recheck_ms = RECHECK_FIRST_MS;
    const char *result = report_deploy(m);
    if (result) {
        metrics_count(services_of(m)->metrics, METRIC_RENEWALS, 1, result, NULL);
        if (strcmp(result, "renewed") == 0)
            metrics_observe(services_of(m)->metrics, METRIC_RENEWAL_DURATION, NULL,
                            clock_boot_ms() - m->started_ms);
        prune(m);
        tell_tickets(m, result);
    }
    managed_consider(m);
}

static void on_switched(struct generation *g, void *userdata)
{
    struct managed *m = userdata;

    if (m->live)
        generation_unref(m->live);
    m->live = generation_ref(g);
    m->damaged = false;
}

static void release_slot(struct managed *m)
{
    if (m->has_slot)
        m->host->release_slot(m, m->host->userdata);
    m->has_slot = false;
}

static void unexpect(struct managed *m)
{
    for (size_t i = 0; m->expected && i < m->certificate->n_servers; i++)
        rollout_unexpect(m->rollouts[i]);
    m->expected = false;
}

static void deploy_now(struct managed *m, const char *reason)
{
    struct deploy_record *r = &m->record;
    struct generation *previous = NULL;
    auto_err struct err *e = NULL;

    stop_rechecks(m);
    if (r->stage != DEPLOY_IDLE) {
        /* Going on after a stop: the record says from where to where. */
        if (r->previous > 0 && r->previous != m->newest->number)
            previous = generation_load(services_of(m)->state, m->name, r->previous, &e);
        if (e)
            log_failure(LOG_LEVEL_WARNING, e, "previous generation unusable", "certificate", m->name);
    } else if (m->live && m->live->number != m->newest->number) {
        previous = generation_ref(m->live);
    }
    if (!m->attempt[0] || m->started_ms == 0) {
        new_attempt(m);
        m->started_ms = clock_boot_ms();
    }
    if (m->outputs_wrong)
        m->repaired = true;
    struct deploy_settings settings = {
        .services = services_of(m),
        .certificate = m->certificate,
        .rollouts = m->rollouts,
        .record = r,
        .target = m->newest,
        .previous = previous,
        .reason = reason,
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
    if (previous)
        generation_unref(previous);
}

static void issuance_failed(struct managed *m, const struct err *e)
{
    const struct cert *leaf = leaf_of(m->newest);
    struct schedule *s = &m->schedule;

    s->failures++;
    s->next_try = renewal_next_try(s->failures, clock_now(), leaf ? leaf->not_after : 0, e->retry_at,
                                   random_u32());
    err_free(s->error);
    s->error = err_copy(e);
    set_string(&s->attempt, xstrdup(m->attempt));
    save_schedule(m);
    char next[CLOCK_TEXT_MAX];
    log_failure(leaf ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, e, "renewal failed", "certificate", m->name,
                "issuer", m->certificate->issuer->name, "attempt", m->attempt, "next_try",
                clock_rfc3339(s->next_try, next));
    history(m, "failed", e->text);
    metrics_count(services_of(m)->metrics, METRIC_RENEWALS, 1, "failed", NULL);
    metrics_count(services_of(m)->metrics, METRIC_RENEWAL_FAILURES, 1, err_kind_name(e->kind), NULL);
}

static void on_issued(struct generation *g, const struct err *e, void *userdata)
{
    struct managed *m = userdata;

    m->issuance = NULL;
    m->forced = false;
    release_slot(m);
    if (e) {
        unexpect(m);
        set_activity(m, NULL);
        issuance_failed(m, e);
        tell_tickets(m, "failed");
        managed_consider(m);
        return;
    }
    if (m->newest)
        generation_unref(m->newest);
    m->newest = g;
    err_free(m->schedule.error);
    m->schedule.error = NULL;
    m->schedule.failures = 0;
    m->schedule.next_try = 0;
    m->schedule.last_success = clock_now();
    set_string(&m->schedule.attempt, xstrdup(m->attempt));
    save_schedule(m);
    log_info("certificate issued", "certificate", m->name, "issuer", m->certificate->issuer->name,
             "attempt", m->attempt, "serial", leaf_of(g)->serial_hex);
    history(m, "issued", leaf_of(g)->serial_hex);
    managed_consider(m);
}

static void issue_now(struct managed *m)
{
    const struct config_certificate *c = m->certificate;
    auto_err struct err *e = NULL;
    struct issuer *issuer = m->host->issuer(c->issuer, &e);
    bool reuse = c->key_reuse && m->newest && key_type(m->newest->key) == c->key_type;

    stop_rechecks(m);
    new_attempt(m);
    m->started_ms = clock_boot_ms();
    if (!issuer) {
        issuance_failed(m, e);
        release_slot(m);
        tell_tickets(m, "failed");
        managed_consider(m);
        return;
    }
    json_decref(m->old);
    m->old = m->live ? cert_to_json(leaf_of(m->live)) : NULL;
    log_info("renewing", "certificate", m->name, "issuer", c->issuer->name, "attempt", m->attempt,
             "reason", renew_reason_name(m->reason) ? renew_reason_name(m->reason) : "missing");
    for (size_t i = 0; i < c->n_servers; i++)
        rollout_expect(m->rollouts[i]);
    m->expected = true;
    struct issuance_settings settings = {
        .services = services_of(m),
        .certificate = c,
        .issuer = issuer,
        .reuse = reuse ? m->newest->key : NULL,
        .newest = m->newest,
        .attempt = m->attempt,
    };
    struct issuance_events events = {.activity = on_activity, .done = on_issued, .userdata = m};
    m->issuance = issuance_start(&settings, &events);
}

/* Endpoints that were not proven when the deployment ended -------------------------------------------- */

static bool has_unsettled(const struct managed *m)
{
    for (size_t s = 0; s < m->certificate->n_servers; s++) {
        const struct config_server *server = m->certificate->servers[s];
        for (size_t i = 0; i < m->record.n_servers; i++) {
            const struct server_row *row = &m->record.servers[i];
            for (size_t e = 0; strcmp(row->name, server->server.name) == 0 && e < row->n_endpoints; e++) {
                if (!proof_row_is_settled(server, row, &row->endpoints[e]))
                    return true;
            }
        }
    }
    return false;
}

static void on_recheck_saved(const struct err *e, void *userdata)
{
    on_schedule_saved(e, userdata);
}

static void on_rechecked(void *userdata)
{
    struct managed *m = userdata;
    auto_err struct err *guilty = NULL;
    struct err *alarm = NULL;

    if (--m->open_rechecks > 0)
        return;
    free(m->rechecks); /* the proofs are gone with their callbacks */
    m->rechecks = NULL;
    m->n_rechecks = 0;
    enum deploy_outcome outcome = verdict_proof(&m->record, m->certificate, &guilty, &alarm);
    err_free(m->record.error);
    m->record.error = alarm ? alarm : err_copy(guilty);
    if (outcome == OUTCOME_PROVEN) {
        auto_free char *verdict = verdict_text(&m->record);
        m->record.outcome = OUTCOME_PROVEN;
        log_info("certificate proven", "certificate", m->name, "attempt", m->record.attempt, "result",
                 verdict);
        history(m, "proven", verdict);
        auto_json json_t *j = deploy_record_to_json(&m->record);
        save_free(m->save);
        m->save = state_save(services_of(m)->state, m->name, "deploy", j, on_recheck_saved, m);
        return;
    }
    schedule_recheck(m);
}

static void recheck_now(void *userdata)
{
    struct managed *m = userdata;
    size_t n = m->certificate->n_servers;

    timer_free(m->recheck);
    m->recheck = NULL;
    if (managed_is_busy(m) || !m->live)
        return;
    m->rechecks = xcalloc(n, sizeof(struct proof *));
    m->n_rechecks = m->open_rechecks = n;
    for (size_t i = 0; i < n; i++)
        (void)deploy_record_server(&m->record, m->certificate->servers[i]->server.name);
    for (size_t i = 0; i < n; i++) {
        struct proof_settings settings = {
            .services = services_of(m),
            .certificate = m->certificate,
            .server = m->certificate->servers[i],
            .row = deploy_record_server(&m->record, m->certificate->servers[i]->server.name),
            .live_sha256 = generation_sha256(m->live),
            .one_look = true,
        };
        m->rechecks[i] = proof_start(&settings, on_rechecked, m);
    }
}

/* A server that was not running, or an endpoint that did not answer, is proven when it comes up. */
static void schedule_recheck(struct managed *m)
{
    if (!m->started || m->recheck || m->open_rechecks > 0 || m->record.stage != DEPLOY_IDLE ||
        m->record.outcome != OUTCOME_DEPLOYED || !m->live || !has_unsettled(m))
        return;
    m->recheck = timer_after(services_of(m)->loop, m->recheck_ms, recheck_now, m);
    m->recheck_ms = m->recheck_ms * 2 < RECHECK_MAX_MS ? m->recheck_ms * 2 : RECHECK_MAX_MS;
}

/* The decision --------------------------------------------------------------------------------------- */

static void on_wake(void *userdata)
{
    managed_consider(userdata);
}

static void earlier(time_t *at, time_t instant)
{
    if (instant > 0 && (*at == 0 || instant < *at))
        *at = instant;
}

static void sleep_until_next(struct managed *m, bool renewal_waits)
{
    time_t at = 0;

    if (m->newest)
        earlier(&at, renewal_instant(m->certificate, leaf_of(m->newest), m->schedule.jitter));
    if (renewal_waits) /* due already: only the back-off counts */
        at = m->schedule.next_try;
    if (pending_deploy(m) == PENDING_RETRY)
        earlier(&at, m->record.next_try);
    timer_free(m->wake);
    m->wake = at > 0 ? timer_at(services_of(m)->loop, at, on_wake, m) : NULL;
}

static void adopt_config(struct managed *m)
{
    if (!m->next_config || m->deploy || m->issuance)
        return;
    unexpect(m);
    stop_rechecks(m);
    take_config(m, take(m->next_config), m->next_certificate);
    m->outputs_wrong = m->live && !outputs_hold(m, m->live);
    m->repaired = false;
}

/* What a renewal must wait for: 0 when it may go ahead now. A Retry-After of the CA counts for everybody,
 * back-off only for those who did not ask by name. */
static time_t renewal_waits_until(const struct managed *m, time_t now)
{
    const struct err *e = m->schedule.error;
    time_t limit = e && !is_over(e->retry_at, now) ? e->retry_at : 0;

    if (tickets_ignore_backoff(&m->tickets))
        return limit;
    return is_over(m->schedule.next_try, now) ? limit : m->schedule.next_try;
}

static void consider_renewal(struct managed *m)
{
    time_t now = clock_now();
    enum renew_reason reason = due_reason(m, now);

    if (reason == RENEW_NOT_DUE && tickets_force(&m->tickets))
        reason = RENEW_FORCED;
    m->reason = reason;
    time_t wait = renewal_waits_until(m, now);
    if (reason == RENEW_NOT_DUE) {
        tell_tickets(m, pending_deploy(m) == PENDING_RETRY ? "backoff" : "not-due");
        sleep_until_next(m, false);
        schedule_recheck(m);
    } else if (wait > 0) {
        tell_tickets(m, "backoff");
        sleep_until_next(m, true);
        schedule_recheck(m);
    } else if (m->started || m->tickets.first) {
        m->queued = true;
        m->host->want_slot(m, m->host->userdata);
    }
}

static void managed_consider(struct managed *m)
{
    if (m->issuance || m->deploy || m->queued)
        return;
    adopt_config(m);
    timer_free(m->wake);
    m->wake = NULL;
    enum pending pending = pending_deploy(m);
    bool act = m->started || m->tickets.first;
    bool now = is_over(m->record.next_try, clock_now()) || tickets_ignore_backoff(&m->tickets);
    bool forced = tickets_force(&m->tickets) && pending != PENDING_RESUME;

    if (act && !forced &&
        (pending == PENDING_RESUME || pending == PENDING_REPAIR || (pending == PENDING_RETRY && now))) {
        deploy_now(m, pending == PENDING_REPAIR ? "deploy" : "renewed");
        return;
    }
    unexpect(m);
    m->started_ms = 0;
    consider_renewal(m);
}

void managed_start(struct managed *m)
{
    m->started = true;
    managed_consider(m);
}

void managed_granted(struct managed *m)
{
    m->queued = false;
    m->has_slot = true;
    if (m->next_config) { /* it changed while waiting: look again with fresh eyes */
        release_slot(m);
        managed_consider(m);
        return;
    }
    issue_now(m);
}

static void on_ticket_turn(void *userdata)
{
    managed_consider(userdata);
}

struct ticket *managed_request(struct managed *m, const struct ticket_options *options, ticket_fn *fn,
                               void *userdata)
{
    struct ticket *t = tickets_add(&m->tickets, options, fn, userdata);

    timer_free(m->wake);
    m->wake = timer_after(services_of(m)->loop, 0, on_ticket_turn, m);
    return t;
}

/* What others see ------------------------------------------------------------------------------------ */

static const char *state_of(const struct managed *m, enum renew_reason reason)
{
    const struct deploy_record *r = &m->record;

    if (m->issuance || (m->queued && m->has_slot))
        return "ordering";
    if (m->deploy || r->stage != DEPLOY_IDLE)
        return r->stage >= DEPLOY_RELOAD ? "deployed" : r->stage == DEPLOY_SWITCH ? "staged" : "issued";
    if (r->outcome == OUTCOME_ROLLED_BACK && r->next_try > 0)
        return "rolled-back";
    if (m->schedule.failures > 0 || r->failures > 0)
        return "backoff";
    if (!m->live)
        return "missing";
    if (reason != RENEW_NOT_DUE)
        return "due";
    if (r->outcome == OUTCOME_PROVEN)
        return "proven";
    return r->outcome == OUTCOME_DEPLOYED ? "deployed" : "idle";
}

void managed_view(const struct managed *m, struct managed_view *ret)
{
    enum renew_reason reason = due_reason(m, clock_now());

    *ret = (struct managed_view){
        .name = m->name,
        .config = m->certificate,
        .live = m->live,
        .newest = m->newest ? m->newest->number : 0,
        .schedule = &m->schedule,
        .record = &m->record,
        .state = state_of(m, reason),
        .activity = m->activity,
        .renew_at = m->newest ? renewal_instant(m->certificate, leaf_of(m->newest), m->schedule.jitter) : 0,
        .reason = managed_is_busy(m) && m->reason != RENEW_NOT_DUE ? m->reason : reason,
        .next_try = next_try_of(m),
        .exit_status = exit_status_of(m),
    };
}
