/* What people ask for beyond renewals: another deployment, an earlier generation. A generation that
 * was asked for is held: deploy.json knows over which newer ones. */
#include <stdio.h>
#include <string.h>

#include "agent/managed_private.h"
#include "base/clock.h"
#include "base/log.h"

static struct state *state_of(const struct managed *m)
{
    return m->host->services->state;
}

static struct validity validity_of(const struct generation_facts *f)
{
    return (struct validity){f->not_before, f->not_after};
}

/* What is held ----------------------------------------------------------------------------------
 */

/* A hold ends when nothing may postpone the renewal of what is held: there is a newer one. */
time_t managed_hold_end(const struct managed *m)
{
    const struct deploy_record *r = &m->record;

    if (r->held_over == 0 || m->newest.number > r->held_over || m->live.number != r->candidate)
        return 0;
    return renewal_emergency(validity_of(&m->live));
}

bool managed_is_held(const struct managed *m)
{
    const struct deploy_record *r = &m->record;
    time_t end = managed_hold_end(m);

    return r->held_over > 0 && m->live.number > 0 && !managed_is_revoked(m) &&
           m->newest.number <= r->held_over && (end == 0 || clock_now() < end);
}

int64_t managed_target(const struct managed *m)
{
    return managed_is_held(m) ? m->record.candidate : m->newest.number;
}

void managed_give_up_hold(struct managed *m)
{
    m->record.held_over = 0;
    m->record.candidate = m->newest.number; /* at the next try */
    managed_save_record(m);
}

/* Which generation ------------------------------------------------------------------------------
 */

/* Whether a generation may be served again. */
static bool is_fit(const struct managed *m, const struct generation_facts *f, struct err **err)
{
    const struct strv *names = &m->certificate->names;
    long long n = f->number;
    char end[CLOCK_TEXT_MAX];

    clock_rfc3339(f->not_after, end);
    if (f->not_after <= clock_now())
        return err_set(err, ERR_REFUSED, "generation %lld expired on %s", n, end);
    if (renewal_is_emergency(validity_of(f), clock_now()))
        return err_set(err, ERR_REFUSED, "generation %lld expires on %s: too soon to go back to it",
                       n, end);
    if (managed_is_revoked_serial(m, f->serial) ||
        (f->number == m->live.number && managed_is_revoked(m)))
        return err_set(err, ERR_REFUSED, "generation %lld is revoked", n);
    if (m->schedule.revocation.serial && strcmp(f->serial, m->schedule.revocation.serial) == 0)
        return err_set(err, ERR_REFUSED, "generation %lld is about to be revoked", n);
    for (size_t i = 0; i < names->n; i++) {
        if (!strv_has(&f->names, names->items[i]))
            return err_set(err, ERR_REFUSED, "generation %lld lacks the name %s", n,
                           names->items[i]);
    }
    return true;
}

static bool is_usable(const struct managed *m, int64_t number, struct err **err)
{
    struct generation_facts facts;

    if (!generation_facts(state_of(m), m->name, number, &facts, NULL, err))
        return false;
    bool good = is_fit(m, &facts, err);
    generation_facts_done(&facts);
    return good;
}

/* "3 (until 2026-...), 4 (live)"; caller frees. */
static char *list_text(const struct managed *m, const struct generation_list *list)
{
    auto_strv struct strv parts = {0};

    for (size_t i = 0; i < list->n; i++) {
        long long n = list->numbers[i];
        auto_err struct err *e = NULL;
        if (list->numbers[i] == m->live.number)
            strv_addf(&parts, "%lld (live)", n);
        else if (is_usable(m, list->numbers[i], &e))
            strv_addf(&parts, "%lld", n);
        else
            strv_addf(&parts, "%lld (unfit)", n);
    }
    return strv_join(&parts, ", ");
}

static bool choose_named(const struct managed *m, const struct generation_list *list,
                         int64_t wanted, struct err **err)
{
    bool found = false;

    for (size_t i = 0; i < list->n; i++)
        found = found || list->numbers[i] == wanted;
    if (!found) {
        auto_free char *there = list_text(m, list);
        err_set(err, ERR_CONFIG, "there is no generation %lld of %s", (long long)wanted, m->name);
        if (list->n > 0)
            err_hint(err, "there are: %s", there);
        return false;
    }
    if (wanted == m->live.number && wanted == m->newest.number)
        return err_set(err, ERR_REFUSED, "generation %lld is live already, and the newest one",
                       (long long)wanted);
    return is_usable(m, wanted, err);
}

/* 0: there is none. */
static int64_t choose_earlier(const struct managed *m, const struct generation_list *list,
                              struct err **err)
{
    for (size_t i = list->n; i > 0; i--) {
        auto_err struct err *unfit = NULL;
        if (list->numbers[i - 1] < m->live.number && is_usable(m, list->numbers[i - 1], &unfit))
            return list->numbers[i - 1];
    }
    auto_free char *there = list_text(m, list);
    err_set(err, ERR_REFUSED, "there is no earlier generation of %s to go back to", m->name);
    if (list->n > 0)
        err_hint(err, "there are: %s", there);
    return 0;
}

/* 0 and err: none will do. */
static int64_t choose(const struct managed *m, int64_t wanted, struct err **err)
{
    struct generation_list list = {0};

    if (m->live.number == 0) {
        err_set(err, ERR_REFUSED, "no certificate of %s is live", m->name);
        return 0;
    }
    if (!generation_list(state_of(m), m->name, &list, err))
        return 0;
    int64_t chosen = wanted;
    if (wanted == 0)
        chosen = choose_earlier(m, &list, err);
    else if (!choose_named(m, &list, wanted, err))
        chosen = 0;
    generation_list_done(&list);
    return chosen;
}

/* Wishes ----------------------------------------------------------------------------------------
 */

static void history(struct managed *m, const char *event, int64_t generation)
{
    auto_free char *text = xasprintf("generation %lld, on request", (long long)generation);

    log_info("asked for", "certificate", m->name, "attempt", m->attempt, "what", event, "text",
             text);
    state_history_add(state_of(m), m->name, event, m->attempt, text);
}

void managed_refuse(struct managed *m, enum ticket_action action, const struct err *e)
{
    auto_json json_t *j = managed_result(m, "failed");
    int status = managed_exit_status(m);

    json_put(j, "error", err_to_json(e));
    if (e->kind == ERR_CONFIG)
        status = 2;
    tickets_tell(&m->tickets, TICKETS_OF(action), j, status > 0 ? status : 1);
}

static bool deploy_again(struct managed *m)
{
    auto_err struct err *e = NULL;
    bool is_live = m->newest.number == m->live.number;

    if (m->newest.number == 0) {
        err_set(&e, ERR_REFUSED, "there is no certificate of %s to deploy yet", m->name);
        err_hint(&e, "everleaf renew %s gets one", m->name);
    } else if (!is_live && m->newest.not_after <= clock_now()) {
        err_set(&e, ERR_REFUSED, "the newest certificate of %s is expired", m->name);
        err_hint(&e, "everleaf renew %s gets another one", m->name);
    }
    if (e) {
        managed_refuse(m, TICKET_DEPLOY, e);
        return false;
    }
    m->record.held_over = 0;
    managed_deploy(m, RUN_DEPLOY);
    history(m, "deploy", m->newest.number);
    return true;
}

static bool roll_back(struct managed *m, int64_t wanted)
{
    auto_err struct err *e = NULL;
    int64_t chosen = choose(m, wanted, &e);

    if (e) {
        managed_refuse(m, TICKET_ROLLBACK, e);
        return false;
    }
    m->record.held_over = chosen < m->newest.number ? m->newest.number : 0;
    m->record.candidate = chosen;
    m->record.failures = 0;
    m->record.next_try = 0;
    managed_deploy(m, RUN_ROLLBACK);
    history(m, "rollback", chosen);
    return true;
}

bool managed_grant_wish(struct managed *m)
{
    const struct ticket_options *wish;

    while ((wish = tickets_grant(&m->tickets, TICKET_ROLLBACK))) {
        if (roll_back(m, wish->generation))
            return true;
    }
    while ((wish = tickets_grant(&m->tickets, TICKET_REVOKE))) {
        if (managed_request_revocation(m, wish))
            return true;
    }
    return tickets_grant(&m->tickets, TICKET_DEPLOY) && deploy_again(m);
}
