/* The text wants all samples of a family together: the certificates are looked at once, then each
 * family goes over them. Linear in certificates and endpoints, and no formatting machinery per
 * sample. */
#include "agent/exposition.h"

#include <string.h>

#include "agent/limits_metrics.h"
#include "agent/process_stats.h"
#include "base/clock.h"
#include "base/json.h"

#define NO_SAMPLE INT64_MIN

struct scrape {
    struct buf *out;
    enum metrics_format format;
    struct managed_view *views;
    size_t n;
    time_t now;
};

static void add_int(struct buf *out, int64_t n)
{
    char text[24];
    char *at = text + sizeof text;
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    *--at = '\n';
    do
        *--at = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (n < 0)
        *--at = '-';
    *--at = ' ';
    buf_add(out, at, (size_t)(text + sizeof text - at));
}

static void add_label(struct buf *out, const char *name, const char *value)
{
    buf_add_str(out, ",");
    buf_add_str(out, name);
    buf_add_str(out, "=\"");
    metrics_label_value(out, value ? value : "");
    buf_add_str(out, "\"");
}

static void open_sample(struct buf *out, const char *name, const struct managed_view *v)
{
    buf_add_str(out, name);
    buf_add_str(out, "{certificate=\"");
    metrics_label_value(out, v->name);
    buf_add_str(out, "\"");
}

static void close_sample(struct buf *out, int64_t value)
{
    buf_add_str(out, "}");
    add_int(out, value);
}

/* Certificates --------------------------------------------------------------------------------- */

static int64_t not_before(const struct managed_view *v, time_t now)
{
    (void)now;
    return v->live ? (int64_t)v->live->not_before : NO_SAMPLE;
}

static int64_t not_after(const struct managed_view *v, time_t now)
{
    (void)now;
    return v->live ? (int64_t)v->live->not_after : NO_SAMPLE;
}

static int64_t is_ready(const struct managed_view *v, time_t now)
{
    return v->live && v->live->not_before <= now && now < v->live->not_after;
}

/* By its CA, as OCSP or a revocation list told. */
static int64_t is_revoked(const struct managed_view *v, time_t now)
{
    (void)now;
    return v->live ? v->revoked : NO_SAMPLE;
}

/* Series of staples exist for certificates that have a responder. */
static int64_t staple_status(const struct managed_view *v, time_t now)
{
    return v->staple->wanted ? strcmp(staple_state(v->staple, now), "good") == 0 : NO_SAMPLE;
}

static int64_t staple_this_update(const struct managed_view *v, time_t now)
{
    (void)now;
    return v->staple->held ? (int64_t)v->staple->this_update : NO_SAMPLE;
}

static int64_t staple_next_update(const struct managed_view *v, time_t now)
{
    (void)now;
    return v->staple->held ? (int64_t)v->staple->next_update : NO_SAMPLE;
}

static int64_t crl_next_update(const struct managed_view *v, time_t now)
{
    (void)now;
    return v->crl_next_update > 0 ? (int64_t)v->crl_next_update : NO_SAMPLE;
}

static int64_t failures(const struct managed_view *v, time_t now)
{
    (void)now;
    return (int64_t)v->schedule->failures + v->record->failures;
}

static int64_t backoff_until(const struct managed_view *v, time_t now)
{
    (void)now;
    return (int64_t)v->next_try;
}

static int64_t last_success(const struct managed_view *v, time_t now)
{
    (void)now;
    return (int64_t)v->schedule->last_success;
}

static const struct {
    const char *name, *help;
    int64_t (*value)(const struct managed_view *v, time_t now);
} gauges[] = {
    {"everleaf_certificate_not_before_timestamp_seconds",
     "Start of the live certificate's validity.", not_before},
    {"everleaf_certificate_not_after_timestamp_seconds", "End of the live certificate's validity.",
     not_after},
    {"everleaf_certificate_ready", "Whether there is a live certificate that is valid now.",
     is_ready},
    {"everleaf_certificate_revoked", "Whether the live certificate is known to be revoked.",
     is_revoked},
    {"everleaf_staple_status", "Whether a good OCSP staple is at hand.", staple_status},
    {"everleaf_staple_this_update_timestamp_seconds", "Start of the staple's validity.",
     staple_this_update},
    {"everleaf_staple_next_update_timestamp_seconds", "End of the staple's validity.",
     staple_next_update},
    {"everleaf_crl_next_update_timestamp_seconds",
     "End of the revocation list that the certificate names.", crl_next_update},
    {"everleaf_consecutive_failures", "Renewals and deployments that failed in a row.", failures},
    {"everleaf_backoff_until_timestamp_seconds",
     "When the next try is allowed after a failure; 0: no back-off.", backoff_until},
    {"everleaf_last_success_timestamp_seconds",
     "When the CA last issued a certificate that was accepted; 0: never.", last_success},
};

static void write_gauges(const struct scrape *s)
{
    for (size_t g = 0; g < ARRAY_LEN(gauges); g++) {
        metrics_write_head(s->out, s->format, gauges[g].name, METRIC_GAUGE, gauges[g].help);
        for (size_t i = 0; i < s->n; i++) {
            int64_t value = gauges[g].value(&s->views[i], s->now);
            if (value == NO_SAMPLE)
                continue;
            open_sample(s->out, gauges[g].name, &s->views[i]);
            close_sample(s->out, value);
        }
    }
}

static void write_renew_at(const struct scrape *s)
{
    static const char name[] = "everleaf_certificate_renew_at_timestamp_seconds";

    metrics_write_head(s->out, s->format, name, METRIC_GAUGE,
                       "When renewal becomes due; does not move with back-off.");
    for (size_t i = 0; i < s->n; i++) {
        if (s->views[i].renew_at == 0)
            continue;
        open_sample(s->out, name, &s->views[i]);
        add_label(s->out, "source", s->views[i].renew_by_ari ? "ari" : "lifetime");
        close_sample(s->out, (int64_t)s->views[i].renew_at);
    }
}

static void write_certificate_info(const struct scrape *s)
{
    static const char name[] = "everleaf_certificate_info";

    metrics_write_head(s->out, s->format, name, METRIC_GAUGE, "What the live certificate is.");
    for (size_t i = 0; i < s->n; i++) {
        const struct managed_view *v = &s->views[i];
        if (!v->live)
            continue;
        open_sample(s->out, name, v);
        add_label(s->out, "issuer", v->config->issuer->name);
        add_label(s->out, "serial", v->live->serial);
        add_label(s->out, "sha256", v->live->sha256);
        add_label(s->out, "issuer_cn", v->live->issuer_cn);
        add_label(s->out, "key_type", v->live->key_type);
        close_sample(s->out, 1);
    }
}

/* Kind and step are closed sets; the text is not, and is for logs and `status`. */
static void write_certificate_error(const struct scrape *s)
{
    static const char name[] = "everleaf_certificate_error";

    metrics_write_head(
        s->out, s->format, name, METRIC_GAUGE,
        "Why the certificate is not renewed or not deployed: the last failure, until "
        "a success.");
    for (size_t i = 0; i < s->n; i++) {
        const struct managed_view *v = &s->views[i];
        const struct err *e = v->record->error ? v->record->error : v->schedule->error;
        if (!e)
            continue;
        open_sample(s->out, name, v);
        add_label(s->out, "reason", err_kind_name(e->kind));
        add_label(s->out, "step", e->step);
        close_sample(s->out, 1);
    }
}

/* Servers -------------------------------------------------------------------------------------- */

static const struct server_row *find_row(const struct managed_view *v, const char *server)
{
    for (size_t i = 0; i < v->record->n_servers; i++) {
        if (strcmp(v->record->servers[i].name, server) == 0)
            return &v->record->servers[i];
    }
    return NULL;
}

static void write_deploy_success(const struct scrape *s)
{
    static const char name[] = "everleaf_deploy_success";

    metrics_write_head(s->out, s->format, name, METRIC_GAUGE,
                       "Whether the server loaded the live certificate and, where it has "
                       "endpoints, was seen to serve it.");
    for (size_t i = 0; i < s->n; i++) {
        const struct managed_view *v = &s->views[i];
        for (size_t j = 0; j < v->config->n_servers; j++) {
            const char *server = v->config->servers[j]->server.name;
            open_sample(s->out, name, v);
            add_label(s->out, "server", server);
            close_sample(s->out, server_row_is_deployed(find_row(v, server)));
        }
    }
}

/* Endpoints ------------------------------------------------------------------------------------ */

/* One endpoint as configured: addresses come from DNS and SNIs may be many, neither is a label. */
struct endpoint_sum {
    const char *connect;
    bool up;           /* some address answers */
    bool serves_live;  /* every address that answers serves the live leaf with every SNI */
    time_t not_after;  /* the earliest that is served; 0: nothing is */
    const char *trust; /* what is wrong with a chain, else "ok", else NULL: nobody asked */
    const struct endpoint_row *shown; /* the first that answers, or NULL */
};

static void sum_rows(const struct server_row *server, size_t from, struct endpoint_sum *ret)
{
    *ret = (struct endpoint_sum){.connect = server->endpoints[from].connect};
    for (size_t i = from; i < server->n_endpoints; i++) {
        const struct endpoint_row *row = &server->endpoints[i];
        if (!row->answered || strcmp(row->connect, ret->connect) != 0)
            continue;
        ret->serves_live = row->serves_live && (!ret->up || ret->serves_live);
        if (row->not_after > 0 && (ret->not_after == 0 || row->not_after < ret->not_after))
            ret->not_after = row->not_after;
        if (row->trust[0] && (!ret->trust || strcmp(ret->trust, "ok") == 0))
            ret->trust = row->trust;
        if (!ret->shown)
            ret->shown = row;
        ret->up = true;
    }
}

/* Whether row i is the first of its endpoint. Rows of one endpoint stand together, so that this
 * looks back over one row for most, and over the few configured endpoints of the server for the
 * others. */
static bool begins_endpoint(const struct server_row *server, size_t i)
{
    const char *connect = server->endpoints[i].connect;

    for (size_t j = i; j > 0; j--) {
        if (strcmp(server->endpoints[j - 1].connect, connect) == 0)
            return false;
    }
    return true;
}

static int64_t endpoint_up(const struct endpoint_sum *e)
{
    return e->up;
}

static int64_t endpoint_serves_live(const struct endpoint_sum *e)
{
    return e->serves_live;
}

static int64_t endpoint_not_after(const struct endpoint_sum *e)
{
    return e->not_after > 0 ? (int64_t)e->not_after : NO_SAMPLE;
}

static int64_t endpoint_tls_info(const struct endpoint_sum *e)
{
    return e->shown ? 1 : NO_SAMPLE;
}

static int64_t endpoint_verify_error(const struct endpoint_sum *e)
{
    return e->trust ? strcmp(e->trust, "ok") != 0 : NO_SAMPLE;
}

static void add_tls(struct buf *out, const struct endpoint_sum *e)
{
    add_label(out, "version", e->shown->version);
    add_label(out, "cipher", e->shown->cipher);
}

static void add_code(struct buf *out, const struct endpoint_sum *e)
{
    add_label(out, "code", e->trust);
}

static const struct endpoint_family {
    const char *name, *help;
    int64_t (*value)(const struct endpoint_sum *e);
    void (*labels)(struct buf *out, const struct endpoint_sum *e); /* more of them, or NULL */
} endpoint_families[] = {
    {"everleaf_endpoint_up", "Whether the endpoint answered the last handshake.", endpoint_up,
     NULL},
    {"everleaf_endpoint_serves_live",
     "Whether the endpoint showed the live certificate at every address that answered.",
     endpoint_serves_live, NULL},
    {"everleaf_endpoint_not_after_timestamp_seconds",
     "End of validity of the certificate that the endpoint showed.", endpoint_not_after, NULL},
    {"everleaf_endpoint_tls_info", "What the last handshake with the endpoint agreed on.",
     endpoint_tls_info, add_tls},
    {"everleaf_endpoint_verify_error",
     "Whether the chain that the endpoint showed is not trusted; where trust is configured.",
     endpoint_verify_error, add_code},
};

static void write_endpoint(const struct scrape *s, const struct endpoint_family *f,
                           const struct managed_view *v, const struct server_row *server,
                           const struct endpoint_sum *e)
{
    int64_t value = f->value(e);

    if (value == NO_SAMPLE)
        return;
    open_sample(s->out, f->name, v);
    add_label(s->out, "server", server->name);
    add_label(s->out, "endpoint", e->connect);
    if (f->labels)
        f->labels(s->out, e);
    close_sample(s->out, value);
}

static void write_endpoints_of(const struct scrape *s, const struct endpoint_family *f,
                               const struct managed_view *v)
{
    for (size_t i = 0; i < v->config->n_servers; i++) {
        const struct server_row *server = find_row(v, v->config->servers[i]->server.name);
        for (size_t j = 0; server && j < server->n_endpoints; j++) {
            struct endpoint_sum sum;
            if (!begins_endpoint(server, j))
                continue;
            sum_rows(server, j, &sum);
            write_endpoint(s, f, v, server, &sum);
        }
    }
}

static void write_endpoints(const struct scrape *s)
{
    for (size_t f = 0; f < ARRAY_LEN(endpoint_families); f++) {
        metrics_write_head(s->out, s->format, endpoint_families[f].name, METRIC_GAUGE,
                           endpoint_families[f].help);
        for (size_t i = 0; i < s->n; i++)
            write_endpoints_of(s, &endpoint_families[f], &s->views[i]);
    }
}

/* The agent ------------------------------------------------------------------------------------ */

static void write_agent(const struct manager *m, const struct scrape *s)
{
    metrics_write_head(s->out, s->format, "everleaf_config_reload_success", METRIC_GAUGE,
                       "Whether the configuration in the file is the one in use.");
    buf_add_str(s->out, "everleaf_config_reload_success");
    add_int(s->out, manager_reload_error(m) == NULL);
    metrics_write_head(s->out, s->format, "everleaf_build_info", METRIC_GAUGE,
                       "The version that is running.");
    buf_add_str(s->out, "everleaf_build_info{version=\"" EVERLEAF_VERSION "\"}");
    add_int(s->out, 1);
    if (s->format != METRICS_TEXTFILE)
        process_stats_write(s->out, s->format, manager_since(m));
}

/* Counters must be seen at 0 before they are seen at 1, or the first event is no increase. */
static void expect_series(const struct manager *m, const struct scrape *s)
{
    struct metrics *metrics = manager_services(m)->metrics;
    const struct config *config = manager_config(m);

    for (size_t i = 0; i < config->n_issuers; i++)
        metrics_expect_issuer(metrics, config->issuers[i]->name);
    for (size_t i = 0; i < config->n_servers; i++)
        metrics_expect(metrics, METRIC_HOOK_DURATION, config->servers[i]->server.name);
    for (size_t i = 0; i < s->n; i++)
        metrics_count(metrics, METRIC_ROLLBACKS, 0, s->views[i].name, NULL);
}

void exposition_write(const struct manager *m, enum metrics_format format, struct buf *out)
{
    struct scrape s = {.out = out, .format = format, .n = manager_count(m), .now = clock_now()};

    s.views = xcalloc(s.n + 1, sizeof *s.views);
    for (size_t i = 0; i < s.n; i++)
        managed_view(manager_at(m, i), &s.views[i]);
    expect_series(m, &s);
    write_gauges(&s);
    write_renew_at(&s);
    write_certificate_info(&s);
    write_certificate_error(&s);
    limits_metrics_write(m, format, s.now, out);
    write_deploy_success(&s);
    write_endpoints(&s);
    metrics_write(manager_services(m)->metrics, format, out);
    write_agent(m, &s);
    if (format == METRICS_OPENMETRICS)
        buf_add_str(out, "# EOF\n");
    free(s.views);
}
