/* Renewal information of the newest certificate: asked for when it is new, then whenever the CA
 * wants to be asked (RFC 9773 4.3). What was said, the instant chosen, and when to ask again are in
 * schedule.json, bound to the certID. */
#include <string.h>

#include "agent/managed_private.h"
#include "agent/turnstile.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

static const struct services *services_of(const struct managed *m)
{
    return m->host->services;
}

/* Only its own CA knows it, and nobody any more when it is over. */
static bool can_ask(const struct managed *m)
{
    const struct generation_facts *f = &m->newest;

    return f->number > 0 && f->ari_id && f->directory && f->not_after > clock_now() &&
           strcmp(f->directory, m->certificate->issuer->directory) == 0;
}

void managed_stop_ari(struct managed *m)
{
    ari_free(take(m->ari));
    turnstile_leave(take(m->ari_pass));
    timer_free(take(m->ari_timer));
    m->ari_first = false;
}

/* One instant for each window: asking again does not roll the dice again. */
static void take_window(struct managed *m, const struct ari_answer *answer)
{
    struct schedule_ari *a = &m->schedule.ari;
    bool was_past = a->end > 0 && ari_is_past(a->end, clock_now());
    char at[CLOCK_TEXT_MAX];

    set_string(&a->url, xstrdup(answer->url));
    if (a->start == answer->start && a->end == answer->end)
        return;
    a->start = answer->start;
    a->end = answer->end;
    a->at = ari_choose(a->start, a->end, random_u32());
    clock_rfc3339(a->at, at);
    if (ari_is_past(a->end, clock_now()) && !was_past)
        log_warning("the CA wants the certificate to be renewed now", "certificate", m->name,
                    "explanation", a->url);
    else
        log_debug("renewal information", "certificate", m->name, "at", at);
}

static void on_answer(const struct ari_answer *answer, const struct err *e, void *userdata)
{
    struct managed *m = userdata;

    m->ari = NULL;
    m->ari_first = false;
    turnstile_leave(take(m->ari_pass));
    if (e) /* advisory: what was known stays, and the lifetime counts in any case */
        log_debug("no renewal information", "certificate", m->name, "error", e->text);
    else
        take_window(m, answer);
    m->schedule.ari.next_poll = answer->next_poll;
    managed_save_schedule(m);
    managed_follow_ari(m);
    if (!managed_is_busy(m))
        managed_consider(m);
}

static void on_pass(void *userdata)
{
    struct managed *m = userdata;
    struct issuer *issuer =
        m->host->issuer(m->config, m->certificate->issuer, NULL, m->host->userdata);

    if (issuer) {
        m->ari = ari_start(issuer_session(issuer), m->schedule.ari.cert_id, on_answer, m);
        return;
    }
    struct ari_answer none = {.next_poll = clock_now() + ARI_POLL_PRESET_S};
    auto_err struct err *e = NULL;
    err_set(&e, ERR_SYSTEM, "the account cannot be read");
    on_answer(&none, e, m);
}

static void on_time(void *userdata)
{
    struct managed *m = userdata;

    timer_free(take(m->ari_timer));
    if (can_ask(m))
        m->ari_pass = turnstile_enter(services_of(m)->polls, on_pass, m);
}

void managed_follow_ari(struct managed *m)
{
    if (!can_ask(m) || !m->started) {
        if (!m->ari_first)
            managed_stop_ari(m);
        return;
    }
    const char *known = m->schedule.ari.cert_id;
    if (known && strcmp(known, m->newest.ari_id) != 0)
        managed_stop_ari(m); /* the question was about the predecessor */
    schedule_bind_ari(&m->schedule, m->newest.ari_id);
    if (!m->ari_pass && !m->ari_timer)
        m->ari_timer = timer_at(services_of(m)->loop, m->schedule.ari.next_poll, on_time, m);
}

bool managed_ask_ari(struct managed *m)
{
    time_t now = clock_now();

    if (m->started || !tickets_ask_for_due(&m->tickets) || m->run != RUN_NONE || !can_ask(m))
        return false;
    schedule_bind_ari(&m->schedule, m->newest.ari_id);
    time_t next = m->schedule.ari.next_poll;
    if (next > now && next - now <= ARI_POLL_MAX_S) /* else the clock jumped */
        return false;
    m->ari_first = true;
    m->ari_pass = turnstile_enter(services_of(m)->polls, on_pass, m);
    return true;
}

/* RFC 9773 5: only the account that ordered it, at the CA that issued it. */
const char *managed_replaces(const struct managed *m, const struct issuer *issuer)
{
    const struct generation_facts *newest = &m->newest;
    const char *account = issuer_account(issuer);

    if (newest->number == 0 || !newest->directory || !newest->account || !account ||
        strcmp(newest->directory, issuer_directory(issuer)) != 0 ||
        strcmp(newest->account, account) != 0)
        return NULL;
    return newest->ari_id;
}
