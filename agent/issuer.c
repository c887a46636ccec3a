#include "agent/issuer.h"

#include <stdio.h>
#include <string.h>

#include "agent/metrics.h"
#include "base/clock.h"
#include "base/log.h"

struct issuer_wait {
    struct issuer *issuer;
    struct issuer_wait *next;
    struct timer *turn;
    issuer_fn *fn;
    void *userdata;
};

struct issuer {
    const struct services *services;
    char *name, *directory, *ca_file, *proxy;
    struct authority *authority;
    struct session *session;
    bool maybe_registered; /* newAccount may have reached the CA, but no account URL is on disk */
    struct issuer_wait *waits;
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
    key_job_free(i->making);
    save_free(i->saving);
    while (i->waits)
        issuer_wait_free(i->waits);
    session_free(i->session);
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

void issuer_wait_free(struct issuer_wait *w)
{
    if (!w)
        return;
    struct issuer_wait **at = &w->issuer->waits;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    timer_free(w->turn);
    free(w);
}

/* Tells one wait after the other; a callback may free others. */
static void waits_tell(struct issuer *i, const struct err *e)
{
    while (i->waits) {
        issuer_fn *fn = i->waits->fn;
        void *userdata = i->waits->userdata;
        issuer_wait_free(i->waits);
        fn(e, userdata);
    }
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
    waits_tell(i, NULL);
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

static void on_ready(void *userdata)
{
    struct issuer_wait *w = userdata;
    issuer_fn *fn = w->fn;
    void *data = w->userdata;
    issuer_wait_free(w);
    fn(NULL, data);
}

struct issuer_wait *issuer_prepare(struct issuer *i, issuer_fn *fn, void *userdata)
{
    struct issuer_wait *w = xcalloc(1, sizeof *w);

    w->issuer = i;
    w->fn = fn;
    w->userdata = userdata;
    w->next = i->waits;
    i->waits = w;
    if (session_key(i->session))
        w->turn = timer_after(i->services->loop, 0, on_ready, w);
    else if (!i->making && !i->saving)
        i->making = key_generate(i->services->worker, KEY_ECDSA_P256, on_key_made, i);
    return w;
}

struct save *issuer_save_account(struct issuer *i, const json_t *json, save_fn *fn, void *userdata)
{
    i->maybe_registered = false;
    limits_set_account(authority_limits(i->authority), json_str(json, "url"));
    authority_touch(i->authority);
    return state_save_account(i->services->state, i->directory, json, fn, userdata);
}
