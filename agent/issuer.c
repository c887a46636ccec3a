#include "agent/issuer.h"

#include <stdio.h>
#include <string.h>

#include "agent/key_change.h"
#include "agent/metrics.h"
#include "base/clock.h"
#include "base/log.h"

struct issuer_wait {
    struct issuer *issuer;
    struct issuer_wait *next;
    issuer_fn *fn;
    void *userdata;
};

struct issuer {
    const struct services *services;
    char *name, *directory, *ca_file, *proxy;
    struct authority *authority;
    struct session *session;
    bool maybe_registered; /* newAccount may have reached the CA, but no account URL is on disk */
    bool deactivated;      /* the account, on request */
    struct issuer_wait *waits;
    struct issuer_wait *rollovers; /* who wait for another key */
    struct timer *turn;
    struct key *pending; /* the CA may know this one as the account's: nothing is signed before */
    struct key_change *change;
    struct key *new_key; /* being saved */
    struct key_job *making;
    struct save *saving;
};

static void on_exchange(const char *operation, int code, int64_t took_ms, void *userdata)
{
    struct issuer *i = userdata;
    char text[16];

    authority_answered(i->authority, code);
    snprintf(text, sizeof text, "%d", code);
    metrics_count(i->services->metrics, METRIC_ACME_REQUESTS, 1, i->name, operation, text, NULL);
    metrics_observe(i->services->metrics, METRIC_ACME_DURATION, i->name, took_ms);
}

/* A Date of whole seconds that was under way for a while: a second of difference is none. */
static void on_date(time_t date, void *userdata)
{
    struct issuer *i = userdata;
    int64_t skew = (int64_t)clock_now() - (int64_t)date;

    authority_dated(i->authority, date);
    metrics_set(i->services->metrics, METRIC_CLOCK_SKEW, skew == 1 ? 0 : skew, i->name, NULL);
}

static struct account_share *share_of(const struct issuer *i)
{
    return authority_share(i->authority);
}

static void join(struct issuer *i)
{
    struct account_share *s = share_of(i);

    s->members = xreallocarray(s->members, s->n_members + 1, sizeof(struct issuer *));
    s->members[s->n_members++] = i;
}

static void quit(struct issuer *i)
{
    struct account_share *s = share_of(i);
    size_t kept = 0;

    for (size_t k = 0; k < s->n_members; k++) {
        if (s->members[k] != i)
            s->members[kept++] = s->members[k];
    }
    s->n_members = kept;
    if (s->changing == i)
        s->changing = NULL;
}

struct issuer *issuer_new(const struct services *services, const struct config_issuer *config,
                          struct authority *authority, int64_t timeout_s, struct err **err)
{
    struct account_record record = {0};

    if (!state_load_account(services->state, config->directory, &record, err)) {
        err_wrap(err, "account of issuer %s", config->name);
        return NULL;
    }
    struct issuer *i = xcalloc(1, sizeof *i);
    i->services = services;
    i->authority = authority;
    i->name = xstrdup(config->name);
    i->directory = xstrdup(config->directory);
    i->ca_file = xstrdup(config->ca_file);
    i->proxy = xstrdup(config->proxy);
    i->session = session_new(&(struct session_settings){
        .loop = services->loop,
        .worker = services->worker,
        .http = services->http,
        .directory_url = i->directory,
        .ca_file = i->ca_file,
        .proxy = i->proxy,
        .timeout_ms = timeout_s * 1000,
        .gate = authority_gate(authority),
        .on_exchange = on_exchange,
        .on_date = on_date,
        .userdata = i,
    });
    const char *status = json_str(record.json, "status");
    i->deactivated = status && strcmp(status, "deactivated") == 0;
    join(i);
    if (record.key && json_str(record.json, "url"))
        i->pending = take(record.next_key);
    if (record.key) {
        session_set_account(i->session, record.key, json_str(record.json, "url"));
        i->maybe_registered = !json_str(record.json, "url");
        limits_set_account(authority_limits(authority), json_str(record.json, "url"));
    }
    account_record_done(&record);
    return i;
}

void issuer_free(struct issuer *i)
{
    if (!i)
        return;
    quit(i);
    key_job_free(i->making);
    save_free(i->saving);
    key_change_free(i->change);
    while (i->waits)
        issuer_wait_free(i->waits);
    while (i->rollovers)
        issuer_wait_free(i->rollovers);
    timer_free(i->turn);
    session_free(i->session);
    key_unref(i->pending);
    key_unref(i->new_key);
    free(i->name);
    free(i->directory);
    free(i->ca_file);
    free(i->proxy);
    free(i);
}

static bool same(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool issuer_fits(const struct issuer *i, const struct config_issuer *config)
{
    return same(i->name, config->name) && same(i->directory, config->directory) &&
           same(i->ca_file, config->ca_file) && same(i->proxy, config->proxy);
}

const char *issuer_name(const struct issuer *i)
{
    return i->name;
}

struct session *issuer_session(struct issuer *i)
{
    return i->session;
}

struct authority *issuer_authority(struct issuer *i)
{
    return i->authority;
}

const char *issuer_account(const struct issuer *i)
{
    return session_account_url(i->session);
}

bool issuer_begin_registration(struct issuer *i)
{
    bool maybe = i->maybe_registered;

    i->maybe_registered = !issuer_account(i);
    return maybe;
}

const char *issuer_directory(const struct issuer *i)
{
    return i->directory;
}

bool issuer_is_busy(const struct issuer *i)
{
    return i->waits || i->rollovers || i->change || share_of(i)->users > 0;
}

bool issuer_is_deactivated(const struct issuer *i)
{
    return i->deactivated;
}

/* Waiting -------------------------------------------------------------------------------------- */

static void on_turn(void *userdata);

static void poke(struct issuer *i)
{
    if (!i->turn)
        i->turn = timer_after(i->services->loop, 0, on_turn, i);
}

static void poke_all(struct account_share *s)
{
    for (size_t k = 0; k < s->n_members; k++)
        poke(s->members[k]);
}

static void unlink_wait(struct issuer_wait **at, const struct issuer_wait *w)
{
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
}

void issuer_wait_free(struct issuer_wait *w)
{
    if (!w)
        return;
    unlink_wait(&w->issuer->waits, w);
    unlink_wait(&w->issuer->rollovers, w);
    poke(w->issuer); /* others may have waited for what is not wanted any more */
    free(w);
}

/* Tells one wait after the other; a callback may free others. */
static void tell(struct issuer_wait **list, const struct err *e)
{
    while (*list) {
        issuer_fn *fn = (*list)->fn;
        void *userdata = (*list)->userdata;
        issuer_wait_free(*list);
        fn(e, userdata);
    }
}

static void waits_tell(struct issuer *i, const struct err *e)
{
    tell(&i->waits, e);
}

static void on_key_saved(const struct err *e, void *userdata)
{
    struct issuer *i = userdata;

    i->saving = NULL;
    if (e) {
        auto_err struct err *copy = err_copy(e);
        err_wrap(&copy, "saving the account key of issuer %s", i->name);
        err_step(&copy, "account");
        key_unref(take(i->new_key));
        waits_tell(i, copy);
        return;
    }
    session_set_account(i->session, i->new_key, NULL);
    key_unref(take(i->new_key));
    log_info("account key made", "issuer", i->name);
    poke(i);
}

static void on_key_made(struct key *key, const struct err *e, void *userdata)
{
    struct issuer *i = userdata;

    i->making = NULL;
    if (e) {
        waits_tell(i, e);
        return;
    }
    i->new_key = key;
    i->saving = state_save_account_key(i->services->state, i->directory, key, on_key_saved, i);
}

/* What the CA knows now is so for every issuer of the directory; so is the doubt. */
static void share_key(struct issuer *i)
{
    struct account_share *s = share_of(i);

    for (size_t k = 0; k < s->n_members; k++) {
        struct issuer *other = s->members[k];
        if (other == i)
            continue;
        key_unref(take(other->pending));
        if (i->pending)
            other->pending = key_ref(i->pending);
        else
            session_set_account(other->session, session_key(i->session), issuer_account(i));
    }
}

static void on_changed(enum rollover_result result, struct key *pending, const struct err *e,
                       void *userdata)
{
    struct issuer *i = userdata;
    struct account_share *s = share_of(i);
    bool resolved = i->pending != NULL;

    i->change = NULL;
    key_unref(take(i->pending));
    i->pending = pending;
    s->changing = NULL;
    share_key(i);
    if (e)
        log_failure(LOG_LEVEL_ERROR, e, "account key not changed", "issuer", i->name);
    else if (result == ROLLOVER_NEW)
        log_info("account key changed", "issuer", i->name);
    if (result == ROLLOVER_UNKNOWN)
        waits_tell(i, e);
    if (result == ROLLOVER_UNKNOWN || !resolved)
        tell(&i->rollovers, e);
    poke_all(s);
}

static void start_change(struct issuer *i)
{
    struct key_change_settings settings = {
        .services = i->services,
        .directory = i->directory,
        .session = i->session,
        .pending = i->pending,
    };

    i->change = key_change_start(&settings, on_changed, i);
}

static void tell_ready(struct issuer *i)
{
    auto_err struct err *e = NULL;

    if (i->deactivated) {
        err_set(&e, ERR_CONFIG, "the account of issuer %s was deactivated", i->name);
        err_hint(&e, "remove its folder from accounts/ in the state directory to register anew");
    }
    waits_tell(i, e);
}

/* Whether it is for us to change the key, as somebody waits for it. */
static bool claim_change(struct issuer *i)
{
    struct account_share *s = share_of(i);
    bool wanted = i->rollovers || (i->pending && i->waits);

    if (wanted && !s->changing) {
        s->changing = i;
    } else if (!wanted && s->changing == i) {
        s->changing = NULL;
        poke_all(s);
    }
    return wanted;
}

/* The key is changed, or the change resolved, when somebody waits for it and nobody works with it;
 * then those who want to work go on. */
static void on_turn(void *userdata)
{
    struct issuer *i = userdata;
    struct account_share *s = share_of(i);

    timer_free(take(i->turn));
    if (i->change || i->making || i->saving)
        return;
    bool wanted = claim_change(i);
    if (s->changing && s->changing != i)
        return; /* it pokes us */
    if (wanted) {
        if (s->users == 0)
            start_change(i);
    } else if (i->waits && !session_key(i->session)) {
        i->making = key_generate(i->services->worker, KEY_ECDSA_P256, on_key_made, i);
    } else {
        tell_ready(i);
    }
}

static struct issuer_wait *add_wait(struct issuer *i, struct issuer_wait **list, issuer_fn *fn,
                                    void *userdata)
{
    struct issuer_wait *w = xcalloc(1, sizeof *w);

    *w = (struct issuer_wait){.issuer = i, .next = *list, .fn = fn, .userdata = userdata};
    *list = w;
    poke(i);
    return w;
}

struct issuer_wait *issuer_prepare(struct issuer *i, issuer_fn *fn, void *userdata)
{
    return add_wait(i, &i->waits, fn, userdata);
}

struct issuer_wait *issuer_rollover(struct issuer *i, issuer_fn *fn, void *userdata)
{
    return add_wait(i, &i->rollovers, fn, userdata);
}

void issuer_enter(struct issuer *i)
{
    share_of(i)->users++;
}

void issuer_leave(struct issuer *i)
{
    struct account_share *s = share_of(i);

    s->users--;
    if (s->users == 0 && s->changing)
        poke(s->changing);
}

struct save *issuer_save_account(struct issuer *i, const json_t *json, save_fn *fn, void *userdata)
{
    i->maybe_registered = false;
    limits_set_account(authority_limits(i->authority), json_str(json, "url"));
    authority_touch(i->authority);
    return state_save_account(i->services->state, i->directory, json, fn, userdata);
}

struct save *issuer_save_deactivated(struct issuer *i, const json_t *json, save_fn *fn,
                                     void *userdata)
{
    struct account_share *s = share_of(i);

    for (size_t k = 0; k < s->n_members; k++)
        s->members[k]->deactivated = true;
    return issuer_save_account(i, json, fn, userdata);
}
