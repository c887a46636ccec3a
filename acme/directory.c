/* Strategy: one fetch for all who wait. Everybody is told on a turn of their own, from the cache,
 * too, so that callers have one way to be called. */
#include "acme/directory.h"

#include <string.h>

#include "acme/exchange.h"
#include "acme/problem.h"
#include "acme/request.h"
#include "acme/session_private.h"
#include "acme/url.h"
#include "base/clock.h"

#define FRESH_S      3600
#define PROFILES_MAX 64

struct directory_wait {
    struct session *session; /* NULL when that was freed */
    struct directory_wait *next;
    struct timer *turn; /* armed once it is known what to tell */
    struct err *err;
    directory_fn *fn;
    void *userdata;
};

static void directory_free(struct directory *d)
{
    if (!d)
        return;
    free(d->new_nonce);
    free(d->new_account);
    free(d->new_order);
    free(d->revoke_cert);
    free(d->key_change);
    free(d->renewal_info);
    free(d->terms);
    strv_done(&d->profiles);
    free(d);
}

/* Parsing -------------------------------------------------------------------------------------- */

static bool read_url(const json_t *o, const char *name, bool needed, char **ret, struct err **err)
{
    const char *url = NULL;
    auto_err struct err *e = NULL;

    if (!json_opt_string(o, name, &url, &e)) {
        if (e)
            return err_move(err, &e);
        return needed ? err_set(err, ERR_REFUSED, "no \"%s\" in it: is it an ACME directory?", name)
                      : true;
    }
    if (!url_check(url, name, err))
        return false;
    *ret = xstrdup(url);
    return true;
}

/* meta is informative: what has an unexpected type there counts as absent. */
static void read_meta(const json_t *meta, struct directory *d)
{
    json_t *profiles = json_get(meta, "profiles");
    const char *name;
    json_t *value;

    d->terms = xstrdup(json_str(meta, "termsOfService"));
    d->eab_required = json_bool(meta, "externalAccountRequired");
    if (!json_is_object(profiles))
        return;
    json_object_foreach(profiles, name, value)
    {
        if (d->profiles.n < PROFILES_MAX)
            strv_add(&d->profiles, name);
    }
}

static struct directory *directory_parse(const json_t *o, struct err **err)
{
    struct directory *d = xcalloc(1, sizeof(*d));

    if (!read_url(o, "newNonce", true, &d->new_nonce, err) ||
        !read_url(o, "newAccount", true, &d->new_account, err) ||
        !read_url(o, "newOrder", true, &d->new_order, err) ||
        !read_url(o, "revokeCert", false, &d->revoke_cert, err) ||
        !read_url(o, "keyChange", false, &d->key_change, err) ||
        !read_url(o, "renewalInfo", false, &d->renewal_info, err)) {
        directory_free(d);
        return NULL;
    }
    read_meta(json_get(o, "meta"), d);
    d->fetched_at = clock_now();
    return d;
}

static struct directory *judge_directory(const struct http_reply *reply, struct err **err)
{
    auto_free char *type = exchange_media_type(reply);

    if (reply->status < 200 || reply->status > 299) {
        err_from_problem(err, (int)reply->status, type, reply->body, reply->body_len,
                         http_header(reply, "retry-after"), clock_now());
        return NULL;
    }
    if (!media_type_is_json(type)) {
        err_set(err, ERR_REFUSED, "%s instead of JSON: is it an ACME directory?",
                *type ? type : "no content type");
        return NULL;
    }
    auto_json json_t *o = json_parse(reply->body, reply->body_len, err);
    if (o && !json_is_object(o))
        err_set(err, ERR_REFUSED, "no JSON object: is it an ACME directory?");
    return json_is_object(o) ? directory_parse(o, err) : NULL;
}

/* Waiting -------------------------------------------------------------------------------------- */

static void wait_unlink(struct directory_wait *w)
{
    struct directory_wait **at = w->session ? &w->session->directory_waits : NULL;

    while (at && *at && *at != w)
        at = &(*at)->next;
    if (at && *at)
        *at = w->next;
}

void directory_wait_free(struct directory_wait *w)
{
    if (!w)
        return;
    wait_unlink(w);
    timer_free(w->turn);
    err_free(w->err);
    free(w);
}

static void wait_finish(struct directory_wait *w)
{
    const struct directory *d = w->err ? NULL : w->session->directory;
    auto_err struct err *e = take(w->err);
    directory_fn *fn = w->fn;
    void *userdata = w->userdata;

    directory_wait_free(w);
    fn(d, e, userdata);
}

/* A callback may free other waits, or the session. */
static void on_turn(void *userdata)
{
    struct directory_wait *w = userdata;

    if (!w->err && !w->session->directory)
        err_set(&w->err, ERR_TRANSIENT, "the CA's directory was given up while it was waited for");
    wait_finish(w);
}

static void tell(struct directory_wait *w, const struct err *e)
{
    w->err = err_copy(e);
    w->turn = timer_after(w->session->settings.loop, 0, on_turn, w);
}

static void on_fetched(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct session *s = userdata;
    auto_err struct err *failure = err_copy(e);
    struct directory *d = reply ? judge_directory(reply, &failure) : NULL;

    s->directory_fetch = NULL;
    if (reply)
        nonces_put(&s->nonces, http_header(reply, "replay-nonce"), clock_boot_ms());
    if (d) {
        session_forget_directory(s);
        s->directory = d;
    } else {
        if (reply)
            err_wrap(&failure, "directory %s", s->settings.directory_url);
        if (failure->kind == ERR_REFUSED && !failure->hint)
            err_hint(&failure, "check `directory` of the issuer");
        session_note(s, failure);
    }
    for (struct directory_wait *w = s->directory_waits; w; w = w->next) {
        if (!w->turn)
            tell(w, failure);
    }
}

static bool is_fresh(const struct directory *d)
{
    int64_t age = d ? clock_now() - d->fetched_at : 0; /* negative after a step of the clock */

    return d && age >= 0 && age < FRESH_S;
}

struct directory_wait *directory_get(struct session *s, directory_fn *fn, void *userdata)
{
    struct directory_wait *w = xcalloc(1, sizeof(*w));
    auto_err struct err *e = NULL;

    w->session = s;
    w->fn = fn;
    w->userdata = userdata;
    w->next = s->directory_waits;
    s->directory_waits = w;
    if (is_fresh(s->directory) || session_is_paused(s, &e))
        tell(w, e);
    else if (!s->directory_fetch)
        s->directory_fetch =
            exchange_start(s,
                           &(struct exchange_spec){.operation = "directory",
                                                   .method = "GET",
                                                   .url = s->settings.directory_url,
                                                   .accept = "application/json"},
                           on_fetched, s);
    return w;
}

const struct directory *session_directory(const struct session *s)
{
    return s->directory;
}

void session_forget_directory(struct session *s)
{
    directory_free(take(s->directory));
}

void session_cancel_directory(struct session *s)
{
    exchange_free(take(s->directory_fetch));
    while (s->directory_waits) {
        struct directory_wait *w = s->directory_waits;
        s->directory_waits = w->next;
        timer_free(take(w->turn));
        w->session = NULL;
    }
}
