/* For tests: takes the place of base/http.c at link time. Every exchange is answered on a later
 * turn of the real loop by one function of the test, which sees the JWS decoded. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "acme/exchange.h"
#include "acme/problem.h"
#include "base/enc.h"
#include "base/http.h"
#include "base/json.h"

struct test_query {
    const char *method, *url, *accept;
    json_t *header; /* the protected header, or NULL */
    char *payload;  /* decoded, or NULL */
    json_t *json;   /* the payload as JSON, or NULL */
};

struct test_answer {
    int status;
    char *body;
    struct strv headers;
    bool lost; /* network trouble instead of a reply */
};

typedef void test_answer_fn(const struct test_query *q, struct test_answer *a, void *userdata);

static struct {
    struct loop *loop;
    test_answer_fn *fn;
    void *userdata;
    unsigned calls, under_way;
} test_http;

struct http_call {
    struct timer *turn;
    char *method, *url, *accept, *content_type, *body;
    http_fn *fn;
    void *userdata;
};

/* The answer's side --------------------------------------------------------------------------- */

static inline void answer_header(struct test_answer *a, const char *name, const char *value)
{
    strv_addf(&a->headers, "%s: %s", name, value);
}

static inline void answer_text(struct test_answer *a, int status, const char *type,
                               const char *text)
{
    a->status = status;
    set_string(&a->body, xstrdup(text));
    if (type)
        answer_header(a, "content-type", type);
}

/* Takes json. */
static inline void answer_json(struct test_answer *a, int status, json_t *json)
{
    auto_free char *text = json_compact(json);

    assert_non_null(json);
    json_decref(json);
    answer_text(a, status, "application/json; charset=utf-8", text);
}

static inline void answer_problem(struct test_answer *a, int status, const char *type,
                                  const char *detail)
{
    auto_free char *urn = xasprintf(ACME_ERROR_URN "%s", type);
    json_t *json = json_object();

    json_put_str(json, "type", urn);
    json_put_str(json, "detail", detail);
    answer_json(a, status, json);
    strv_done(&a->headers);
    answer_header(a, "content-type", "application/problem+json");
}

/* base/http.h --------------------------------------------------------------------------------- */

const char *http_header(const struct http_reply *r, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < r->headers.n; i++) {
        if (strncmp(r->headers.items[i], name, len) == 0 && r->headers.items[i][len] == ':')
            return r->headers.items[i] + len + 2;
    }
    return NULL;
}

static inline void test_call_end(struct http_call *c)
{
    timer_free(c->turn);
    free(c->method);
    free(c->url);
    free(c->accept);
    free(c->content_type);
    free(c->body);
    free(c);
    test_http.under_way--;
}

static inline char *test_decode(const json_t *jws, const char *name)
{
    auto_free unsigned char *data = NULL;
    size_t len;

    assert_true(dec_base64url(json_str(jws, name), &data, &len));
    return xstrndup((const char *)data, len);
}

static inline void test_decode_jws(const char *body, struct test_query *q)
{
    auto_json json_t *jws = json_parse(body, strlen(body), NULL);

    assert_int_equal(json_object_size(jws), 3);
    auto_free char *header = test_decode(jws, "protected");
    q->header = json_parse(header, strlen(header), NULL);
    q->payload = test_decode(jws, "payload");
    q->json = *q->payload ? json_parse(q->payload, strlen(q->payload), NULL) : NULL;
    assert_string_equal(json_str(q->header, "url"), q->url); /* RFC 8555 6.4 */
    assert_int_equal(json_object_size(q->header), 4);
}

static inline void on_test_turn(void *userdata)
{
    struct http_call *c = userdata;
    struct test_query q = {.method = c->method, .url = c->url, .accept = c->accept};
    struct test_answer a = {.status = 500};
    auto_err struct err *e = NULL;

    if (c->body) {
        assert_string_equal(c->content_type, "application/jose+json");
        test_decode_jws(c->body, &q);
    }
    test_http.fn(&q, &a, test_http.userdata);
    struct http_reply reply = {
        .status = a.status,
        .body = a.body ? a.body : xstrdup(""),
        .headers = a.headers,
    };
    reply.body_len = strlen(reply.body);
    if (a.lost)
        err_set(&e, ERR_TRANSIENT, "connection reset");
    c->fn(a.lost ? NULL : &reply, e, c->userdata);
    free(reply.body);
    strv_done(&reply.headers);
    json_decref(q.header);
    json_decref(q.json);
    free(q.payload);
    test_call_end(c);
}

struct http_call *http_start(struct http *h, const struct http_request *request, http_fn *fn,
                             void *userdata)
{
    struct http_call *c = xcalloc(1, sizeof(*c));

    (void)h;
    for (size_t i = 0; request->headers && request->headers[i]; i++) {
        const char *header = request->headers[i];
        if (strncmp(header, "Accept: ", 8) == 0)
            c->accept = xstrdup(header + 8);
        else if (strncmp(header, "Content-Type: ", 14) == 0)
            c->content_type = xstrdup(header + 14);
    }
    assert_false(request->allow_http);
    assert_true(request->body_max <= 1024 * 1024);
    c->method = xstrdup(request->method);
    c->url = xstrdup(request->url);
    c->body = request->body ? xstrndup(request->body, request->body_len) : NULL;
    c->fn = fn;
    c->userdata = userdata;
    c->turn = timer_after(test_http.loop, 0, on_test_turn, c);
    test_http.calls++;
    test_http.under_way++;
    return c;
}

void http_call_free(struct http_call *c)
{
    if (c)
        test_call_end(c);
}
