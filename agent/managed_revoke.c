/* Revocations on request. The order of things, all of it found again in schedule.json after a kill:
 *
 *     what is to be revoked is on disk
 *     now: the CA revokes it (whether or not it can be replaced)
 *     a new generation with a new key is issued and deployed as any other
 *     else: the CA revokes the old one, which nothing serves any more
 *     it is forgotten; the serial stays known as revoked
 *
 * A replacement that fails is tried again as every renewal is; nothing is revoked before. */
#include <string.h>

#include "agent/managed_private.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define REVOKED_KEPT 16 /* serials; far more than generations are kept */
#define CLOCK_TOLERANCE_S                                                                          \
    (INT64_C(7) * 86400) /* a next try further away is a jump of the clock                         \
                          */

static const struct services *services_of(const struct managed *m)
{
    return m->host->services;
}

static struct revocation *entry_of(struct managed *m)
{
    return &m->schedule.revocation;
}

static void history(struct managed *m, const char *event, const char *text)
{
    state_history_add(services_of(m)->state, m->name, event, m->attempt[0] ? m->attempt : NULL,
                      text);
}

/* Facts -----------------------------------------------------------------------------------------
 */

bool managed_is_revoked_serial(const struct managed *m, const char *serial)
{
    return serial && strv_has(&m->schedule.revoked, serial);
}

bool managed_wants_replacement(const struct managed *m)
{
    const struct revocation *r = &m->schedule.revocation;

    return r->serial && m->newest.number <= r->over;
}

/* A newer one is live, and its deployment went well. */
static bool is_replaced(const struct managed *m)
{
    const struct deploy_record *d = &m->record;

    return m->live.number > m->schedule.revocation.over && d->stage == DEPLOY_IDLE &&
           (d->outcome == OUTCOME_PROVEN || d->outcome == OUTCOME_DEPLOYED);
}

static bool is_to_be_asked(const struct managed *m)
{
    const struct revocation *r = &m->schedule.revocation;

    return r->serial && !r->done && !r->refused && (r->now || is_replaced(m));
}

/* Whoever asked for it now does not wait for a try of the past. */
static bool is_time_to_ask(const struct managed *m)
{
    time_t now = clock_now(), next = m->schedule.revocation.next_try;
    bool waits = next > now && (int64_t)next - (int64_t)now <= CLOCK_TOLERANCE_S;
    bool wanted = !m->revoke_asked && tickets_any(&m->tickets, TICKETS_OF(TICKET_REVOKE));

    return is_to_be_asked(m) && (!waits || wanted);
}

bool managed_revokes_next(const struct managed *m)
{
    const struct revocation *r = &m->schedule.revocation;

    return r->serial && is_replaced(m) && (r->done || r->refused || is_time_to_ask(m));
}

time_t managed_revoke_at(const struct managed *m)
{
    return is_to_be_asked(m) ? m->schedule.revocation.next_try : 0;
}

/* The end ---------------------------------------------------------------------------------------
 */

/* Those who waited for the replacement only have got it. */
static void tell(struct managed *m, const char *result)
{
    managed_tell(m, TICKETS_OF(TICKET_REVOKE), result);
    managed_tell(m, m->answers, "renewed");
    managed_end_run(m, NULL);
}

/* Nothing is left to do, or nothing can be done. */
static void finish(struct managed *m)
{
    struct revocation *r = entry_of(m);

    tell(m, r->done ? "renewed" : "failed");
    revocation_done(r);
    managed_save_schedule(m);
}

static void note_revoked(struct managed *m)
{
    struct revocation *r = entry_of(m);
    struct strv *known = &m->schedule.revoked;

    r->done = true;
    r->failures = 0;
    r->next_try = 0;
    err_free(r->error);
    r->error = NULL;
    if (strv_has(known, r->serial))
        return;
    strv_add(known, r->serial);
    if (known->n > REVOKED_KEPT) {
        free(known->items[0]);
        memmove(known->items, known->items + 1, known->n * sizeof *known->items);
        known->n--;
    }
}

static void note_failure(struct managed *m, const struct err *e)
{
    struct revocation *r = entry_of(m);
    struct validity v = {m->newest.not_before, m->newest.not_after};
    char next[CLOCK_TEXT_MAX];

    r->failures++;
    r->refused = e->kind == ERR_REFUSED || e->kind == ERR_CONFIG || e->kind == ERR_BUG;
    r->next_try =
        r->refused ? 0 : renewal_next_try(r->failures, clock_now(), &v, e->retry_at, random_u32());
    err_free(r->error);
    r->error = err_copy(e);
    log_failure(LOG_LEVEL_ERROR, e, "not revoked", "certificate", m->name, "attempt", m->attempt,
                "serial", r->serial, "next_try",
                r->next_try > 0 ? clock_rfc3339(r->next_try, next) : NULL);
    history(m, "revoke-failed", e->text);
}

static void on_revoked(const struct err *e, void *userdata)
{
    struct managed *m = userdata;
    struct revocation *r = entry_of(m);

    m->revoking = NULL;
    m->revoke_asked = true;
    if (e) {
        note_failure(m, e);
    } else {
        note_revoked(m);
        log_info("certificate revoked", "certificate", m->name, "attempt", m->attempt, "serial",
                 r->serial, "reason", revoke_reason_name(r->reason));
        history(m, "revoked", r->serial);
    }
    managed_save_schedule(m);
    if (e && !r->refused && is_replaced(m))
        tell(m, "failed"); /* it is tried again at its time */
    managed_consider(m);
}

/* Asking ----------------------------------------------------------------------------------------
 */

/* The generation that is to be revoked, if it is the one that was meant. */
static struct generation *load(struct managed *m, struct err **err)
{
    const struct revocation *r = entry_of(m);
    struct generation *g = generation_load(services_of(m)->state, m->name, r->generation, err);

    if (!g && err_is_absent(*err)) { /* it will not come back */
        err_free(*err);
        *err = NULL;
        err_set(err, ERR_REFUSED, "generation %lld is gone", (long long)r->generation);
    }
    if (!g || strcmp(g->chain->items[0]->serial_hex, r->serial) == 0)
        return g;
    generation_unref(g);
    err_set(err, ERR_REFUSED, "generation %lld is not the certificate %s that was to be revoked",
            (long long)r->generation, r->serial);
    return NULL;
}

static bool start_revoking(struct managed *m, struct err **err)
{
    const struct revocation *r = entry_of(m);
    struct generation *g = load(m, err);

    if (!g)
        return false;
    const char *directory = json_str(g->info, "directory");
    struct revoking_settings settings = {
        .services = services_of(m),
        .generation = g,
        .issuer = directory ? m->host->find_issuer(directory, m->host->userdata) : NULL,
        .reason = r->reason,
    };
    if (settings.issuer) {
        managed_say(m, "having the certificate revoked");
        m->revoking = revoking_start(&settings, on_revoked, m);
    } else {
        err_set(err, ERR_CONFIG, "no issuer with the directory %s is configured",
                directory ? directory : "of the certificate");
    }
    generation_unref(g);
    return m->revoking;
}

bool managed_pursue_revocation(struct managed *m)
{
    const struct revocation *r = entry_of(m);
    auto_err struct err *e = NULL;

    if (r->serial && (r->done || r->refused) && is_replaced(m)) {
        finish(m);
        return false;
    }
    if (!is_time_to_ask(m))
        return false;
    managed_begin_run(m, RUN_REVOKE);
    if (!start_revoking(m, &e))
        on_revoked(e, m);
    return true;
}

/* Requests --------------------------------------------------------------------------------------
 */

static void on_recorded(const struct err *e, void *userdata)
{
    struct managed *m = userdata;

    m->recording = NULL;
    if (e) { /* what is not on disk could be half done and forgotten */
        managed_refuse(m, TICKET_REVOKE, e);
        (void)!managed_load(m);
    }
    managed_consider(m);
}

static void fill(struct managed *m, const struct ticket_options *wish)
{
    struct revocation *r = entry_of(m);
    const struct generation_facts *f = m->live.number > 0 ? &m->live : &m->newest;

    if (!r->serial) {
        r->serial = xstrdup(f->serial);
        r->generation = f->number;
        r->over = m->newest.number;
        r->reason = wish->reason;
        r->now = wish->now;
    } else if (wish->now && !r->now) { /* somebody is in a greater hurry than who asked first */
        r->now = true;
        r->reason = wish->reason;
    }
    r->next_try = 0;
}

bool managed_request_revocation(struct managed *m, const struct ticket_options *wish)
{
    auto_err struct err *e = NULL;
    const struct revocation *r = entry_of(m);

    if (m->newest.number == 0) {
        err_set(&e, ERR_REFUSED, "there is no certificate of %s to revoke", m->name);
        managed_refuse(m, TICKET_REVOKE, e);
        return false;
    }
    fill(m, wish);
    managed_begin_run(m, RUN_REVOKE);
    m->revoke_asked = false;
    auto_free char *text = xasprintf("%s, %s%s, on request", r->serial,
                                     revoke_reason_name(r->reason), r->now ? ", now" : "");
    log_info("asked for", "certificate", m->name, "attempt", m->attempt, "what", "revoke", "text",
             text);
    history(m, "revoke", text);
    auto_json json_t *j = schedule_to_json(&m->schedule);
    m->recording = state_save(services_of(m)->state, m->name, "schedule", j, on_recorded, m);
    return true;
}
