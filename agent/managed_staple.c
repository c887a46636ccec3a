/* Staples of a certificate: the newest generation gets one before it goes live, the live one keeps
 * its own fresh, and servers follow what is on disk. */
#include <string.h>

#include "agent/managed_private.h"
#include "agent/metrics.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

#define RETRY_FIRST_S 15
#define RETRY_MAX_S   900

static const struct services *services_of(const struct managed *m)
{
    return m->host->services;
}

static void consider_later(struct managed *m)
{
    if (!managed_is_busy(m))
        managed_consider(m);
}

static void on_changed(void *userdata)
{
    struct managed *m = userdata;

    m->restaple = true;
    consider_later(m);
}

static void on_revoked(void *userdata)
{
    consider_later(userdata);
}

static void on_crl(const struct crl_query *found, void *userdata)
{
    struct managed *m = userdata;
    char at[CLOCK_TEXT_MAX];

    m->crl_entry = *found;
    m->crl_entry.serial_hex = NULL;
    log_error("certificate revoked", "certificate", m->name, "source", "crl", "reason",
              found->reason, "revoked_at", clock_rfc3339(found->revoked_at, at));
    state_history_add(services_of(m)->state, m->name, "revoked", NULL, found->reason);
    consider_later(m);
}

/* The issuer's certificate is needed, so the generation is loaded; only for certificates that name
 * a list. */
static void follow_crl(struct managed *m)
{
    const struct staple_facts *f = staple_facts(m->staple);

    if (m->live.number == 0 || f->crl_urls.n == 0)
        return;
    struct generation *g = generation_load(services_of(m)->state, m->name, m->live.number, NULL);
    if (g && g->chain->n > 1)
        m->crl = crl_follow(services_of(m)->crls, &f->crl_urls, g->chain->items[1], m->live.serial,
                            on_crl, m);
    generation_unref(g);
}

bool managed_is_revoked(const struct managed *m)
{
    if (m->live.number == 0)
        return false;
    return managed_is_revoked_serial(m, m->live.serial) ||
           (m->staple && (m->crl_entry.revoked || staple_says_revoked(m->staple)));
}

static void on_known(void *userdata)
{
    struct managed *m = userdata;

    follow_crl(m);
    if (managed_is_revoked(m))
        consider_later(m);
}

void managed_follow_staple(struct managed *m)
{
    if (!m->staple) {
        struct staple_events events = {
            .known = on_known, .changed = on_changed, .revoked = on_revoked, .userdata = m};
        m->staple = staple_new(services_of(m), m->name, &events);
        if (services_of(m)->metrics)
            metrics_count(services_of(m)->metrics, METRIC_STAPLE_FAILURES, 0, m->name, NULL);
    }
    if (!staple_follow(m->staple, m->certificate, &m->live, m->started && !m->retired))
        return;
    crl_unfollow(take(m->crl));
    m->crl_entry.revoked = false;
}

bool managed_restaple(struct managed *m)
{
    if (!m->restaple || m->record.next_try != 0 || m->live.number == 0 ||
        m->live.number != managed_target(m))
        return false;
    m->restaple = false;
    if (m->certificate->n_servers == 0 && m->certificate->n_outputs == 0)
        return false;
    managed_deploy(m, RUN_STAPLE);
    return true;
}

/* Must-staple certificates without a staple are refused by the clients that look: worse than the
 * old certificate. */
static void refuse_without_staple(struct managed *m, const struct err *e)
{
    struct deploy_record *r = &m->record;
    time_t now = clock_now();
    char next[CLOCK_TEXT_MAX];

    r->candidate = managed_target(m);
    r->outcome = OUTCOME_FAILED;
    r->failures++;
    r->next_try = now + backoff_delay(r->failures, RETRY_FIRST_S, 2, RETRY_MAX_S, random_u32());
    err_free(r->error);
    r->error = err_copy(e);
    err_wrap(&r->error, "a must-staple certificate does not go live without a staple");
    err_step(&r->error, "staple");
    err_hint(&r->error,
             "a new certificate may be unknown to the CA's OCSP responder for some "
             "minutes; without a responder set certificates.%s.ocsp.must_staple: false",
             m->name);
    managed_save_record(m);
    log_failure(LOG_LEVEL_ERROR, r->error, "not deployed", "certificate", m->name, "attempt",
                m->attempt, "next_try", clock_rfc3339(r->next_try, next));
    managed_end_run(m, "failed");
    managed_consider(m);
}

static void on_first_staple(bool revoked, const struct err *e, void *userdata)
{
    struct managed *m = userdata;
    const struct cert *leaf = m->issued->chain->items[0];
    auto_err struct err *missing = err_copy(e);

    m->first_staple = NULL;
    m->stapled = m->issued->number;
    m->unstapled = false;
    if (!e && leaf->must_staple && leaf->ocsp_urls.n == 0 && !m->certificate->ocsp_responder)
        err_set(&missing, ERR_REFUSED, "the CA's certificate names no OCSP responder");
    if (missing && leaf->must_staple) {
        m->unstapled = true;
        refuse_without_staple(m, missing);
        return;
    }
    if (missing) {
        log_failure(LOG_LEVEL_INFO, missing, "deployed without a staple for now", "certificate",
                    m->name, "attempt", m->attempt);
        metrics_count(services_of(m)->metrics, METRIC_STAPLE_FAILURES, 1, m->name, NULL);
    }
    (void)revoked; /* the next look at it, when it is live, has it replaced */
    managed_deploy(m, m->run);
}

bool managed_wants_staple(struct managed *m, struct generation *target)
{
    if (target->number == m->live.number || m->record.stage != DEPLOY_IDLE ||
        (m->stapled == target->number && !m->unstapled))
        return false;
    generation_unref(m->issued);
    m->issued = generation_ref(target);
    m->first_staple =
        staple_first_start(services_of(m), m->certificate, target, on_first_staple, m);
    return true;
}

void managed_advise(const struct managed *m, struct err **err)
{
    const char *problem = (*err)->problem;

    if (m->certificate->must_staple && (*err)->kind == ERR_REFUSED && problem &&
        (strcmp(problem, "badCSR") == 0 || strcmp(problem, "unauthorized") == 0 ||
         strcmp(problem, "malformed") == 0))
        err_hint(err,
                 "perhaps the CA does not issue must-staple certificates (Let's Encrypt "
                 "does not any more): set certificates.%s.ocsp.must_staple: false",
                 m->name);
}
