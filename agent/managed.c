/* Strategy: managed_consider() is the only place that decides what happens next, from facts that
 * are on disk or derived from it; every end of something (issuance, deployment, audit, slot) comes
 * back to it.
 *
 *   the state could not be read                                       -> read it again, later
 *   a deployment was interrupted, or a newer generation was accepted
 *   than ever deployed                                                -> deploy
 *   a deployment failed and its next try has come                     -> deploy again
 *   somebody asked for a deployment, or for an earlier generation     -> deploy that
 *   a revocation was asked for, and what it waits for is there        -> ask the CA
 *   a renewal is due and its back-off is over                         -> slot, issuance
 *   an output does not hold what is live                              -> deploy the live one
 *   else sleep until the earliest of these instants */
#include "agent/managed.h"

#include <string.h>

#include "agent/managed_private.h"
#include "agent/order_count.h"
#include "base/clock.h"
#include "base/log.h"

#define READ_AGAIN_S 60
#define CLOCK_TOLERANCE_S                                                                          \
    (INT64_C(7) * 86400) /* a next try further away is a jump of the clock                         \
                          */

const char *managed_name(const struct managed *m)
{
    return m->name;
}

bool managed_is_busy(const struct managed *m)
{
    return m->ari_first || m->queued || m->issuance || m->first_staple || m->deploy || m->audit ||
           m->recording || m->revoking;
}

time_t managed_need(const struct managed *m)
{
    return m->newest.not_after;
}

static const struct services *services_of(const struct managed *m)
{
    return m->host->services;
}

/* The decision --------------------------------------------------------------------------------- */

static bool is_over(time_t instant, time_t now)
{
    return instant <= now || (int64_t)instant - (int64_t)now > CLOCK_TOLERANCE_S;
}

enum pending {
    PENDING_NOTHING,
    PENDING_RESUME, /* at once */
    PENDING_RETRY,  /* at record.next_try */
};

/* Is there something to deploy? */
static enum pending pending_deploy(const struct managed *m)
{
    const struct deploy_record *r = &m->record;
    bool held = managed_is_held(m);

    if (m->newest.number == 0)
        return PENDING_NOTHING;
    if (r->stage != DEPLOY_IDLE)
        return PENDING_RESUME;
    if (!held && m->newest.not_after <= clock_now())
        return PENDING_NOTHING;
    if (managed_target(m) > r->candidate)
        return PENDING_RESUME;
    if (r->next_try != 0)
        return PENDING_RETRY;
    return m->live.number == 0 ? PENDING_RESUME : PENDING_NOTHING;
}

/* What a renewal must wait for: 0 when it may go ahead now. A Retry-After of the CA counts for
 * everybody, our own count of its limits not for those who force it, back-off only for those who
 * did not ask by name. */
static time_t renewal_waits_until(const struct managed *m, time_t now)
{
    const struct err *e = m->schedule.error;
    bool own = e && e->step && strcmp(e->step, ORDER_COUNT_STEP) == 0;
    bool passed = own && tickets_force(&m->tickets);
    time_t limit = e && !passed && !is_over(e->retry_at, now) ? e->retry_at : 0;

    if (tickets_ignore_backoff(&m->tickets))
        return limit;
    return is_over(m->schedule.next_try, now) ? limit : m->schedule.next_try;
}

static enum renew_reason reason_now(const struct managed *m, time_t now)
{
    enum renew_reason reason = managed_due_reason(m, now);

    /* An order that was begun although not due is not left lying about. */
    if (reason == RENEW_NOT_DUE && (tickets_force(&m->tickets) || m->ordering))
        return RENEW_FORCED;
    return reason;
}

static void on_wake(void *userdata)
{
    managed_consider(userdata);
}

static void wake_at(struct managed *m, time_t at)
{
    timer_free(m->wake);
    m->wake = m->started && at > 0 ? timer_at(services_of(m)->loop, at, on_wake, m) : NULL;
}

static void on_audited(const struct audit_result *result, void *userdata)
{
    struct managed *m = userdata;

    m->audit = NULL;
    m->audited = true;
    m->outputs_wrong = result->wrong > 0;
    managed_consider(m);
}

/* Nothing is to be renewed or deployed now. True when the outputs need looking after first. */
static bool look_after_outputs(struct managed *m)
{
    if (m->certificate->n_outputs == 0 || m->record.next_try != 0 || m->live.number == 0 ||
        m->live.number != managed_target(m))
        return false;
    if (!m->audited) {
        m->audit =
            audit_start(services_of(m), m->config, m->certificate, m->live.number, on_audited, m);
        return true;
    }
    if (!m->outputs_wrong)
        return false;
    log_warning("an output does not hold the live certificate", "certificate", m->name);
    managed_deploy(m, RUN_REPAIR);
    return true;
}

static void earlier(time_t *at, time_t instant)
{
    if (instant > 0 && (*at == 0 || instant < *at))
        *at = instant;
}

static struct authority *authority_of(const struct managed *m)
{
    return m->host->authority(m->certificate->issuer->directory, m->host->userdata);
}

/* When its CA may be tried, 0: now. Who asks by name does not wait for others' tries. */
static time_t ca_is_away_until(const struct managed *m, time_t now)
{
    return tickets_ignore_backoff(&m->tickets) ? 0 : authority_next_try(authority_of(m), now);
}

static void stop_standing_by(struct managed *m)
{
    if (m->standing_by)
        m->host->stop_standing_by(m, m->host->userdata);
    m->standing_by = false;
}

/* `waits` is the end of the back-off of a renewal that is due, else 0. */
static void go_to_sleep(struct managed *m, time_t waits)
{
    bool retry = pending_deploy(m) == PENDING_RETRY;
    time_t at = m->standing_by ? 0 : waits > 0 ? waits : managed_renew_at(m);

    earlier(&at, retry ? m->record.next_try : 0);
    earlier(&at, waits == 0 && m->schedule.failures > 0 ? m->schedule.next_try : 0);
    earlier(&at, managed_hold_end(m));
    earlier(&at, managed_revoke_at(m));
    managed_tell(m, TICKETS_OF(TICKET_RENEW) | TICKETS_OF(TICKET_REVOKE),
                 waits > 0 || retry ? "backoff" : "not-due");
    wake_at(m, at);
    managed_watch(m);
    if (m->retired) {
        managed_tell(m, TICKETS_ALL, "failed");
        m->host->retired(m, m->host->userdata);
    }
}

static void take_config(struct managed *m, struct config *config,
                        const struct config_certificate *certificate)
{
    config_unref(m->config);
    m->config = config;
    m->certificate = certificate;
    m->rollouts = xreallocarray(m->rollouts, certificate->n_servers + 1, sizeof(struct rollout *));
    for (size_t i = 0; i < certificate->n_servers; i++)
        m->rollouts[i] = m->host->rollout(config, certificate->servers[i], m->host->userdata);
    m->audited = false;
}

static void adopt_config(struct managed *m)
{
    if (!m->next_config)
        return;
    managed_unexpect(m);
    managed_stop_watching(m);
    managed_stop_ari(m);
    take_config(m, take(m->next_config), m->next_certificate);
    managed_follow_staple(m);
}

void managed_read_again(struct managed *m)
{
    wake_at(m, clock_now() + READ_AGAIN_S);
    if (m->retired)
        m->host->retired(m, m->host->userdata);
}

static bool is_readable(struct managed *m)
{
    if (!m->unreadable || managed_load(m))
        return true;
    managed_tell(m, TICKETS_ALL, "failed");
    managed_read_again(m);
    return false;
}

/* Whether there is something to deploy now. */
static bool is_deployment_due(const struct managed *m, bool forced, time_t now)
{
    enum pending pending = pending_deploy(m);

    if (pending != PENDING_RETRY || forced || m->retired)
        return pending == PENDING_RESUME;
    return is_over(m->record.next_try, now) || tickets_ignore_backoff(&m->tickets);
}

static bool may_act(const struct managed *m)
{
    return m->started || m->tickets.first || m->retired;
}

/* A renewal that failed and is not wanted any more (it was forced, or the configuration is what it
 * was again) is forgotten when its next try would come. */
static void forget_failures(struct managed *m, time_t now)
{
    if (m->schedule.failures == 0 || !is_over(m->schedule.next_try, now))
        return;
    m->schedule.failures = 0;
    m->schedule.next_try = 0;
    managed_save_schedule(m);
}

/* No renewal and no deployment now; `waits` as in go_to_sleep. */
static void rest(struct managed *m, time_t waits)
{
    if (m->retired || (!managed_restaple(m) && !look_after_outputs(m)))
        go_to_sleep(m, waits);
}

/* When its CA may be tried; 0: now. */
static time_t stand_by_if_away(struct managed *m, time_t now)
{
    time_t away = ca_is_away_until(m, now);

    if (away != 0) {
        m->standing_by = true;
        m->host->stand_by(m, authority_of(m), m->host->userdata);
    }
    return away;
}

static void renew_or_rest(struct managed *m, bool due, time_t waits)
{
    if (due && waits == 0)
        waits = stand_by_if_away(m, clock_now());
    if (due && waits == 0) {
        m->queued = true;
        m->host->want_slot(m, m->host->userdata);
    } else {
        rest(m, waits);
    }
}

static bool is_ready(struct managed *m)
{
    if (managed_is_busy(m))
        return false;
    adopt_config(m);
    stop_standing_by(m);
    timer_free(m->wake);
    m->wake = NULL;
    return may_act(m) && is_readable(m) && !managed_ask_ari(m);
}

void managed_consider(struct managed *m)
{
    if (!is_ready(m))
        return;
    managed_follow_ari(m);

    time_t now = clock_now();
    enum renew_reason reason = m->retired ? RENEW_NOT_DUE : reason_now(m, now);
    bool due = reason != RENEW_NOT_DUE;
    time_t waits = due ? renewal_waits_until(m, now) : 0;

    /* A run that is not over yet is what those who forced it wait for. */
    bool forced = reason == RENEW_FORCED && !m->ordering && m->run == RUN_NONE;
    if (is_deployment_due(m, forced, now)) {
        managed_deploy(m, RUN_RENEW);
        return;
    }
    managed_unexpect(m);
    if (m->run != RUN_REVOKE || !m->schedule.revocation.serial)
        m->run = RUN_NONE;
    m->reason = reason;
    if (!due && !m->retired)
        forget_failures(m, now);
    if (m->retired || (!managed_grant_wish(m) && !managed_pursue_revocation(m)))
        renew_or_rest(m, due, waits);
}

/* Public --------------------------------------------------------------------------------------- */

void managed_start(struct managed *m)
{
    m->started = true;
    managed_follow_staple(m);
    managed_consider(m);
}

void managed_granted(struct managed *m)
{
    m->queued = false;
    m->has_slot = true;
    bool may =
        tickets_ignore_backoff(&m->tickets) || authority_may_try(authority_of(m), clock_now());
    if (m->next_config || m->retired || !may) { /* changed while waiting: look with fresh eyes */
        managed_release_slot(m);
        managed_consider(m);
        return;
    }
    managed_issue(m);
}

void managed_wake(struct managed *m)
{
    managed_consider(m);
}

struct ticket *managed_request(struct managed *m, const struct ticket_options *options,
                               ticket_fn *fn, void *userdata)
{
    struct ticket *t = tickets_add(&m->tickets, options, fn, userdata);

    if (!managed_is_busy(m)) {
        timer_free(m->wake);
        m->wake = timer_after(services_of(m)->loop, 0, on_wake, m);
    }
    return t;
}

void managed_retire(struct managed *m)
{
    m->retired = true;
    m->started = false;
    managed_stop_ari(m);
    managed_follow_staple(m);
    managed_consider(m);
}

/* Whether an order of the old configuration is of use for the new one. */
static bool order_survives(const struct config_certificate *old,
                           const struct config_certificate *new)
{
    return strv_equal(&old->names, &new->names) &&
           old->key_type ==
               new->key_type &&strcmp(old->issuer->directory, new->issuer->directory) == 0 &&
           strcmp(old->solver->name, new->solver->name) == 0;
}

void managed_set_config(struct managed *m, struct config *config,
                        const struct config_certificate *certificate)
{
    m->retired = false;
    managed_stop_ari(m); /* its issuer may go with the old configuration */
    config_unref(m->next_config);
    m->next_config = config_ref(config);
    m->next_certificate = certificate;
    if (m->issuance && !order_survives(m->certificate, certificate)) {
        /* The next attempt finds the order on disk, sees that it does not fit, and has its
         * authorizations deactivated. */
        issuance_free(take(m->issuance));
        managed_release_slot(m);
        log_info("order given up: the configuration changed", "certificate", m->name);
    }
    managed_consider(m);
}

struct managed *managed_new(const struct managed_host *host, struct config *config,
                            const struct config_certificate *certificate)
{
    struct managed *m = xcalloc(1, sizeof *m);

    m->host = host;
    m->name = xstrdup(certificate->name);
    take_config(m, config_ref(config), certificate);
    (void)!managed_load(m);
    return m;
}

void managed_free(struct managed *m)
{
    if (!m)
        return;
    tickets_done(&m->tickets);
    stop_standing_by(m);
    managed_stop_ari(m);
    recheck_free(m->recheck);
    issuance_free(m->issuance);
    staple_first_free(m->first_staple);
    crl_unfollow(m->crl);
    staple_free(m->staple);
    deploy_free(m->deploy);
    audit_free(m->audit);
    save_free(m->recording);
    revoking_free(m->revoking);
    managed_unexpect(m);
    save_free(m->save);
    timer_free(m->wake);
    managed_release_slot(m);
    trace_end(m->trace, "interrupted", NULL);
    generation_unref(m->issued);
    managed_forget(m);
    json_decref(m->old);
    config_unref(m->config);
    config_unref(m->next_config);
    free(m->rollouts);
    free(m->activity);
    free(m->name);
    free(m);
}
