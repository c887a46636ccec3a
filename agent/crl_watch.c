/* A shard is one list: URL and issuer. Its one timer leads to examining the list on disk (at the
 * start, for new followers) or to a fetch. */
#include "agent/crl_watch.h"

#include <string.h>

#include "agent/metrics.h"
#include "agent/turnstile.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"
#include "store/crl_file.h"

#define CHECK_MAX_S (6 * 3600)
#define CHECK_MIN_S 5
#define RETRY_S     60
#define RETRY_MAX_S 3600
#define TIMEOUT_MS  60000
#define SETTLE_MS   100 /* followers come in crowds */

struct shard {
    struct crl_watch *watch;
    char *key, *url;
    struct cert *issuer;
    struct crl_follower *followers;
    char *etag, *last_modified;
    time_t this_update, next_update; /* 0: none was seen */
    time_t next_check;
    int failures;
    bool news;  /* somebody follows who was not looked up yet */
    bool known; /* what is on disk was looked at */
    struct timer *timer;
    struct turnstile_pass *pass;
    struct http_call *call;
    struct crl_job *job;
};

struct crl_follower {
    struct shard *shard;
    struct crl_follower *next, **at;
    char *serial;
    bool told;
    crl_follow_fn *fn;
    void *userdata;
};

struct crl_watch {
    const struct services *services;
    struct map *shards;
};

/* Life ---------------------------------------------------------------------------------------- */

static void shard_free(struct shard *s)
{
    timer_free(s->timer);
    turnstile_leave(s->pass);
    http_call_free(s->call);
    crl_job_free(s->job);
    cert_free(s->issuer);
    free(s->etag);
    free(s->last_modified);
    free(s->key);
    free(s->url);
    free(s);
}

struct crl_watch *crl_watch_new(const struct services *services)
{
    struct crl_watch *w = xcalloc(1, sizeof *w);

    w->services = services;
    w->shards = map_new();
    return w;
}

void crl_watch_free(struct crl_watch *w)
{
    if (!w)
        return;
    map_free(w->shards, NULL);
    free(w);
}

/* The plan ------------------------------------------------------------------------------------ */

static void on_time(void *userdata);

static void plan(struct shard *s)
{
    const struct services *services = s->watch->services;

    timer_free(take(s->timer));
    if (s->pass || s->job)
        return;
    if (s->news || !s->known)
        s->timer = timer_after(services->loop, SETTLE_MS, on_time, s);
    else
        s->timer = timer_at(services->loop, s->next_check, on_time, s);
}

static int64_t jittered(int64_t s)
{
    return s - (int64_t)((double)(s / 4) * ((double)random_u32() / 4294967296.0));
}

/* Half of what is left of the list, so that two fetches may fail before it is over. */
static void plan_good(struct shard *s, time_t checked_at)
{
    int64_t half = ((int64_t)s->next_update - checked_at) / 2;

    if (half > CHECK_MAX_S)
        half = CHECK_MAX_S;
    s->failures = 0;
    s->next_check = checked_at + jittered(half < CHECK_MIN_S ? CHECK_MIN_S : half);
}

static void failed(struct shard *s, const struct err *e)
{
    char next[CLOCK_TEXT_MAX];
    int64_t life = (int64_t)s->next_update - s->this_update;
    int64_t cap = life > 0 && life / 16 < RETRY_MAX_S ? life / 16 : RETRY_MAX_S;

    if (cap < CHECK_MIN_S)
        cap = CHECK_MIN_S;
    s->failures++;
    s->next_check = clock_now() +
                    backoff_delay(s->failures, cap < RETRY_S ? cap : RETRY_S, 2, cap, random_u32());
    metrics_count(s->watch->services->metrics, METRIC_CRL_FAILURES, 1, NULL);
    log_failure(s->failures == 1 ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, e,
                "revocation list not fetched", "url", s->url, "next_try",
                clock_rfc3339(s->next_check, next));
}

/* Examining ----------------------------------------------------------------------------------- */

static struct crl_follower *untold(const struct shard *s, const char *serial)
{
    for (struct crl_follower *f = s->followers; f; f = f->next) {
        if (!f->told && strcmp(f->serial, serial) == 0)
            return f;
    }
    return NULL;
}

/* A callback may end any follower, even the shard: the last thing that is done. */
static void tell(struct shard *s, const struct crl_result *r)
{
    struct crl_watch *w = s->watch;
    auto_free char *key = xstrdup(s->key);

    for (size_t i = 0; i < r->n; i++) {
        struct crl_follower *f;
        while (r->found[i].revoked && map_get(w->shards, key) == s &&
               (f = untold(s, r->found[i].serial_hex))) {
            f->told = true;
            f->fn(&r->found[i], f->userdata);
        }
    }
}

static void take_result(struct shard *s, const struct crl_result *r)
{
    s->this_update = r->this_update;
    s->next_update = r->next_update;
    set_string(&s->etag, xstrdup(r->etag));
    set_string(&s->last_modified, xstrdup(r->last_modified));
}

static void on_disk_examined(const struct crl_result *r, const struct err *e, void *userdata)
{
    struct shard *s = userdata;
    bool first = !s->known;

    (void)e; /* it is fetched then */
    s->job = NULL;
    s->known = true;
    if (!r) {
        s->next_check = clock_now();
        set_string(&s->etag, NULL);
        set_string(&s->last_modified, NULL);
        plan(s);
        return;
    }
    take_result(s, r);
    if (first)
        plan_good(s, r->fetched_at);
    plan(s);
    tell(s, r);
}

static void on_fetch_examined(const struct crl_result *r, const struct err *e, void *userdata)
{
    struct shard *s = userdata;

    s->job = NULL;
    if (!r) {
        failed(s, e);
        plan(s);
        return;
    }
    take_result(s, r);
    plan_good(s, clock_now());
    plan(s);
    tell(s, r);
}

static void examine(struct shard *s, const struct http_reply *reply)
{
    auto_strv struct strv serials = {0};

    s->news = false;
    for (const struct crl_follower *f = s->followers; f; f = f->next)
        strv_add(&serials, f->serial);
    struct crl_question q = {
        .url = s->url,
        .issuer = s->issuer,
        .body = reply ? xmemdup(reply->body, reply->body_len) : NULL,
        .body_len = reply ? reply->body_len : 0,
        .etag = reply ? http_header(reply, "etag") : NULL,
        .last_modified = reply ? http_header(reply, "last-modified") : NULL,
        .serials = &serials,
    };
    s->job =
        crl_examine(s->watch->services->state, &q, reply ? on_fetch_examined : on_disk_examined, s);
}

/* Fetching ------------------------------------------------------------------------------------ */

static void on_reply(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct shard *s = userdata;
    auto_err struct err *why = NULL;

    s->call = NULL;
    turnstile_leave(take(s->pass));
    if (reply && reply->status == 200) {
        examine(s, reply);
        return;
    }
    if (reply && reply->status == 304 && s->next_update > clock_now()) {
        plan_good(s, clock_now());
        plan(s);
        return;
    }
    if (reply && reply->status == 304) { /* it says that what is over has not changed */
        set_string(&s->etag, NULL);
        set_string(&s->last_modified, NULL);
    }
    if (reply)
        err_set(&why, ERR_TRANSIENT, "%s answers %ld", s->url, reply->status);
    failed(s, why ? why : e);
    plan(s);
}

static void on_pass(void *userdata)
{
    struct shard *s = userdata;
    auto_free char *match = s->etag ? xasprintf("If-None-Match: %s", s->etag) : NULL;
    auto_free char *since =
        s->last_modified ? xasprintf("If-Modified-Since: %s", s->last_modified) : NULL;
    const char *headers[3] = {match ? match : since, match ? since : NULL, NULL};
    struct http_request request = {
        .method = "GET",
        .url = s->url,
        .headers = headers,
        .body_max = CRL_MAX,
        .timeout_ms = TIMEOUT_MS,
        .allow_http = true,
    };

    s->call = http_start(s->watch->services->http, &request, on_reply, s);
}

static void on_time(void *userdata)
{
    struct shard *s = userdata;

    timer_free(take(s->timer));
    if (s->news || !s->known)
        examine(s, NULL);
    else if (s->next_check <= clock_now())
        s->pass = turnstile_enter(s->watch->services->staples, on_pass, s);
    else
        plan(s);
}

/* Following ----------------------------------------------------------------------------------- */

static struct shard *shard_get(struct crl_watch *w, const char *url, const struct cert *issuer)
{
    auto_free char *key = xasprintf("%s %s", issuer->sha256_hex, url);
    struct shard *s = map_get(w->shards, key);

    if (s)
        return s;
    s = xcalloc(1, sizeof *s);
    s->watch = w;
    s->url = xstrdup(url);
    s->issuer = cert_from_der(issuer->der, issuer->der_len, NULL);
    map_set(w->shards, key, s);
    s->key = take(key);
    return s;
}

struct crl_follower *crl_follow(struct crl_watch *w, const struct strv *urls,
                                const struct cert *issuer, const char *serial_hex,
                                crl_follow_fn *fn, void *userdata)
{
    struct shard *s = shard_get(w, urls->items[0], issuer);
    struct crl_follower *f = xcalloc(1, sizeof *f);

    *f = (struct crl_follower){
        .shard = s, .next = s->followers, .at = &s->followers, .fn = fn, .userdata = userdata};
    f->serial = xstrdup(serial_hex);
    if (f->next)
        f->next->at = &f->next;
    s->followers = f;
    s->news = true;
    plan(s);
    return f;
}

void crl_unfollow(struct crl_follower *f)
{
    if (!f)
        return;
    struct shard *s = f->shard;

    *f->at = f->next;
    if (f->next)
        f->next->at = f->at;
    free(f->serial);
    free(f);
    if (s->followers)
        return;
    map_remove(s->watch->shards, s->key);
    shard_free(s);
}

time_t crl_follower_next_update(const struct crl_follower *f)
{
    return f->shard->next_update;
}
