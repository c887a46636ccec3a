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

static json_t *staple_json(void)
{
    json_t *j = json_object();

    json_put_str(j, "status", "none");
    json_put_time(j, "this_update", 0);
    json_put_time(j, "next_update", 0);
    return j;
}

static json_t *ari_json(void)
{
    json_t *j = json_object();

    json_put_time(j, "start", 0);
    json_put_time(j, "end", 0);
    json_put_time(j, "next_poll", 0);
    json_put_str(j, "url", NULL);
    return j;
}

/* What is not due now will be due by its lifetime. */
static json_t *renew_json(const struct managed_view *v)
{
    enum renew_reason reason = v->reason == RENEW_NOT_DUE ? RENEW_LIFETIME : v->reason;
    json_t *j = json_object();

    json_put_time(j, "at", v->renew_at);
    json_put_str(j, "reason", renew_reason_name(reason));
    json_put(j, "ari", ari_json());
    return j;
}

/* The failure that matters most: what was issued but is not served, else what was not issued. */
static const struct err *error_of(const struct managed_view *v)
{
    return v->record->error ? v->record->error : v->schedule->error;
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

static json_t *certificate_json(const struct managed_view *v)
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
    json_put(j, "live", managed_cert_json(v->live));
    json_put(j, "staple", staple_json());
    json_put(j, "renew", renew_json(v));
    json_put_int(j, "failures", (int64_t)v->schedule->failures + v->record->failures);
    json_put_time(j, "next_try", v->next_try);
    json_put(j, "error", err_to_json(error_of(v)));
    json_put(j, "outputs", outputs_json(v));
    json_put(j, "servers", servers_json(v));
    return j;
}

/* Everything else ------------------------------------------------------------------------------ */

static json_t *agent_json(const struct manager *m, bool running)
{
    const struct err *e = manager_reload_error(m);
    json_t *j = json_object();
    json_t *config = json_object();

    json_put_bool(j, "running", running);
    json_put(j, "pid", number_or_null(running ? getpid() : 0));
    json_put_time(j, "since", running ? manager_since(m) : 0);
    json_put_str(config, "file", manager_config(m)->file);
    json_put_bool(config, "ok", e == NULL);
    json_put(config, "error", err_to_json(e));
    json_put(j, "config", config);
    return j;
}

/* NULL: there is none, or it cannot be read. An issuer that was not used since the start has its
 * account on disk only. Caller frees. */
static char *account_of(const struct manager *m, const struct config_issuer *config)
{
    struct issuer *issuer = manager_issuer(m, config->name);
    struct account_record record = {0};
    struct state *state = manager_services(m)->state;

    if (issuer)
        return xstrdup(issuer_account(issuer));
    if (!state || !state_load_account(state, config->directory, &record, NULL))
        return NULL;
    char *url = xstrdup(json_str(record.json, "url"));
    account_record_done(&record);
    return url;
}

static json_t *issuers_json(const struct manager *m)
{
    const struct config *config = manager_config(m);
    json_t *list = json_array();

    for (size_t i = 0; i < config->n_issuers; i++) {
        auto_free char *account = account_of(m, config->issuers[i]);
        json_t *j = json_object();
        json_put_str(j, "name", config->issuers[i]->name);
        json_put_str(j, "directory", config->issuers[i]->directory);
        json_put_str(j, "account", account);
        json_put_bool(j, "paused", false);
        json_put(j, "limits", json_array());
        json_array_append_new(list, j);
    }
    return list;
}

static int worse(int a, int b)
{
    return a > b ? a : b;
}

json_t *status_document(const struct manager *m, bool running, const char *name, struct err **err)
{
    const struct managed *only = name ? manager_find(m, name) : NULL;
    struct state *state = manager_services(m)->state; /* NULL: there is none on disk */
    json_t *list = json_array();
    /* A configuration that was refused is a failure that leaves every certificate in service. */
    int exit_status = manager_reload_error(m) ? 1 : 0;

    if (name && !only) {
        json_decref(list);
        cmd_unknown_certificate(manager_config(m), name, err);
        return NULL;
    }
    for (size_t i = 0; i < manager_count(m); i++) {
        struct managed_view v;
        if (only && manager_at(m, i) != only)
            continue;
        managed_view(manager_at(m, i), &v);
        json_t *j = certificate_json(&v);
        if (only && state)
            json_put(j, "history", state_history(state, v.name));
        else if (only)
            json_put(j, "history", json_array());
        json_array_append_new(list, j);
        exit_status = worse(exit_status, v.exit_status);
    }
    json_t *j = json_object();
    json_put_str(j, "schema", SCHEMA);
    json_put_str(j, "version", EVERLEAF_VERSION);
    json_put_time(j, "time", clock_now());
    json_put_int(j, "exit", exit_status);
    json_put(j, "agent", agent_json(m, running));
    json_put(j, "certificates", list);
    json_put(j, "monitor", json_array());
    json_put(j, "issuers", issuers_json(m));
    return j;
}

int status_exit(const json_t *document)
{
    int64_t status;

    if (json_opt_int(document, "exit", &status, NULL) &&
        (status == EXIT_DONE || status == EXIT_TROUBLE || status == EXIT_BROKEN))
        return (int)status;
    return EXIT_UNKNOWN;
}
