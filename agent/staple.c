/* One timer for the next fetch or the withdrawal, whatever comes first; each end of something comes
 * back to plan(). */
#include <string.h>

#include "agent/metrics.h"
#include "agent/staple_private.h"
#include "agent/turnstile.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/staple.h"

#define ALARM_AFTER 3 /* failures without a staple, when the certificate is not new */

struct staple {
    const struct services *services;
    char *certificate;
    struct staple_events events;
    const struct config_certificate *config; /* borrowed; replaced by staple_follow */
    int64_t number;                          /* of the generation; 0: none */
    char *sha256;
    struct strv urls;
    time_t not_before;
    struct staple_facts facts;
    bool started, told_revoked;
    bool unread;     /* what is on disk was not looked at yet */
    bool introduced; /* the owner was told of what is known */
    struct timer *timer;
    struct turnstile_pass *pass;
    struct ocsp_fetch *fetch;
    struct save *save;
};

static void stop(struct staple *s)
{
    timer_free(take(s->timer));
    turnstile_leave(take(s->pass));
    ocsp_fetch_free(take(s->fetch));
    save_free(take(s->save));
}

void staple_free(struct staple *s)
{
    if (!s)
        return;
    stop(s);
    staple_facts_done(&s->facts);
    strv_done(&s->urls);
    free(s->sha256);
    free(s->certificate);
    free(s);
}

static void find_responders(struct staple *s)
{
    staple_responders(s->config, &s->facts.ocsp_urls, &s->urls);
    s->facts.wanted = s->urls.n > 0;
}

/* What is kept of it. Not at the start, when there may be thousands: when somebody wants to know,
 * or when its turn comes. */
static void read_kept(struct staple *s)
{
    if (!s->unread || !staple_facts_load(s->services->state, s->certificate, s->sha256, &s->facts))
        return;
    s->unread = false;
    find_responders(s);
}

const struct staple_facts *staple_facts(struct staple *s)
{
    read_kept(s);
    return &s->facts;
}

bool staple_says_revoked(const struct staple *s)
{
    return s->facts.status == OCSP_STATUS_REVOKED;
}

static void keep(struct staple *s)
{
    staple_facts_save(s->services->state, s->certificate, s->sha256, &s->facts);
}

static struct staple_times held_times(const struct staple *s)
{
    return (struct staple_times){s->facts.this_update, s->facts.next_update};
}

/* The plan ------------------------------------------------------------------------------------ */

static void on_time(void *userdata);
static void on_pass(void *userdata);

static void plan(struct staple *s)
{
    time_t at = s->facts.next_fetch;

    timer_free(take(s->timer));
    if (!s->started || s->number == 0 || s->pass || s->save)
        return;
    if (!s->introduced)
        s->pass = turnstile_enter(s->services->staples, on_pass, s);
    if (!s->introduced || s->urls.n == 0)
        return;
    if (s->facts.held && staple_withdraw_at(held_times(s)) < at)
        at = staple_withdraw_at(held_times(s));
    s->timer = timer_at(s->services->loop, at, on_time, s);
}

static void on_withdrawn(const struct err *e, void *userdata)
{
    struct staple *s = userdata;

    s->save = NULL;
    if (e)
        log_failure(LOG_LEVEL_ERROR, e, "staple not withdrawn", "certificate", s->certificate);
    else
        s->events.changed(s->events.userdata);
    plan(s);
}

static void withdraw(struct staple *s, const char *why)
{
    char end[CLOCK_TEXT_MAX];

    log_warning("staple withdrawn", "certificate", s->certificate, "reason", why, "next_update",
                clock_rfc3339(s->facts.next_update, end), "error",
                s->facts.error ? s->facts.error->text : NULL);
    state_history_add(s->services->state, s->certificate, "staple-withdrawn", NULL, why);
    s->facts.held = false;
    keep(s);
    s->save = staple_save(s->services->state, s->certificate, s->number, NULL, 0, on_withdrawn, s);
}

/* What was heard ------------------------------------------------------------------------------ */

static void on_saved(const struct err *e, void *userdata)
{
    struct staple *s = userdata;

    s->save = NULL;
    if (e) {
        log_failure(LOG_LEVEL_ERROR, e, "staple not saved", "certificate", s->certificate);
        err_free(s->facts.error);
        s->facts.error = err_copy(e);
        s->facts.held = false; /* what is on disk now is looked at by the next start */
        s->facts.next_fetch = clock_now() + 60;
        plan(s);
        return;
    }
    s->facts.held = true;
    keep(s);
    s->events.changed(s->events.userdata);
    plan(s);
}

static void tell_failure(struct staple *s)
{
    const struct staple_facts *f = &s->facts;
    time_t now = clock_now();
    bool late = f->held && now >= f->this_update + (f->next_update - f->this_update) / 4 * 3;
    bool missing = !f->held && f->failures >= ALARM_AFTER && !staple_is_young(s->not_before, now);
    char next[CLOCK_TEXT_MAX];

    metrics_count(s->services->metrics, METRIC_STAPLE_FAILURES, 1, s->certificate, NULL);
    log_failure(late || missing ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, f->error, "no new staple",
                "certificate", s->certificate, "next_try", clock_rfc3339(f->next_fetch, next));
}

static void tell_revoked(struct staple *s)
{
    char at[CLOCK_TEXT_MAX];

    if (s->told_revoked)
        return;
    s->told_revoked = true;
    log_error("certificate revoked", "certificate", s->certificate, "source", "ocsp", "reason",
              s->facts.reason, "revoked_at", clock_rfc3339(s->facts.revoked_at, at));
    state_history_add(s->services->state, s->certificate, "revoked", NULL, s->facts.reason);
    s->events.revoked(s->events.userdata);
}

static void on_fetched(const struct ocsp_fetched *f, const struct err *e, void *userdata)
{
    struct staple *s = userdata;
    time_t now = clock_now();

    s->fetch = NULL;
    turnstile_leave(take(s->pass));
    if (f && f->answer.beyond_leaf)
        log_warning("the OCSP response claims to outlive the certificate", "certificate",
                    s->certificate, "responder", f->url);
    if (staple_facts_hear(&s->facts, f, e, s->not_before, now)) {
        log_info("staple refreshed", "certificate", s->certificate, "responder", f->url);
        s->save = staple_save(s->services->state, s->certificate, s->number, f->der, f->der_len,
                              on_saved, s);
        return;
    }
    if (s->facts.failures > 0)
        tell_failure(s);
    if (s->facts.status == OCSP_STATUS_REVOKED && s->facts.held)
        withdraw(s, "revoked");
    else
        keep(s);
    if (s->facts.status == OCSP_STATUS_REVOKED)
        tell_revoked(s);
    plan(s);
}

/* The certificate itself is read once: what it says of responders is kept with the rest. But a file
 * that nobody knows of, left by a kill between the two or by an earlier life of the generation, is
 * read as well: nginx would serve it beyond its end. */
static void read_files(struct staple *s)
{
    auto_buf struct buf der = {0};
    struct state *state = s->services->state;
    bool there = !s->facts.held && staple_load(state, s->certificate, s->number, &der, NULL);

    if (!s->unread && !there)
        return;
    struct generation *g = generation_load(state, s->certificate, s->number, NULL);
    if (!g)
        return;
    if (s->unread) {
        staple_facts_done(&s->facts);
        staple_facts_read(state, s->config, g, &s->facts);
    } else {
        struct staple_facts found;
        staple_facts_read(state, s->config, g, &found);
        s->facts.held = found.held && s->facts.status != OCSP_STATUS_REVOKED;
        s->facts.this_update = found.this_update;
        s->facts.next_update = found.next_update;
        set_string(&s->facts.id, take(found.id));
        staple_facts_done(&found);
    }
    generation_unref(g);
    find_responders(s);
    keep(s);
    if (there && !s->facts.held)
        s->save = staple_save(state, s->certificate, s->number, NULL, 0, on_withdrawn, s);
}

static void introduce(struct staple *s)
{
    read_kept(s);
    read_files(s);
    s->unread = false;
    s->introduced = true;
    turnstile_leave(take(s->pass));
    if (s->facts.held && s->urls.n == 0 && !s->save)
        withdraw(s, "nobody is asked any more");
    plan(s);
    s->events.known(s->events.userdata);
}

static void on_pass(void *userdata)
{
    struct staple *s = userdata;
    auto_err struct err *e = NULL;

    if (!s->introduced) {
        introduce(s);
        return;
    }
    struct generation *g = generation_load(s->services->state, s->certificate, s->number, &e);
    if (!g || g->chain->n < 2) {
        if (!e)
            err_set(&e, ERR_REFUSED, "the CA sent no certificate of the issuer");
        generation_unref(g);
        on_fetched(NULL, e, s);
        return;
    }
    struct ocsp_question q = {
        .leaf = g->chain->items[0],
        .issuer = g->chain->items[1],
        .urls = &s->urls,
        .hash = s->config->ocsp_hash,
        .held = s->facts.held ? s->facts.this_update : 0,
    };
    s->fetch = ocsp_fetch_start(s->services, &q, on_fetched, s);
    generation_unref(g);
}

static void on_time(void *userdata)
{
    struct staple *s = userdata;
    time_t now = clock_now();

    timer_free(take(s->timer));
    if (s->facts.held && staple_withdraw_at(held_times(s)) <= now) {
        withdraw(s, "no fresh one could be had");
        return;
    }
    if (s->facts.next_fetch <= now)
        s->pass = turnstile_enter(s->services->staples, on_pass, s);
    else
        plan(s);
}

/* Public -------------------------------------------------------------------------------------- */

struct staple *staple_new(const struct services *services, const char *certificate,
                          const struct staple_events *events)
{
    struct staple *s = xcalloc(1, sizeof *s);

    s->services = services;
    s->certificate = xstrdup(certificate);
    s->events = *events;
    staple_facts_done(&s->facts);
    return s;
}

static bool same_text(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

bool staple_follow(struct staple *s, const struct config_certificate *c,
                   const struct generation_facts *live, bool start)
{
    const char *sha256 = live->number > 0 ? live->sha256 : "";
    bool same = same_text(s->sha256, sha256);

    if (same && s->config == c && s->started == start)
        return false;
    stop(s);
    s->config = c;
    s->started = start;
    if (!same) {
        set_string(&s->sha256, xstrdup(sha256));
        s->number = live->number;
        s->not_before = live->created_at;
        s->told_revoked = false;
        s->unread = s->number > 0;
        staple_facts_done(&s->facts);
    }
    if (!s->unread)
        find_responders(s);
    s->introduced = false;
    plan(s);
    return true;
}
