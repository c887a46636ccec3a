/* A series is an entry of its family's map; the key is the finished label text, so that writing it
 * is copying it. */
#include "agent/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"

#define LABELS_MAX  4
#define BOUNDS_MAX  14
#define LABEL_BYTES 4096 /* of one series' label text */

/* Of counters and gauges: what differs is how values change. */
struct value_family {
    const char *name, *help;
    const char *labels[LABELS_MAX];
};

static const struct value_family counters[] = {
    [METRIC_RENEWALS] = {"everleaf_renewals_total", "Renewals by how they ended.", {"result"}},
    [METRIC_RENEWAL_FAILURES] = {"everleaf_renewal_failures_total",
                                 "Failed attempts to get a certificate by kind of error.",
                                 {"reason"}},
    [METRIC_ACME_REQUESTS] = {"everleaf_acme_requests_total",
                              "Requests to the CA by HTTP status; code 0: no reply.",
                              {"issuer", "operation", "code"}},
    [METRIC_DEPLOYS] = {"everleaf_deploys_total", "Deployments by how they ended.", {"result"}},
    [METRIC_ROLLBACKS] = {"everleaf_rollbacks_total",
                          "Deployments that were turned round to the old certificate.",
                          {"certificate"}},
    [METRIC_STAPLE_FAILURES] = {"everleaf_staple_fetch_failures_total",
                                "Fetches of an OCSP response that brought no staple.",
                                {"certificate"}},
    [METRIC_CRL_FAILURES] = {"everleaf_crl_fetch_failures_total",
                             "Fetches of revocation lists that brought none.",
                             {NULL}},
};

static const struct value_family gauges[] = {
    [METRIC_CLOCK_SKEW] = {"everleaf_clock_skew_seconds",
                           "How far our clock is ahead of the CA's, by its last reply.",
                           {"issuer"}},
};

/* Bounds in milliseconds, ascending, 0 ends. */
struct histogram_family {
    const char *name, *help;
    const char *label; /* or NULL */
    int64_t bounds_ms[BOUNDS_MAX];
};

static const struct histogram_family histograms[] = {
    [METRIC_RENEWAL_DURATION] = {"everleaf_renewal_duration_seconds",
                                 "Time from the start of a renewal to the end of its deployment.",
                                 NULL,
                                 {100, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000, 300000,
                                  600000, 1800000}},
    [METRIC_ACME_DURATION] = {"everleaf_acme_request_duration_seconds",
                              "Time a request to the CA took.",
                              "issuer",
                              {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000}},
    [METRIC_HOOK_DURATION] = {"everleaf_hook_duration_seconds",
                              "Time the reload of a server took.",
                              "server",
                              {5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000}},
    [METRIC_ENDPOINT_HANDSHAKE] = {"everleaf_endpoint_handshake_seconds",
                                   "Time of TLS handshakes with endpoints, connecting included.",
                                   NULL,
                                   {1, 3, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000}},
};

struct histogram {
    uint64_t buckets[BOUNDS_MAX]; /* not cumulated; what is over the last bound counts only below */
    uint64_t count;
    int64_t sum_ms;
};

struct metrics {
    struct map *counts[ARRAY_LEN(counters)];    /* label text -> int64_t */
    struct map *values[ARRAY_LEN(gauges)];      /* the same */
    struct map *samples[ARRAY_LEN(histograms)]; /* label text -> struct histogram */
};

/* Text
 * -----------------------------------------------------------------------------------------------
 */

void metrics_label_value(struct buf *out, const char *value)
{
    while (*value) {
        size_t plain = strcspn(value, "\\\"\n");
        buf_add(out, value, plain);
        value += plain;
        if (!*value)
            break;
        buf_add(out, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\", 2);
        value++;
    }
}

/* In the form that OpenMetrics wants for `le`: a fraction always, no zeros behind it but one. */
void metrics_seconds(struct buf *out, int64_t ms)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%" PRId64 ".%03d", ms / 1000, (int)(ms % 1000));

    while (text[len - 1] == '0' && text[len - 2] != '.')
        len--;
    buf_add(out, text, (size_t)len);
}

/* OpenMetrics names a family of counters without the suffix of its samples. */
static size_t family_len(enum metrics_format format, const char *name, enum metric_type type)
{
    static const char suffix[] = "_total";
    size_t len = strlen(name), n = strlen(suffix);

    if (format == METRICS_OPENMETRICS && type == METRIC_COUNTER && len > n &&
        strcmp(name + len - n, suffix) == 0)
        return len - n;
    return len;
}

void metrics_write_head(struct buf *out, enum metrics_format format, const char *name,
                        enum metric_type type, const char *help)
{
    static const char *const types[] = {
        [METRIC_GAUGE] = "gauge", [METRIC_COUNTER] = "counter", [METRIC_HISTOGRAM] = "histogram"};
    int len = (int)family_len(format, name, type);

    buf_addf(out, "# HELP %.*s %s\n# TYPE %.*s %s\n", len, name, help, len, name, types[type]);
}

/* Series --------------------------------------------------------------------------------------- */

/* The status comes from the CA: usual ones keep their number, the others share one value a class,
 * so that no CA can make series without end. */
static const char *code_label(const char *code)
{
    static const char *const usual[] = {"0",   "200", "201", "204", "400", "401", "403", "404",
                                        "405", "409", "415", "429", "500", "502", "503", "504"};
    static const char *const classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx"};

    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (strcmp(code, usual[i]) == 0)
            return usual[i];
    }
    if (strlen(code) == 3 && code[0] >= '1' && code[0] <= '5')
        return classes[code[0] - '1'];
    return "other";
}

static void add_label(struct buf *text, const char *label, const char *value)
{
    buf_add_str(text, text->len == 0 ? "{" : ",");
    buf_add_str(text, label);
    buf_add_str(text, "=\"");
    metrics_label_value(text, strcmp(label, "code") == 0 ? code_label(value) : value);
    buf_add_str(text, "\"");
}

/* The label text of a series; caller frees. */
static char *series_text(const struct value_family *family, va_list values)
{
    auto_buf struct buf text;

    buf_init(&text, LABEL_BYTES);
    for (size_t i = 0; i < LABELS_MAX && family->labels[i]; i++) {
        const char *value = va_arg(values, const char *);
        add_label(&text, family->labels[i], value ? value : "");
        if (!value) /* the caller's list ended early */
            break;
    }
    if (text.len > 0)
        buf_add_str(&text, "}");
    return buf_take(&text);
}

/* Finds or makes the series with these label values. */
static int64_t *find_value(struct map *series, const struct value_family *family, va_list values)
{
    auto_free char *text = series_text(family, values);
    int64_t *found = map_get(series, text);
    if (!found) {
        found = xcalloc(1, sizeof *found);
        map_set(series, text, found);
    }
    return found;
}

void metrics_count(struct metrics *m, enum metric_counter counter, uint64_t n, ...)
{
    va_list values;

    va_start(values, n);
    *find_value(m->counts[counter], &counters[counter], values) += (int64_t)n;
    va_end(values);
}

void metrics_set(struct metrics *m, enum metric_gauge gauge, int64_t value, ...)
{
    va_list values;

    va_start(values, value);
    *find_value(m->values[gauge], &gauges[gauge], values) = value;
    va_end(values);
}

bool metrics_get(const struct metrics *m, enum metric_gauge gauge, int64_t *ret, ...)
{
    va_list values;

    va_start(values, ret);
    auto_free char *text = series_text(&gauges[gauge], values);
    va_end(values);
    const int64_t *found = map_get(m->values[gauge], text);
    if (found)
        *ret = *found;
    return found;
}

static struct histogram *find_histogram(struct metrics *m, enum metric_histogram which,
                                        const char *label)
{
    auto_buf struct buf text;

    buf_init(&text, LABEL_BYTES);
    if (histograms[which].label) {
        add_label(&text, histograms[which].label, label ? label : "");
        buf_add_str(&text, "}");
    }
    struct histogram *h = map_get(m->samples[which], text.data);
    if (!h) {
        h = xcalloc(1, sizeof *h);
        map_set(m->samples[which], text.data, h);
    }
    return h;
}

void metrics_expect(struct metrics *m, enum metric_histogram histogram, const char *label)
{
    (void)find_histogram(m, histogram, label);
}

void metrics_observe(struct metrics *m, enum metric_histogram histogram, const char *label,
                     int64_t took_ms)
{
    struct histogram *h = find_histogram(m, histogram, label);
    const int64_t *bounds = histograms[histogram].bounds_ms;
    int64_t ms = took_ms > 0 ? took_ms : 0;

    h->count++;
    h->sum_ms += ms;
    for (size_t i = 0; bounds[i]; i++) {
        if (ms <= bounds[i]) {
            h->buckets[i]++;
            return;
        }
    }
}

/* What is expected of an operation, and the failures that alerts ask for. */
void metrics_expect_issuer(struct metrics *m, const char *issuer)
{
    static const struct {
        const char *operation, *good;
    } operations[] = {{"directory", "200"},  {"new-nonce", "200"},    {"new-account", "201"},
                      {"new-order", "201"},  {"order", "200"},        {"authorization", "200"},
                      {"challenge", "200"},  {"finalize", "200"},     {"certificate", "200"},
                      {"deactivate", "200"}, {"renewal-info", "200"}, {"revoke", "200"},
                      {"account", "200"},    {"key-change", "200"}};
    static const char *const bad[] = {"0", "400", "429", "500", "503"};

    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        const char *operation = operations[i].operation;
        metrics_count(m, METRIC_ACME_REQUESTS, 0, issuer, operation, operations[i].good, NULL);
        for (size_t j = 0; j < ARRAY_LEN(bad); j++)
            metrics_count(m, METRIC_ACME_REQUESTS, 0, issuer, operation, bad[j], NULL);
    }
    metrics_expect(m, METRIC_ACME_DURATION, issuer);
}

/* Life
 * -----------------------------------------------------------------------------------------------
 */

struct metrics *metrics_new(void)
{
    static const char *const renewals[] = {"renewed", "failed", "rolled-back"};
    static const char *const deploys[] = {"proven", "deployed", "rolled-back", "refused", "failed"};
    struct metrics *m = xcalloc(1, sizeof *m);

    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        m->counts[i] = map_new();
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        m->values[i] = map_new();
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++)
        m->samples[i] = map_new();
    for (size_t i = 0; i < ARRAY_LEN(renewals); i++)
        metrics_count(m, METRIC_RENEWALS, 0, renewals[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(deploys); i++)
        metrics_count(m, METRIC_DEPLOYS, 0, deploys[i], NULL);
    metrics_count(m, METRIC_CRL_FAILURES, 0, NULL);
    for (int kind = ERR_CONFIG; kind <= ERR_BUG; kind++)
        metrics_count(m, METRIC_RENEWAL_FAILURES, 0, err_kind_name((enum err_kind)kind), NULL);
    metrics_expect(m, METRIC_RENEWAL_DURATION, NULL);
    metrics_expect(m, METRIC_ENDPOINT_HANDSHAKE, NULL);
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        map_free(m->counts[i], free);
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        map_free(m->values[i], free);
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++)
        map_free(m->samples[i], free);
    free(m);
}

/* Writing -------------------------------------------------------------------------------------- */

/* `labels` is "{...}" or empty; a bucket's bound goes behind what is in it. */
static void write_bucket(struct buf *out, const char *name, const char *labels)
{
    size_t len = strlen(labels);

    buf_add_str(out, name);
    buf_add_str(out, "_bucket{");
    if (len > 2) {
        buf_add(out, labels + 1, len - 2);
        buf_add_str(out, ",");
    }
    buf_add_str(out, "le=\"");
}

static void write_histogram(struct buf *out, const struct histogram_family *f, const char *labels,
                            const struct histogram *h)
{
    uint64_t below = 0;

    for (size_t i = 0; f->bounds_ms[i]; i++) {
        below += h->buckets[i];
        write_bucket(out, f->name, labels);
        metrics_seconds(out, f->bounds_ms[i]);
        buf_addf(out, "\"} %" PRIu64 "\n", below);
    }
    write_bucket(out, f->name, labels);
    buf_addf(out, "+Inf\"} %" PRIu64 "\n%s_sum%s ", h->count, f->name, labels);
    metrics_seconds(out, h->sum_ms);
    buf_addf(out, "\n%s_count%s %" PRIu64 "\n", f->name, labels, h->count);
}

static void write_values(struct buf *out, enum metrics_format format, enum metric_type type,
                         const struct value_family *f, const struct map *series)
{
    metrics_write_head(out, format, f->name, type, f->help);
    for (const struct map_entry *e = map_first(series); e; e = map_next(e))
        buf_addf(out, "%s%s %" PRId64 "\n", f->name, map_entry_key(e),
                 *(const int64_t *)map_entry_value(e));
}

void metrics_write(const struct metrics *m, enum metrics_format format, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(counters); i++)
        write_values(out, format, METRIC_COUNTER, &counters[i], m->counts[i]);
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        write_values(out, format, METRIC_GAUGE, &gauges[i], m->values[i]);
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++) {
        metrics_write_head(out, format, histograms[i].name, METRIC_HISTOGRAM, histograms[i].help);
        for (const struct map_entry *e = map_first(m->samples[i]); e; e = map_next(e))
            write_histogram(out, &histograms[i], map_entry_key(e), map_entry_value(e));
    }
}
