#include "agent/alert_rule.h"

#include <string.h>

#include "agent/limits.h"
#include "agent/metrics.h"
#include "agent/staple.h"
#include "base/clock.h"

#define HOLD_SERVED_S   300 /* a deployment under way */
#define HOLD_UNPROVEN_S 900
#define HOLD_CONFIG_S   300 /* somebody is editing */
#define HOLD_CLOCK_S    300 /* it is being set */
#define SKEW_MAX_S      60

#define LATE_PART     20 /* parts of the lifetime, as in everleaf.rules.yml */
#define EXPIRING_PART 6
#define FAILING_PART  50
#define STAPLE_PART   4
#define FAILURES_MANY 3

struct look {
    const struct managed_view *v;
    time_t now;
    alert_fn *fn;
    void *userdata;
};

/* c: what there is to say beside the certificate; the summary is freed. */
static void tell(const struct look *l, struct alert_condition c, char *summary)
{
    c.certificate = l->v->name;
    c.summary = summary;
    l->fn(&c, l->userdata);
    free(summary);
}

static int64_t lifetime(const struct managed_view *v)
{
    return (int64_t)v->live->not_after - (int64_t)v->live->not_before;
}

/* Seconds since the certificate became due; negative before. */
static int64_t late_by(const struct look *l)
{
    return l->v->renew_at > 0 ? (int64_t)l->now - (int64_t)l->v->renew_at : INT64_MIN;
}

static int failures(const struct managed_view *v)
{
    return v->schedule->failures + v->record->failures;
}

static const struct err *cause(const struct managed_view *v)
{
    return v->record->error ? v->record->error : v->schedule->error;
}

/* Validity ------------------------------------------------------------------------------------- */

static void look_at_validity(const struct look *l)
{
    const struct managed_view *v = l->v;
    int64_t left = (int64_t)v->live->not_after - (int64_t)l->now;
    char text[CLOCK_TEXT_MAX];

    if (v->revoked)
        tell(l,
             (struct alert_condition){.name = "EverleafCertificateRevoked",
                                      .severity = "critical",
                                      .hold_s = HOLD_SERVED_S,
                                      .error = cause(v)},
             xasprintf("Certificate %s is revoked and still in use", v->name));
    if (left <= 0) {
        tell(l,
             (struct alert_condition){
                 .name = "EverleafCertificateExpired", .severity = "critical", .error = cause(v)},
             xasprintf("Certificate %s has expired", v->name));
        return;
    }
    if (left < lifetime(v) / EXPIRING_PART)
        tell(l,
             (struct alert_condition){
                 .name = "EverleafCertificateExpiring", .severity = "critical", .error = cause(v)},
             xasprintf("Certificate %s expires in %s", v->name, duration_text(left, text)));
    if (late_by(l) > lifetime(v) / LATE_PART)
        tell(l,
             (struct alert_condition){
                 .name = "EverleafRenewalOverdue", .severity = "warning", .error = cause(v)},
             xasprintf("Certificate %s should have been renewed %s ago", v->name,
                       duration_text(late_by(l), text)));
}

static bool is_failing(const struct look *l)
{
    const struct managed_view *v = l->v;

    if (failures(v) == 0)
        return false;
    return !v->live || failures(v) >= FAILURES_MANY || late_by(l) > lifetime(v) / FAILING_PART;
}

static void look_at_renewal(const struct look *l)
{
    int n = failures(l->v);

    if (is_failing(l))
        tell(l,
             (struct alert_condition){.name = "EverleafRenewalFailing",
                                      .severity = l->v->live ? "warning" : "critical",
                                      .error = cause(l->v)},
             xasprintf("Certificate %s: %d failure%s in a row", l->v->name, n, n == 1 ? "" : "s"));
    if (l->v->record->outcome == OUTCOME_ROLLED_BACK)
        tell(l,
             (struct alert_condition){.name = "EverleafRolledBack",
                                      .severity = "critical",
                                      .error = l->v->record->error},
             xasprintf("Certificate %s was put back to the old one", l->v->name));
}

static void look_at_staple(const struct look *l)
{
    const struct staple_facts *s = l->v->staple;
    int64_t left = (int64_t)s->next_update - (int64_t)l->now;

    if (s->held && left < ((int64_t)s->next_update - (int64_t)s->this_update) / STAPLE_PART)
        tell(l,
             (struct alert_condition){
                 .name = "EverleafStapleExpiring", .severity = "warning", .error = s->error},
             xasprintf("The OCSP staple of %s runs out", l->v->name));
}

/* Servers -------------------------------------------------------------------------------------- */

/* True when some endpoint shows something else: that says all there is to say of its server. */
static bool look_at_endpoints(const struct look *l, const struct server_row *server)
{
    bool any = false;

    for (size_t i = 0; i < server->n_endpoints; i++) {
        const struct endpoint_row *e = &server->endpoints[i];
        if (!e->answered || e->serves_live)
            continue;
        any = true;
        tell(l,
             (struct alert_condition){.name = "EverleafNotServed",
                                      .severity = "critical",
                                      .hold_s = HOLD_SERVED_S,
                                      .server = server->name,
                                      .endpoint = e->connect,
                                      .error = e->error},
             xasprintf("%s does not serve certificate %s", e->connect, l->v->name));
    }
    return any;
}

static void look_at_servers(const struct look *l)
{
    const struct deploy_record *r = l->v->record;

    for (size_t i = 0; i < r->n_servers; i++) {
        const struct server_row *server = &r->servers[i];
        if (look_at_endpoints(l, server) || server_row_is_deployed(server))
            continue;
        tell(l,
             (struct alert_condition){.name = "EverleafUnproven",
                                      .severity = "warning",
                                      .hold_s = HOLD_UNPROVEN_S,
                                      .server = server->name,
                                      .error = server->error ? server->error : r->error},
             xasprintf("Nobody has seen %s serve certificate %s", server->name, l->v->name));
    }
}

/* Issuers -------------------------------------------------------------------------------------- */

static void look_at_issuer(const struct manager *m, const struct config_issuer *issuer,
                           alert_fn *fn, void *userdata)
{
    const struct limits *limits = manager_limits(m, issuer->directory);
    int64_t skew = 0;
    char text[CLOCK_TEXT_MAX];

    if (limits && limits_is_paused(limits)) {
        auto_free char *summary = xasprintf("The CA %s takes no orders from us", issuer->name);
        fn(&(struct alert_condition){.name = "EverleafCaPaused",
                                     .severity = "critical",
                                     .issuer = issuer->name,
                                     .summary = summary},
           userdata);
    }
    if (!metrics_get(manager_services(m)->metrics, METRIC_CLOCK_SKEW, &skew, issuer->name, NULL))
        return;
    if (skew > SKEW_MAX_S || skew < -SKEW_MAX_S) {
        auto_free char *summary =
            xasprintf("The clock is %s off that of the CA %s",
                      duration_text(skew < 0 ? -skew : skew, text), issuer->name);
        fn(&(struct alert_condition){.name = "EverleafClockSkew",
                                     .severity = "warning",
                                     .hold_s = HOLD_CLOCK_S,
                                     .issuer = issuer->name,
                                     .summary = summary},
           userdata);
    }
}

/* All ------------------------------------------------------------------------------------------ */

void alert_conditions(const struct manager *m, time_t now, alert_fn *fn, void *userdata)
{
    const struct err *refused = manager_reload_error(m);

    for (size_t i = 0; i < manager_count(m); i++) {
        struct managed_view v;
        struct look l = {.v = &v, .now = now, .fn = fn, .userdata = userdata};
        managed_view(manager_at(m, i), &v);
        look_at_renewal(&l);
        if (!v.live)
            continue;
        look_at_validity(&l);
        look_at_staple(&l);
        look_at_servers(&l);
    }
    for (size_t i = 0; i < manager_config(m)->n_issuers; i++)
        look_at_issuer(m, manager_config(m)->issuers[i], fn, userdata);
    if (refused)
        fn(&(struct alert_condition){.name = "EverleafConfigReloadFailed",
                                     .severity = "warning",
                                     .hold_s = HOLD_CONFIG_S,
                                     .summary = "Everleaf refused its new configuration",
                                     .error = refused},
           userdata);
}
