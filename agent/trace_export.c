#include "agent/trace_export.h"

#include <inttypes.h>
#include <string.h>

#include "agent/trace_settings.h"
#include "base/log.h"

#define SPANS_MAX 2048 /* waiting */
#define REPLY_MAX (64 * 1024)
#define FLUSH_MS  5000

struct trace_export {
    struct loop *loop;
    struct http *http;
    struct trace_settings settings;
    json_t *spans; /* waiting */
    struct timer *delay, *patience;
    struct http_call *call;
    bool away;     /* the last batch was not taken: told once */
    bool flushing; /* loop_exit when there is nothing more to do */
    size_t dropped;
};

static void send_batch(struct trace_export *x);

static void note_failure(struct trace_export *x, const struct err *e, size_t n)
{
    auto_free char *spans = xasprintf("%zu", n);

    if (!x->away)
        log_failure(LOG_LEVEL_WARNING, e, "traces not delivered, dropped", "spans", spans);
    x->away = true;
}

static void on_reply(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct trace_export *x = userdata;
    auto_err struct err *failure = err_copy(e);

    x->call = NULL;
    if (reply && (reply->status < 200 || reply->status > 299))
        err_set(&failure, ERR_REFUSED, "the collector answered with HTTP %ld", reply->status);
    if (failure) {
        note_failure(x, failure, x->dropped);
    } else if (x->away) {
        x->away = false;
        log_info("traces are delivered again");
    }
    if (json_array_size(x->spans) > 0 && !failure)
        send_batch(x);
    if (x->flushing && !x->call)
        loop_exit(x->loop, 0);
}

/* {"resourceSpans":[{"resource":{...},"scopeSpans":[{"scope":{...},"spans":[...]}]}]} */
static char *batch_json(struct trace_export *x)
{
    auto_json json_t *j = json_object();
    json_t *scope = json_object(), *scope_spans = json_object();
    json_t *resource = json_object(), *resource_spans = json_object();
    json_t *scopes = json_array(), *resources = json_array();

    json_put_str(scope, "name", "everleaf");
    json_put_str(scope, "version", EVERLEAF_VERSION);
    json_put(scope_spans, "scope", scope);
    json_put(scope_spans, "spans", take(x->spans));
    x->spans = json_array();
    json_array_append_new(scopes, scope_spans);
    json_put(resource, "attributes", json_incref(x->settings.resource));
    json_put(resource_spans, "resource", resource);
    json_put(resource_spans, "scopeSpans", scopes);
    json_array_append_new(resources, resource_spans);
    json_put(j, "resourceSpans", resources);
    return json_compact(j);
}

static void send_batch(struct trace_export *x)
{
    size_t n = 0;
    const char **headers = xcalloc(x->settings.headers.n + 2, sizeof *headers);

    x->dropped = json_array_size(x->spans); /* unless it is taken */
    auto_free char *json = batch_json(x);
    headers[n++] = "Content-Type: application/json";
    for (size_t i = 0; i < x->settings.headers.n; i++)
        headers[n++] = x->settings.headers.items[i];
    x->call = http_start(x->http,
                         &(struct http_request){
                             .method = "POST",
                             .url = x->settings.url,
                             .headers = headers,
                             .body = json,
                             .body_len = strlen(json),
                             .ca_file = x->settings.ca_file,
                             .body_max = REPLY_MAX,
                             .timeout_ms = x->settings.timeout_ms,
                             .allow_http = true,
                         },
                         on_reply, x);
    free(headers);
}

static void on_delay(void *userdata)
{
    struct trace_export *x = userdata;

    timer_free(x->delay);
    x->delay = NULL;
    if (!x->call && json_array_size(x->spans) > 0)
        send_batch(x);
}

void trace_export_add(struct trace_export *x, json_t *span)
{
    if (json_array_size(x->spans) >= SPANS_MAX)
        json_decref(span);
    else
        json_array_append_new(x->spans, span);
    if (!x->delay)
        x->delay = timer_after(x->loop, x->settings.delay_ms, on_delay, x);
}

static void on_patience(void *userdata)
{
    struct trace_export *x = userdata;

    loop_exit(x->loop, 0);
}

void trace_export_flush(struct trace_export *x)
{
    if (!x || (!x->call && json_array_size(x->spans) == 0))
        return;
    if (!x->call)
        send_batch(x);
    x->flushing = true;
    x->patience = timer_after(x->loop, FLUSH_MS, on_patience, x);
    (void)loop_run(x->loop);
    timer_free(x->patience);
    x->patience = NULL;
    x->flushing = false;
}

struct trace_export *trace_export_new(struct loop *loop, struct http *http)
{
    struct trace_settings settings;

    if (!trace_settings_read(&settings))
        return NULL;
    struct trace_export *x = xcalloc(1, sizeof *x);
    x->settings = settings;
    x->loop = loop;
    x->http = http;
    x->spans = json_array();
    return x;
}

void trace_export_free(struct trace_export *x)
{
    if (!x)
        return;
    http_call_free(x->call);
    timer_free(x->delay);
    trace_settings_done(&x->settings);
    json_decref(x->spans);
    free(x);
}
