#include "agent/alert_message.h"

#include <string.h>
#include <unistd.h>

#define TEXT_MAX (32 * 1024) /* it is handed to commands in an environment variable */
#define HOST_MAX 256

struct alert_message {
    json_t *alerts;
    size_t n, n_firing;
    struct buf text;
};

struct alert_message *alert_message_new(void)
{
    struct alert_message *a = xcalloc(1, sizeof *a);

    a->alerts = json_array();
    buf_init(&a->text, TEXT_MAX);
    return a;
}

void alert_message_free(struct alert_message *a)
{
    if (!a)
        return;
    json_decref(a->alerts);
    buf_done(&a->text);
    free(a);
}

static void add_instance(json_t *labels)
{
    char host[HOST_MAX] = "";

    if (gethostname(host, sizeof host - 1) == 0 && *host)
        json_put_str(labels, "instance", host);
}

static void put_some(json_t *o, const char *name, const char *value)
{
    if (value)
        json_put_str(o, name, value);
}

json_t *alert_labels(const struct alert_condition *c)
{
    json_t *j = json_object();

    json_put_str(j, "alertname", c->name);
    put_some(j, "certificate", c->certificate);
    put_some(j, "endpoint", c->endpoint);
    put_some(j, "issuer", c->issuer);
    json_put_str(j, "job", "everleaf");
    put_some(j, "server", c->server);
    json_put_str(j, "severity", c->severity);
    add_instance(j);
    return j;
}

static char *advice_of(const struct alert_condition *c)
{
    if (c->issuer)
        return xstrdup("\"everleaf status\" has limits and errors; is the clock right?");
    if (!c->certificate)
        return xstrdup("\"everleaf check\" shows every error");
    return xasprintf("\"everleaf status %s\" has everything about it", c->certificate);
}

json_t *alert_annotations(const struct alert_condition *c)
{
    json_t *j = json_object();
    auto_free char *advice = advice_of(c);

    json_put_str(j, "summary", c->summary);
    put_some(j, "cause", c->error ? c->error->text : NULL);
    json_put_str(j, "runbook", c->error && c->error->hint ? c->error->hint : advice);
    return j;
}

static void add_text(struct alert_message *a, const json_t *annotations, bool firing)
{
    const char *summary = json_str(annotations, "summary");
    const char *cause = json_str(annotations, "cause");
    const char *runbook = json_str(annotations, "runbook");

    buf_addf(&a->text, "%s: %s\n", firing ? "ALERT" : "RESOLVED", summary);
    if (firing && cause)
        buf_addf(&a->text, "  cause: %s\n", cause);
    if (firing && runbook)
        buf_addf(&a->text, "  what to do: %s\n", runbook);
}

void alert_message_add(struct alert_message *a, const json_t *labels, const json_t *annotations,
                       time_t starts_at, time_t ends_at)
{
    bool firing = ends_at == 0;

    a->n++;
    a->n_firing += firing;
    if (a->n > ALERT_MESSAGE_MAX)
        return;
    json_t *j = json_object();
    json_put_str(j, "status", firing ? "firing" : "resolved");
    json_put(j, "labels", json_deep_copy(labels));
    json_put(j, "annotations", json_deep_copy(annotations));
    json_put_time(j, "startsAt", starts_at);
    if (firing) /* Alertmanager's word for never */
        json_put_str(j, "endsAt", "0001-01-01T00:00:00Z");
    else
        json_put_time(j, "endsAt", ends_at);
    json_put_str(j, "generatorURL", "");
    json_array_append_new(a->alerts, j);
    add_text(a, annotations, firing);
}

size_t alert_message_count(const struct alert_message *a)
{
    return a->n;
}

bool alert_message_is_firing(const struct alert_message *a)
{
    return a->n_firing > 0;
}

static size_t left_out(const struct alert_message *a)
{
    return a->n > ALERT_MESSAGE_MAX ? a->n - ALERT_MESSAGE_MAX : 0;
}

char *alert_message_text(const struct alert_message *a)
{
    if (left_out(a) == 0)
        return xstrdup(a->text.data);
    return xasprintf("%sand %zu more\n", a->text.data, left_out(a));
}

char *alert_message_json(const struct alert_message *a)
{
    auto_json json_t *j = json_object();
    auto_free char *text = alert_message_text(a);
    json_t *common = json_object();

    json_put_str(common, "job", "everleaf");
    add_instance(common);
    json_put_str(j, "version", "4");
    json_put_str(j, "groupKey", "everleaf");
    json_put_int(j, "truncatedAlerts", (int64_t)left_out(a));
    json_put_str(j, "status", a->n_firing > 0 ? "firing" : "resolved");
    json_put_str(j, "receiver", "everleaf");
    json_put(j, "groupLabels", json_object());
    json_put(j, "commonLabels", common);
    json_put(j, "commonAnnotations", json_object());
    json_put_str(j, "externalURL", "");
    json_put(j, "alerts", json_incref(a->alerts));
    json_put_str(j, "text", text);
    return json_compact(j);
}
