#include "agent/status.h"

#include <string.h>
#include <unistd.h>

#include "agent/cmd.h"
#include "base/clock.h"
#include "store/account_record.h"

#define SCHEMA "everleaf.status/1"

static json_t *number_or_null(int64_t n)
{
    return n > 0 ? json_integer(n) : json_null();
}

/* Certificates --------------------------------------------------------------------------------- */

static json_t *ari_json(const struct schedule_ari *a)
{
    json_t *j = json_object();

    json_put_time(j, "start", a->start);
    json_put_time(j, "end", a->end);
    json_put_time(j, "next_poll", a->next_poll);
    json_put_str(j, "url", a->url);
    return j;
}

/* What is not due now will be due by ARI or by its lifetime. */
static json_t *renew_json(const struct managed_view *v)
{
    enum renew_reason later = v->renew_by_ari ? RENEW_ARI : RENEW_LIFETIME;
    enum renew_reason reason = v->reason == RENEW_NOT_DUE ? later : v->reason;
    json_t *j = json_object();

    json_put_time(j, "at", v->renew_at);
    json_put_str(j, "reason", renew_reason_name(reason));
    json_put(j, "ari", ari_json(&v->schedule->ari));
    return j;
}

/* The failure that matters most: what was issued but is not served, else what was not issued. */
static const struct err *error_of(const struct managed_view *v)
{
    const struct err *e = v->record->error ? v->record->error : v->schedule->error;

    return e ? e : v->schedule->revocation.error;
}

/* Configured outputs; the record knows how far they got. */
static json_t *outputs_json(const struct managed_view *v)
{
    json_t *list = json_array();

    for (size_t i = 0; i < v->config->n_outputs; i++) {
        const struct output *o = &v->config->outputs[i];
        char type[64];
        snprintf(type, sizeof type, "%s", o->type->name);
        struct output_row fresh = {.type = type, .path = o->path};
        const struct output_row *row = &fresh;
        for (size_t j = 0; j < v->record->n_outputs; j++) {
            const struct output_row *known = &v->record->outputs[j];
            if (strcmp(known->type, type) == 0 && strcmp(known->path, o->path) == 0)
                row = known;
        }
        json_array_append_new(list, output_row_status(row));
    }
    return list;
}

static json_t *servers_json(const struct managed_view *v)
{
    json_t *list = json_array();

    for (size_t i = 0; i < v->config->n_servers; i++) {
        struct server_row fresh = {.name = v->config->servers[i]->server.name};
        const struct server_row *row = &fresh;
        for (size_t j = 0; j < v->record->n_servers; j++) {
            if (strcmp(v->record->servers[j].name, fresh.name) == 0)
                row = &v->record->servers[j];
        }
        json_array_append_new(list, server_row_status(row));
    }
    return list;
}

json_t *status_certificate(const struct managed_view *v)
{
    json_t *j = json_object();

    json_put_str(j, "name", v->name);
    json_put_bool(j, "managed", true);
    json_put_strv(j, "names", &v->config->names);
    json_put_str(j, "issuer", v->config->issuer->name);
    json_put_int(j, "exit", v->exit_status);
    json_put_str(j, "activity", v->activity);
    json_put_str(j, "state", v->state);
    json_put(j, "generation", number_or_null(v->live ? v->live->number : 0));
    json_put(j, "newest_generation", number_or_null(v->newest));
    json_t *live = managed_cert_json(v->live);
    if (v->live)
        json_put_bool(live, "revoked", v->revoked);
    json_put(j, "live", live);
    json_put(j, "staple", staple_json(v->staple, clock_now()));
    json_put(j, "renew", renew_json(v));
    json_put_int(j, "failures",
                 (int64_t)v->schedule->failures + v->record->failures +
                     v->schedule->revocation.failures);
    json_put_time(j, "next_try", v->next_try);
    json_put(j, "error", err_to_json(error_of(v)));
    json_put(j, "outputs", outputs_json(v));
    json_put(j, "servers", servers_json(v));
    return j;
}

/* Everything else ------------------------------------------------------------------------------ */

/* Where a document comes from: a manager, or a configuration alone while nothing is on disk. */
struct source {
    const struct config *config;
    const struct manager *manager;
    struct state *state;
    const struct err *config_error;
    bool running;
};

static json_t *agent_json(const struct source *s)
{
    json_t *j = json_object();
    json_t *config = json_object();

    json_put_bool(j, "running", s->running);
    json_put(j, "pid", number_or_null(s->running ? getpid() : 0));
    json_put_time(j, "since", s->running ? manager_since(s->manager) : 0);
    json_put_str(config, "file", s->config->file);
    json_put_bool(config, "ok", s->config_error == NULL);
    json_put(config, "error", err_to_json(s->config_error));
    json_put(j, "config", config);
    return j;
}

/* NULL: there is none, or it cannot be read. An issuer that was not used since the start has its
 * account on disk only. Caller frees. */
static char *account_of(const struct source *s, const struct config_issuer *config)
{
    struct issuer *issuer = s->manager ? manager_issuer(s->manager, config->name) : NULL;
    struct account_record record = {0};

    if (issuer)
        return xstrdup(issuer_account(issuer));
    if (!s->state || !state_load_account(s->state, config->directory, &record, NULL))
        return NULL;
    char *url = xstrdup(json_str(record.json, "url"));
    account_record_done(&record);
    return url;
}

static json_t *issuers_json(const struct source *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->config->n_issuers; i++) {
        const struct config_issuer *issuer = s->config->issuers[i];
        auto_free char *account = account_of(s, issuer);
        struct limits *limits = s->manager ? manager_limits(s->manager, issuer->directory) : NULL;
        json_t *j = json_object();
        json_put_str(j, "name", issuer->name);
        json_put_str(j, "directory", issuer->directory);
        json_put_str(j, "account", account);
        json_put_bool(j, "paused", limits && limits_is_paused(limits));
        json_put(j, "limits", limits ? limits_status(limits, clock_now()) : json_array());
        json_array_append_new(list, j);
    }
    return list;
}

static size_t count_of(const struct source *s)
{
    return s->manager ? manager_count(s->manager) : s->config->n_certificates;
}

static void view_of(const struct source *s, size_t i, struct managed_view *ret)
{
    static const struct schedule no_schedule;
    static const struct deploy_record no_record;
    static const struct staple_facts no_staple = {.status = OCSP_STATUS_TRY_LATER};

    if (s->manager)
        managed_view(manager_at(s->manager, i), ret);
    else
        *ret = (struct managed_view){.name = s->config->certificates[i]->name,
                                     .config = s->config->certificates[i],
                                     .staple = &no_staple,
                                     .schedule = &no_schedule,
                                     .record = &no_record,
                                     .state = "missing",
                                     .reason = RENEW_MISSING,
                                     .exit_status = EXIT_BROKEN};
}

/* The certificates (or the one) and the worst of their exits. */
static json_t *certificates_json(const struct source *s, const char *name, int *exit_status)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count_of(s); i++) {
        struct managed_view v;
        view_of(s, i, &v);
        if (name && strcmp(v.name, name) != 0)
            continue;
        json_t *j = status_certificate(&v);
        if (name)
            json_put(j, "history", s->state ? state_history(s->state, name) : json_array());
        json_array_append_new(list, j);
        if (v.exit_status > *exit_status)
            *exit_status = v.exit_status;
    }
    return list;
}

static json_t *make_document(const struct source *s, const char *name, struct err **err)
{
    /* A configuration that was refused is a failure that leaves every certificate in service. */
    int exit_status = s->config_error ? EXIT_TROUBLE : EXIT_DONE;
    json_t *list = certificates_json(s, name, &exit_status);

    if (name && json_array_size(list) == 0) {
        json_decref(list);
        cmd_unknown_certificate(s->config, name, err);
        return NULL;
    }
    json_t *j = json_object();
    json_put_str(j, "schema", SCHEMA);
    json_put_str(j, "version", EVERLEAF_VERSION);
    json_put_time(j, "time", clock_now());
    json_put_int(j, "exit", exit_status);
    json_put(j, "agent", agent_json(s));
    json_put(j, "certificates", list);
    json_put(j, "monitor", json_array());
    json_put(j, "issuers", issuers_json(s));
    return j;
}

static struct source source_of(const struct manager *m, bool running)
{
    return (struct source){.config = manager_config(m),
                           .manager = m,
                           .state = manager_services(m)->state,
                           .config_error = manager_reload_error(m),
                           .running = running};
}

json_t *status_issuers(const struct manager *m)
{
    struct source s = source_of(m, true);

    return issuers_json(&s);
}

json_t *status_document(const struct manager *m, bool running, const char *name, struct err **err)
{
    struct source s = source_of(m, running);

    return make_document(&s, name, err);
}

json_t *status_document_of_nothing(const struct config *config, const char *name, struct err **err)
{
    struct source s = {.config = config};

    return make_document(&s, name, err);
}

int status_exit(const json_t *document)
{
    int64_t status;

    if (json_opt_int(document, "exit", &status, NULL) &&
        (status == EXIT_DONE || status == EXIT_TROUBLE || status == EXIT_BROKEN))
        return (int)status;
    return EXIT_UNKNOWN;
}
