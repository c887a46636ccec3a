/* What others see of a certificate. */
#include <string.h>

#include "agent/managed_private.h"
#include "agent/verdict.h"
#include "base/clock.h"

json_t *managed_cert_json(const struct generation_facts *f)
{
    if (!f)
        return json_null();
    json_t *j = json_object();

    json_put_str(j, "serial", f->serial);
    json_put_str(j, "sha256", f->sha256);
    json_put_strv(j, "names", &f->names);
    json_put_str(j, "issuer_cn", f->issuer_cn);
    json_put_str(j, "key_type", f->key_type);
    json_put_time(j, "not_before", f->not_before);
    json_put_time(j, "not_after", f->not_after);
    json_put_bool(j, "revoked", false);
    return j;
}

/* What counts for "is it due": the newest accepted generation, deployed or not. Issuing again
 * because a deployment failed would help nobody. */
void managed_facts(const struct managed *m, struct renewal_facts *ret)
{
    const struct schedule_ari *ari = &m->schedule.ari;
    bool bound = ari->cert_id && m->newest.ari_id && strcmp(ari->cert_id, m->newest.ari_id) == 0;

    *ret = (struct renewal_facts){
        .newest = m->newest.number > 0 ? &m->newest : NULL,
        .damaged = m->damaged,
        .revoked = managed_wants_replacement(m) ||
                   (managed_is_revoked(m) && m->newest.number == m->live.number),
        .jitter = m->schedule.jitter,
        .ari_at = bound ? ari->at : 0,
        .ari_renewals = m->schedule.ari_renewals,
    };
}

enum renew_reason managed_due_reason(const struct managed *m, time_t now)
{
    struct renewal_facts facts;

    managed_facts(m, &facts);
    return renewal_reason(m->certificate, &facts, now);
}

static struct renewal_due due_of(const struct managed *m)
{
    struct renewal_facts facts;

    managed_facts(m, &facts);
    return facts.newest ? renewal_due(m->certificate, &facts) : (struct renewal_due){0};
}

time_t managed_renew_at(const struct managed *m)
{
    return due_of(m).at;
}

int managed_exit_status(const struct managed *m)
{
    const struct deploy_record *r = &m->record;

    if (m->live.number == 0 || m->live.not_after <= clock_now() || managed_is_revoked(m) ||
        verdict_serves_other(r, m->certificate))
        return 3;
    if (m->schedule.failures > 0 || m->schedule.revocation.failures > 0 || r->failures > 0 ||
        (r->stage == DEPLOY_IDLE && r->error))
        return 1;
    return 0;
}

static time_t next_try_of(const struct managed *m)
{
    if (m->record.next_try > 0 && m->newest.number > 0)
        return m->record.next_try;
    return m->schedule.next_try > 0 ? m->schedule.next_try : managed_revoke_at(m);
}

/* The reload that counts is the slowest of this run. */
static json_t *reload_ms_of(const struct managed *m)
{
    int64_t ms = -1;

    for (size_t i = 0; i < m->record.n_servers; i++) {
        const struct server_row *s = &m->record.servers[i];
        if (s->reloaded && s->reload_ms > ms)
            ms = s->reload_ms;
    }
    return ms >= 0 ? json_integer(ms) : json_null();
}

bool managed_is_good(const struct managed *m, const char *result)
{
    return strcmp(result, "renewed") == 0 ||
           (m->run == RUN_ROLLBACK && strcmp(result, "rolled-back") == 0);
}

/* What is worth most to whoever asked. */
static const struct err *error_of(const struct managed *m, bool good)
{
    const struct schedule *s = &m->schedule;

    if (good)
        return m->record.error;
    if (s->revocation.error)
        return s->revocation.error;
    return m->record.error ? m->record.error : s->error;
}

/* The certificate that was live before the run. */
static json_t *old_of(const struct managed *m)
{
    if (m->run == RUN_NONE || !m->old)
        return managed_cert_json(m->run == RUN_NONE && m->live.number > 0 ? &m->live : NULL);
    json_t *old = json_copy(m->old);

    json_put_bool(old, "revoked", managed_is_revoked_serial(m, json_str(old, "serial")));
    return old;
}

json_t *managed_result(const struct managed *m, const char *result)
{
    bool acted = m->run != RUN_NONE;
    bool good = managed_is_good(m, result);
    bool not_due = strcmp(result, "not-due") == 0;
    json_t *j = json_object();

    json_put_str(j, "name", m->name);
    json_put_str(j, "result", result);
    json_put_str(j, "attempt", acted ? m->attempt : NULL);
    json_put(j, "old", old_of(m));
    json_put(j, "new", good ? managed_cert_json(&m->live) : json_null());
    json_put(j, "generation", m->live.number > 0 ? json_integer(m->live.number) : json_null());
    json_put_bool(j, "proven", m->record.outcome == OUTCOME_PROVEN);
    json_put(j, "reload_ms", acted ? reload_ms_of(m) : json_null());
    json_put_int(j, "total_ms", acted ? clock_boot_ms() - m->started_ms : 0);
    json_put_time(j, "next_try", not_due ? managed_renew_at(m) : next_try_of(m));
    json_put(j, "error", err_to_json(error_of(m, good)));
    return j;
}

static const char *stage_state(enum deploy_stage stage)
{
    if (stage >= DEPLOY_RELOAD)
        return "deployed";
    return stage == DEPLOY_SWITCH ? "staged" : "issued";
}

static const char *state_of(const struct managed *m, enum renew_reason reason)
{
    const struct deploy_record *r = &m->record;

    if (m->issuance)
        return "ordering";
    if (m->deploy || r->stage != DEPLOY_IDLE)
        return stage_state(r->stage);
    if (r->outcome == OUTCOME_ROLLED_BACK && r->next_try > 0)
        return "rolled-back";
    if (m->schedule.failures > 0 || r->failures > 0)
        return "backoff";
    if (m->live.number == 0)
        return "missing";
    if (reason != RENEW_NOT_DUE)
        return "due";
    if (managed_is_held(m))
        return "held";
    if (r->outcome == OUTCOME_PROVEN)
        return "proven";
    return r->outcome == OUTCOME_DEPLOYED ? "deployed" : "idle";
}

void managed_view(const struct managed *m, struct managed_view *ret)
{
    enum renew_reason reason = managed_due_reason(m, clock_now());
    bool asked = managed_is_busy(m) && m->reason != RENEW_NOT_DUE;

    struct renewal_due due = due_of(m);

    *ret = (struct managed_view){
        .name = m->name,
        .config = m->certificate,
        .live = m->live.number > 0 ? &m->live : NULL,
        .newest = m->newest.number,
        .staple = staple_facts(m->staple),
        .revoked = managed_is_revoked(m),
        .crl_next_update = m->crl ? crl_follower_next_update(m->crl) : 0,
        .schedule = &m->schedule,
        .record = &m->record,
        .state = state_of(m, reason),
        .activity = m->activity,
        .renew_at = due.at,
        .renew_by_ari = due.by_ari,
        .reason = asked ? m->reason : reason,
        .next_try = next_try_of(m),
        .exit_status = managed_exit_status(m),
    };
}
