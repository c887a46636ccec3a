#include "agent/trace_settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#define VALUE_MAX       4096
#define TIMEOUT_MS      10000
#define TIMEOUT_MAX_MS  60000
#define DELAY_MS        5000
#define DELAY_MAX_MS    60000
#define DEFAULT_SERVICE "everleaf"
#define TRACES_PATH     "/v1/traces"

/* The variable for traces, else the one for all signals; NULL: neither, or empty. */
static const char *variable(const char *what)
{
    auto_free char *own = xasprintf("OTEL_EXPORTER_OTLP_TRACES_%s", what);
    auto_free char *common = xasprintf("OTEL_EXPORTER_OTLP_%s", what);
    const char *value = getenv(own);

    if (!value || !*value)
        value = getenv(common);
    return value && *value ? value : NULL;
}

static int64_t number(const char *text, int64_t preset, int64_t max)
{
    char *end = NULL;
    int64_t n = text ? strtoll(text, &end, 10) : 0;

    return n > 0 && *end == '\0' ? (n < max ? n : max) : preset;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* W3C Baggage: percent-encoded, blanks around it do not count. Caller frees. */
static char *decode(const char *text, size_t len)
{
    auto_buf struct buf out;

    buf_init(&out, VALUE_MAX);
    for (; len > 0 && (*text == ' ' || *text == '\t'); len--)
        text++;
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%' && i + 2 < len && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
            c = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        }
        buf_add(&out, &c, 1);
    }
    return buf_take(&out);
}

/* Calls fn for each "name=value" of a list with commas. */
static void each_pair(const char *list, void (*fn)(const char *, const char *, void *),
                      void *userdata)
{
    while (list && *list) {
        size_t len = strcspn(list, ",");
        const char *equals = memchr(list, '=', len);
        if (equals) {
            auto_free char *name = decode(list, (size_t)(equals - list));
            auto_free char *value = decode(equals + 1, len - (size_t)(equals - list) - 1);
            fn(name, value, userdata);
        }
        list += len;
        list += *list == ',';
    }
}

json_t *trace_attribute(const char *name, const char *value)
{
    json_t *j = json_object();
    json_t *v = json_object();

    json_put_str(v, "stringValue", value);
    json_put_str(j, "key", name);
    json_put(j, "value", v);
    return j;
}

static void add_header(const char *name, const char *value, void *userdata)
{
    static const char blanks[] = " \t\r\n:";

    if (!*name || strpbrk(name, blanks) || strpbrk(value, "\r\n"))
        log_warning("a header for traces cannot be sent", "name", name);
    else
        strv_addf(userdata, "%s: %s", name, value);
}

static void add_resource(const char *name, const char *value, void *userdata)
{
    if (*name && strcmp(name, "service.name") != 0)
        json_array_append_new(userdata, trace_attribute(name, value));
}

/* OTEL_SERVICE_NAME goes before the attribute of that name. */
static void add_service(const char *name, const char *value, void *userdata)
{
    if (strcmp(name, "service.name") == 0)
        set_string(userdata, xstrdup(value));
}

static json_t *read_resource(void)
{
    const char *list = getenv("OTEL_RESOURCE_ATTRIBUTES");
    const char *name = getenv("OTEL_SERVICE_NAME");
    auto_free char *service = xstrdup(DEFAULT_SERVICE);
    json_t *attributes = json_array();

    each_pair(list, add_service, &service);
    json_array_append_new(attributes,
                          trace_attribute("service.name", name && *name ? name : service));
    json_array_append_new(attributes, trace_attribute("service.version", EVERLEAF_VERSION));
    each_pair(list, add_resource, attributes);
    return attributes;
}

static bool is_off(void)
{
    const char *disabled = getenv("OTEL_SDK_DISABLED");
    const char *exporter = getenv("OTEL_TRACES_EXPORTER");
    const char *protocol = variable("PROTOCOL");

    if (!variable("ENDPOINT") || (disabled && strcasecmp(disabled, "true") == 0) ||
        (exporter && strcmp(exporter, "none") == 0))
        return true;
    if (!protocol || strncmp(protocol, "http/", 5) == 0)
        return false;
    log_warning("traces are off: of OTLP only http/json is spoken", "protocol", protocol);
    return true;
}

/* OpenTelemetry: the signal's own variable is the whole URL, the common one a base. */
static char *read_url(void)
{
    const char *own = getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    const char *base = variable("ENDPOINT");
    size_t len = strlen(base);

    if (own && *own)
        return xstrdup(own);
    return xasprintf("%.*s" TRACES_PATH, (int)(base[len - 1] == '/' ? len - 1 : len), base);
}

bool trace_settings_read(struct trace_settings *ret)
{
    *ret = (struct trace_settings){0};
    if (is_off())
        return false;
    ret->url = read_url();
    ret->ca_file = xstrdup(variable("CERTIFICATE"));
    ret->timeout_ms = number(variable("TIMEOUT"), TIMEOUT_MS, TIMEOUT_MAX_MS);
    ret->delay_ms = number(getenv("OTEL_BSP_SCHEDULE_DELAY"), DELAY_MS, DELAY_MAX_MS);
    each_pair(variable("HEADERS"), add_header, &ret->headers);
    ret->resource = read_resource();
    return true;
}

void trace_settings_done(struct trace_settings *s)
{
    free(s->url);
    free(s->ca_file);
    strv_done(&s->headers);
    json_decref(s->resource);
    *s = (struct trace_settings){0};
}
