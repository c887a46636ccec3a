/* Strategy: nonce (pool, else the badNonce reply's own, else newNonce) -> sign -> POST -> reply. A
 * badNonce goes back to the start of that chain with the header and payload made once. */
#include "acme/request_private.h"

#include <string.h>

#include "acme/exchange.h"
#include "acme/jws.h"
#include "acme/link.h"
#include "acme/problem.h"
#include "acme/session_private.h"
#include "acme/url.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"

/* badNonce: so many tries with the nonce that came with the refusal, then with one asked for. */
#define TRIES_OFFERED_MAX 5
#define TRIES_MAX         10

struct request {
    struct session *session; /* NULL when that was freed */
    struct request *next;
    const char *operation;
    char *url, *accept;
    char *payload; /* base64url */
    enum request_key key;
    request_fn *fn;
    void *userdata;

    int tries;
    char *nonce;
    char *signing_input;
    struct directory_wait *directory_wait; /* one of these is under way */
    struct exchange *exchange;
    struct key_job *signing;
    struct timer *turn;
    struct err *err; /* to be told on `turn` */
    bool called;
};

static void request_unlink(struct request *r)
{
    struct request **at = r->session ? &r->session->requests : NULL;

    while (at && *at && *at != r)
        at = &(*at)->next;
    if (at && *at)
        *at = r->next;
    r->session = NULL;
}

static void request_stop(struct request *r)
{
    directory_wait_free(take(r->directory_wait));
    exchange_free(take(r->exchange));
    key_job_free(take(r->signing));
    timer_free(take(r->turn));
}

static void request_end(struct request *r)
{
    free(r->url);
    free(r->accept);
    free(r->payload);
    free(r->nonce);
    free(r->signing_input);
    err_free(r->err);
    free(r);
}

static void request_finish(struct request *r, const struct reply *reply, const struct err *e)
{
    request_unlink(r);
    r->called = true;
    r->fn(reply, e, r->userdata);
    request_stop(r);
    request_end(r);
}

/* The reply ------------------------------------------------------------------------------------ */

/* What the problem document alone cannot say: where, and the link to the terms (RFC 8555 7.3.3). */
static void refine_error(const struct request *r, const struct http_reply *reply, struct err **e)
{
    auto_free char *host = url_host(r->url);

    if (err_is_problem(*e, "userActionRequired")) {
        auto_strv struct strv terms = {0};
        link_find(reply, "terms-of-service", r->url, &terms);
        if (terms.n > 0)
            err_hint(e, "%s; the terms: %.500s", (*e)->hint, terms.items[0]);
    }
    err_wrap(e, "%s at %s", r->operation, host);
}

static void finish_refused(struct request *r, const struct http_reply *reply, struct err **e)
{
    nonces_put(&r->session->nonces, http_header(reply, "replay-nonce"), clock_boot_ms());
    refine_error(r, reply, e);
    session_note(r->session, *e);
    request_finish(r, NULL, *e);
}

static void finish_accepted(struct request *r, const struct http_reply *reply)
{
    auto_free char *type = exchange_media_type(reply);
    auto_json json_t *json = NULL;
    auto_err struct err *e = NULL;
    struct reply result = {
        .url = r->url,
        .status = (int)reply->status,
        .body = reply->body,
        .body_len = reply->body_len,
        .content_type = type,
        .retry_after = http_header(reply, "retry-after"),
    };
    const char *location = http_header(reply, "location");
    auto_free char *resolved = location ? url_resolve(r->url, location) : NULL;

    nonces_put(&r->session->nonces, http_header(reply, "replay-nonce"), clock_boot_ms());
    if (strcmp(type, "application/json") == 0) {
        json = json_parse(reply->body, reply->body_len, &e);
        if (!json) {
            refine_error(r, reply, &e);
            request_finish(r, NULL, e);
            return;
        }
    }
    result.json = json_is_object(json) ? json : NULL;
    result.location = resolved;
    link_find(reply, "alternate", r->url, &result.alternates);
    request_finish(r, &result, NULL);
    strv_done(&result.alternates);
}

/* The way -------------------------------------------------------------------------------------- */

static void request_next(struct request *r);

/* RFC 8555 6.5: the nonce that comes with the refusal is the one to use. */
static void retry_with_nonce(struct request *r, const struct http_reply *reply)
{
    const char *offered = http_header(reply, "replay-nonce");

    if (r->tries >= TRIES_OFFERED_MAX) /* whatever we have is of no use */
        nonces_clear(&r->session->nonces);
    else if (offered && enc_is_base64url(offered, NONCE_LEN_MAX))
        r->nonce = xstrdup(offered);
    request_next(r);
}

static void on_reply(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct request *r = userdata;
    auto_err struct err *failure = NULL;

    r->exchange = NULL;
    if (e) {
        request_finish(r, NULL, e);
        return;
    }
    if (reply->status >= 200 && reply->status <= 299) {
        finish_accepted(r, reply);
        return;
    }
    auto_free char *type = exchange_media_type(reply);
    err_from_problem(&failure, (int)reply->status, type, reply->body, reply->body_len,
                     http_header(reply, "retry-after"), clock_now());
    if (err_is_problem(failure, "badNonce") && ++r->tries < TRIES_MAX)
        retry_with_nonce(r, reply);
    else
        finish_refused(r, reply, &failure);
}

static void on_signed(const unsigned char *sig, size_t len, const struct err *e, void *userdata)
{
    struct request *r = userdata;

    r->signing = NULL;
    if (e) {
        auto_err struct err *copy = err_copy(e);
        err_wrap(&copy, "signing %s", r->operation);
        request_finish(r, NULL, copy);
        return;
    }
    auto_free char *body = jws_body(r->signing_input, sig, len);
    r->exchange = exchange_start(r->session,
                                 &(struct exchange_spec){.operation = r->operation,
                                                         .method = "POST",
                                                         .url = r->url,
                                                         .accept = r->accept,
                                                         .body = body},
                                 on_reply, r);
}

/* A key without an account: another order just found out that the CA does not know it any more. */
static bool set_no_account(const struct session *s, const char *operation, struct err **err)
{
    if (!s->key)
        return err_set(err, ERR_BUG, "%s: the session has no key", operation);
    return err_set(err, ERR_TRANSIENT, "%s: the account is being looked up again", operation);
}

static void sign(struct request *r)
{
    struct session *s = r->session;
    const char *header = r->key == REQUEST_KID ? s->header_kid : s->header_jwk;

    if (!header) {
        auto_err struct err *e = NULL;
        set_no_account(s, r->operation, &e);
        request_finish(r, NULL, e);
        return;
    }
    set_string(&r->signing_input, jws_signing_input(header, r->nonce, r->url, r->payload));
    set_string(&r->nonce, NULL); /* used once */
    r->signing = key_sign(s->settings.worker, s->key, r->signing_input, strlen(r->signing_input),
                          on_signed, r);
}

static void on_nonce(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct request *r = userdata;
    auto_err struct err *failure = err_copy(e);
    const char *nonce = reply ? http_header(reply, "replay-nonce") : NULL;
    bool good = reply && reply->status >= 200 && reply->status <= 299;

    r->exchange = NULL;
    if (good && nonce && enc_is_base64url(nonce, NONCE_LEN_MAX)) {
        r->nonce = xstrdup(nonce);
        sign(r);
        return;
    }
    if (good)
        err_set(&failure, ERR_TRANSIENT, "the reply has no usable Replay-Nonce");
    else if (reply)
        err_from_problem(&failure, (int)reply->status, "", "", 0, http_header(reply, "retry-after"),
                         clock_now());
    if (reply) {
        auto_free char *host = url_host(r->session->settings.directory_url);
        err_wrap(&failure, "new-nonce at %s", host);
    }
    if (failure->code == 404)
        session_forget_directory(r->session);
    session_note(r->session, failure);
    request_finish(r, NULL, failure);
}

static void on_directory(const struct directory *d, const struct err *e, void *userdata)
{
    struct request *r = userdata;

    r->directory_wait = NULL;
    if (e)
        request_finish(r, NULL, e);
    else
        r->exchange =
            exchange_start(r->session,
                           &(struct exchange_spec){
                               .operation = "new-nonce", .method = "HEAD", .url = d->new_nonce},
                           on_nonce, r);
}

/* Called from callbacks of what went before, and from the start: never finishes the request at once
 * when there is no nonce yet, and only for a lost account otherwise. */
static void request_next(struct request *r)
{
    if (!r->nonce)
        r->nonce = nonces_take(&r->session->nonces, clock_boot_ms());
    if (r->nonce)
        sign(r);
    else
        r->directory_wait = directory_get(r->session, on_directory, r);
}

static void on_turn(void *userdata)
{
    struct request *r = userdata;

    request_finish(r, NULL, r->err);
}

static bool can_start(const struct session *s, const struct request_spec *spec, struct err **err)
{
    const char *header = spec->key == REQUEST_KID ? s->header_kid : s->header_jwk;

    if (!header)
        return set_no_account(s, spec->operation, err);
    return url_check(spec->url, spec->operation, err) && !session_is_paused(s, err);
}

struct request *request_start(struct session *s, const struct request_spec *spec, request_fn *fn,
                              void *userdata)
{
    struct request *r = xcalloc(1, sizeof(*r));

    r->session = s;
    r->next = s->requests;
    s->requests = r;
    r->operation = spec->operation;
    r->url = xstrdup(spec->url);
    r->accept = xstrdup(spec->accept);
    r->key = spec->key;
    r->fn = fn;
    r->userdata = userdata;
    if (can_start(s, spec, &r->err)) {
        r->payload = enc_base64url(spec->payload, strlen(spec->payload));
        request_next(r);
    } else {
        r->turn = timer_after(s->settings.loop, 0, on_turn, r);
    }
    return r;
}

void request_free(struct request *r)
{
    if (!r || r->called)
        return;
    request_unlink(r);
    request_stop(r);
    request_end(r);
}

void session_cancel_requests(struct session *s)
{
    while (s->requests) {
        struct request *r = s->requests;
        request_unlink(r); /* the handle stays its owner's */
        request_stop(r);
    }
}

bool reply_blame(const struct reply *r, struct err **err)
{
    auto_free char *host = url_host(r->url);

    if (err && *err && !(*err)->hint)
        err_hint(err, "that is outside of the protocol (RFC 8555): ask the CA's operator, or use "
                      "another issuer");
    return err_wrap(err, "%s", host);
}

bool reply_need_json(const struct reply *r, struct err **err)
{
    if (r->json)
        return true;
    return err_set(err, ERR_REFUSED, "the CA answered with %s instead of a JSON object",
                   *r->content_type ? r->content_type : "no content type");
}

bool reply_need_location(const struct reply *r, char **ret, struct err **err)
{
    if (!r->location)
        return err_set(err, ERR_REFUSED, "the CA answered without a Location header");
    if (!url_check(r->location, "Location", err))
        return false;
    set_string(ret, xstrdup(r->location));
    return true;
}
