#include "agent/ocsp_fetch.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

#define TIMEOUT_MS  10000
#define FRESH_MAX_S (INT64_C(10) * 86400)
#define RETRY_MAX_S (INT64_C(86400))

struct ocsp_fetch {
    const struct services *services;
    struct cert *leaf, *issuer;
    struct strv urls;
    enum ocsp_hash hash;
    time_t held;
    char *id;
    unsigned char *request;
    size_t request_len;
    size_t at; /* the URL being asked */
    bool post;
    struct http_call *call;
    struct timer *turn;
    struct ocsp_fetched best;
    bool has_best;
    bool over; /* inside the callback, where freeing is harmless */
    unsigned char *best_der;
    struct err *err;
    ocsp_fetch_fn *fn;
    void *userdata;
};

void ocsp_fetch_free(struct ocsp_fetch *f)
{
    if (!f || f->over)
        return;
    http_call_free(f->call);
    timer_free(f->turn);
    cert_free(f->leaf);
    cert_free(f->issuer);
    strv_done(&f->urls);
    free(f->id);
    free(f->request);
    free(f->best_der);
    err_free(f->err);
    free(f);
}

static void finish(struct ocsp_fetch *f)
{
    f->over = true;
    if (f->has_best)
        f->fn(&f->best, NULL, f->userdata);
    else
        f->fn(NULL, f->err, f->userdata);
    f->over = false;
    ocsp_fetch_free(f);
}

/* Cache-Control counts before Expires (RFC 9111 5.3). */
static time_t fresh_until(const struct http_reply *r, time_t now)
{
    const char *control = http_header(r, "cache-control");
    const char *age = control ? strcasestr(control, "max-age=") : NULL;
    time_t expires;

    if (control && (strcasestr(control, "no-cache") || strcasestr(control, "no-store")))
        return 0;
    if (age) {
        long long s = strtoll(age + strlen("max-age="), NULL, 10);
        return s > 0 ? now + (s < FRESH_MAX_S ? s : FRESH_MAX_S) : 0;
    }
    const char *text = http_header(r, "expires");
    if (!text || !clock_parse_http_date(text, &expires) || expires <= now)
        return 0;
    return expires < now + FRESH_MAX_S ? expires : now + FRESH_MAX_S;
}

/* What the issuer signed is worth more than what nobody signed. */
static int worth(enum ocsp_status status)
{
    if (status <= OCSP_STATUS_REVOKED)
        return 2;
    return status == OCSP_STATUS_UNKNOWN;
}

static bool is_better(const struct ocsp_fetch *f, const struct ocsp_answer *a)
{
    return !f->has_best || worth(a->status) > worth(f->best.answer.status);
}

static bool judge(struct ocsp_fetch *f, const struct http_reply *r, struct err **err)
{
    time_t now = clock_now();
    const char *url = f->urls.items[f->at];
    struct ocsp_answer a;

    if (r->status != 200) {
        err_set(err, r->status >= 500 || r->status == 429 ? ERR_TRANSIENT : ERR_REFUSED,
                "the OCSP responder %s answers %ld", url, r->status);
        if (err && *err) {
            (*err)->code = (int)r->status;
            (void)!clock_parse_retry_after(http_header(r, "retry-after"), now, 1, RETRY_MAX_S,
                                           &(*err)->retry_at);
        }
        return false;
    }
    if (!ocsp_check(r->body, r->body_len, f->leaf, f->issuer, f->hash, f->held, now, &a, err))
        return err_wrap(err, "the OCSP responder %s", url);
    if (is_better(f, &a)) {
        free(f->best_der);
        f->best_der = xmemdup(r->body, r->body_len);
        f->best = (struct ocsp_fetched){.answer = a,
                                        .der = f->best_der,
                                        .der_len = r->body_len,
                                        .fresh_until = fresh_until(r, now),
                                        .url = url,
                                        .id = f->id};
        f->has_best = true;
    }
    return true;
}

static void ask(void *userdata);

/* What comes after an exchange that did not end the search. `reached`: something answered, so that
 * a POST may do better than the GET did. */
static void go_on(struct ocsp_fetch *f, bool reached)
{
    if (reached && !f->post) {
        f->post = true;
    } else {
        f->post = false;
        f->at++;
    }
    if (f->at >= f->urls.n) {
        finish(f);
        return;
    }
    ask(f);
}

static void on_reply(const struct http_reply *r, const struct err *e, void *userdata)
{
    struct ocsp_fetch *f = userdata;
    struct err *why = NULL;

    f->call = NULL;
    if (r && judge(f, r, &why)) {
        if (worth(f->best.answer.status) == 2)
            finish(f);
        else /* not a matter of the method: the next responder may know more */
            go_on(f, false);
        return;
    }
    if (!why) {
        why = err_copy(e);
        err_wrap(&why, "the OCSP responder %s", f->urls.items[f->at]);
    }
    err_free(f->err);
    f->err = why;
    /* Some responders close the connection on a GET they do not like; without a connection (an
     * errno) a POST gets no further. */
    go_on(f, r || e->kind == ERR_REFUSED || e->code == 0);
}

static void ask(void *userdata)
{
    struct ocsp_fetch *f = userdata;
    static const char *const accept[] = {"Accept: application/ocsp-response", NULL};
    static const char *const typed[] = {"Accept: application/ocsp-response",
                                        "Content-Type: application/ocsp-request", NULL};
    const char *responder = f->urls.items[f->at];
    auto_free char *url = f->post ? NULL : ocsp_get_url(responder, f->request, f->request_len);

    f->post = url == NULL;
    struct http_request request = {
        .method = url ? "GET" : "POST",
        .url = url ? url : responder,
        .headers = url ? accept : typed,
        .body = url ? NULL : (const char *)f->request,
        .body_len = url ? 0 : f->request_len,
        .body_max = OCSP_RESPONSE_MAX,
        .timeout_ms = TIMEOUT_MS,
        .allow_http = true,
    };
    f->call = http_start(f->services->http, &request, on_reply, f);
}

static void on_nobody(void *userdata)
{
    struct ocsp_fetch *f = userdata;

    err_set(&f->err, ERR_CONFIG, "the certificate names no OCSP responder");
    finish(f);
}

struct ocsp_fetch *ocsp_fetch_start(const struct services *services, const struct ocsp_question *q,
                                    ocsp_fetch_fn *fn, void *userdata)
{
    struct ocsp_fetch *f = xcalloc(1, sizeof *f);

    f->services = services;
    f->leaf = cert_from_der(q->leaf->der, q->leaf->der_len, NULL);
    f->issuer = cert_from_der(q->issuer->der, q->issuer->der_len, NULL);
    f->hash = q->hash;
    f->held = q->held;
    f->fn = fn;
    f->userdata = userdata;
    for (size_t i = 0; i < q->urls->n && i < OCSP_URLS_MAX; i++)
        strv_add(&f->urls, q->urls->items[i]);
    f->id = ocsp_id(f->leaf, f->issuer, f->hash);
    f->request = ocsp_request_make(f->leaf, f->issuer, f->hash, &f->request_len);
    if (f->urls.n == 0)
        f->turn = timer_after(services->loop, 0, on_nobody, f);
    else
        ask(f);
    return f;
}
