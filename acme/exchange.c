/* The one place where acme/ touches HTTP: everything the CA sends passes on_http. */
#include "acme/exchange.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "acme/session_private.h"
#include "acme/url.h"
#include "base/clock.h"

#define BODY_MAX (1024 * 1024)

struct exchange {
    struct session *session;
    const char *operation;
    const char *method;
    char *url, *accept, *body; /* as the spec's */
    char *host;
    struct gate_wait *wait; /* for its turn */
    struct http_call *call;
    int64_t started_ms;
    exchange_fn *fn;
    void *userdata;
    bool called;
};

static void exchange_end(struct exchange *x)
{
    free(x->host);
    free(x->url);
    free(x->accept);
    free(x->body);
    free(x);
}

static void on_http(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct exchange *x = userdata;
    const struct session_settings *settings = &x->session->settings;
    auto_err struct err *copy = err_copy(e);
    int64_t took_ms = reply ? reply->took_ms : clock_boot_ms() - x->started_ms;

    x->called = true; /* fn may free the handle, and everything else */
    if (settings->on_exchange)
        settings->on_exchange(x->operation, reply ? (int)reply->status : 0, took_ms,
                              settings->userdata);
    if (settings->on_date && reply && reply->date > 0)
        settings->on_date(reply->date, settings->userdata);
    err_wrap(&copy, "%s at %s", x->operation, x->host);
    if (copy && copy->kind != ERR_TRANSIENT && copy->code == 0)
        copy->code = EPROTO; /* the connection was refused by us, not the request by the CA */
    x->fn(reply, copy, x->userdata);
    exchange_end(x);
}

/* What must not be done twice without our knowing: the second would be answered as if there had
 * been no first. */
static bool counts_once(const char *operation)
{
    return strcmp(operation, "key-change") == 0 || strcmp(operation, "account") == 0;
}

static void send_request(struct exchange *x)
{
    const struct session_settings *settings = &x->session->settings;
    auto_free char *accept = x->accept ? xasprintf("Accept: %s", x->accept) : NULL;
    const char *headers[3] = {NULL};
    size_t n = 0;

    if (accept)
        headers[n++] = accept;
    if (x->body)
        headers[n++] = "Content-Type: application/jose+json"; /* RFC 8555 6.2 */

    x->started_ms = clock_boot_ms();
    x->call = http_start(settings->http,
                         &(struct http_request){
                             .method = x->method,
                             .url = x->url,
                             .headers = headers,
                             .body = x->body,
                             .body_len = x->body ? strlen(x->body) : 0,
                             .ca_file = settings->ca_file,
                             .proxy = settings->proxy,
                             .body_max = BODY_MAX,
                             .timeout_ms = settings->timeout_ms,
                             .fresh = counts_once(x->operation),
                         },
                         on_http, x);
}

static void on_turn(void *userdata)
{
    struct exchange *x = userdata;

    x->wait = NULL;
    send_request(x);
}

struct exchange *exchange_start(struct session *s, const struct exchange_spec *spec,
                                exchange_fn *fn, void *userdata)
{
    struct exchange *x = xcalloc(1, sizeof(*x));
    struct gate *gate = s->settings.gate;

    x->session = s;
    x->operation = spec->operation;
    x->method = spec->method;
    x->url = xstrdup(spec->url);
    x->accept = xstrdup(spec->accept);
    x->body = xstrdup(spec->body);
    x->host = url_host(spec->url);
    x->fn = fn;
    x->userdata = userdata;
    if (gate_try(gate, x->operation))
        send_request(x);
    else
        x->wait = gate_wait(gate, x->operation, on_turn, x);
    return x;
}

void exchange_free(struct exchange *x)
{
    if (!x || x->called)
        return;
    gate_wait_free(x->wait);
    http_call_free(x->call);
    exchange_end(x);
}

char *exchange_media_type(const struct http_reply *reply)
{
    const char *header = http_header(reply, "content-type");

    if (!header)
        return xstrdup("");
    header += strspn(header, " \t");
    char *type = xstrndup(header, strcspn(header, "; \t"));
    for (char *c = type; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return type;
}
