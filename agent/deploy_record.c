#include "agent/deploy_record.h"

#include <string.h>

#include "base/mem.h"

static const char *const stage_names[] = {
    [DEPLOY_IDLE] = "idle",
    [DEPLOY_BASELINE] = "baseline",
    [DEPLOY_SWITCH] = "switch",
    [DEPLOY_RELOAD] = "reload",
    [DEPLOY_PROVE] = "prove",
    [DEPLOY_BACK_SWITCH] = "back-switch",
    [DEPLOY_BACK_RELOAD] = "back-reload",
    [DEPLOY_BACK_PROVE] = "back-prove",
};
static const char *const outcome_names[] = {
    [OUTCOME_NONE] = "none",         [OUTCOME_PROVEN] = "proven",
    [OUTCOME_DEPLOYED] = "deployed", [OUTCOME_ROLLED_BACK] = "rolled-back",
    [OUTCOME_REFUSED] = "refused",   [OUTCOME_FAILED] = "failed",
};
static const char *const baseline_names[] = {
    [BASELINE_UNKNOWN] = "unknown",
    [BASELINE_SILENT] = "silent",
    [BASELINE_OLD] = "old",
    [BASELINE_OTHER] = "other",
};
static const char *const server_names[] = {
    [SERVER_PENDING] = "pending",   [SERVER_CHECKED] = "checked",
    [SERVER_RELOADED] = "reloaded", [SERVER_PROVEN] = "proven",
    [SERVER_UNPROVEN] = "unproven", [SERVER_ROLLED_BACK] = "rolled-back",
};

const char *deploy_stage_name(enum deploy_stage stage)
{
    return stage_names[stage];
}

bool deploy_stage_is_back(enum deploy_stage stage)
{
    return stage == DEPLOY_BACK_SWITCH || stage == DEPLOY_BACK_RELOAD || stage == DEPLOY_BACK_PROVE;
}

bool server_row_is_deployed(const struct server_row *s)
{
    if (!s || s->error)
        return false;
    return s->state == SERVER_PROVEN || (s->state == SERVER_RELOADED && s->n_endpoints == 0);
}

/* Index of a name in a table; 0 when it is none of them. */
static unsigned name_index(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; name && i < n; i++) {
        if (strcmp(names[i], name) == 0)
            return (unsigned)i;
    }
    return 0;
}

void endpoint_row_done(struct endpoint_row *e)
{
    free(e->connect);
    free(e->address);
    free(e->sni);
    free(e->sha256);
    err_free(e->error);
    *e = (struct endpoint_row){0};
}

void server_row_clear_endpoints(struct server_row *s)
{
    for (size_t i = 0; i < s->n_endpoints; i++)
        endpoint_row_done(&s->endpoints[i]);
    free(s->endpoints);
    s->endpoints = NULL;
    s->n_endpoints = 0;
}

struct endpoint_row *server_row_add_endpoint(struct server_row *s)
{
    s->endpoints = xreallocarray(s->endpoints, s->n_endpoints + 1, sizeof *s->endpoints);
    struct endpoint_row *e = &s->endpoints[s->n_endpoints++];
    *e = (struct endpoint_row){0};
    return e;
}

void server_row_done(struct server_row *s)
{
    server_row_clear_endpoints(s);
    free(s->name);
    err_free(s->error);
    *s = (struct server_row){0};
}

void output_row_done(struct output_row *o)
{
    free(o->type);
    free(o->path);
    err_free(o->error);
    *o = (struct output_row){0};
}

void deploy_record_done(struct deploy_record *r)
{
    for (size_t i = 0; i < r->n_outputs; i++)
        output_row_done(&r->outputs[i]);
    for (size_t i = 0; i < r->n_servers; i++)
        server_row_done(&r->servers[i]);
    free(r->outputs);
    free(r->servers);
    free(r->attempt);
    err_free(r->error);
    *r = (struct deploy_record){0};
}

struct server_row *deploy_record_server(struct deploy_record *r, const char *name)
{
    for (size_t i = 0; i < r->n_servers; i++) {
        if (strcmp(r->servers[i].name, name) == 0)
            return &r->servers[i];
    }
    r->servers = xreallocarray(r->servers, r->n_servers + 1, sizeof *r->servers);
    struct server_row *s = &r->servers[r->n_servers++];
    *s = (struct server_row){.name = xstrdup(name)};
    return s;
}

struct output_row *deploy_record_output(struct deploy_record *r, const char *type, const char *path)
{
    for (size_t i = 0; i < r->n_outputs; i++) {
        if (strcmp(r->outputs[i].path, path) == 0 && strcmp(r->outputs[i].type, type) == 0)
            return &r->outputs[i];
    }
    r->outputs = xreallocarray(r->outputs, r->n_outputs + 1, sizeof *r->outputs);
    struct output_row *o = &r->outputs[r->n_outputs++];
    *o = (struct output_row){.type = xstrdup(type), .path = xstrdup(path)};
    return o;
}

static bool has_server(const struct config_certificate *c, const char *name)
{
    for (size_t i = 0; i < c->n_servers; i++) {
        if (strcmp(c->servers[i]->server.name, name) == 0)
            return true;
    }
    return false;
}

static bool has_output(const struct config_certificate *c, const struct output_row *row)
{
    for (size_t i = 0; i < c->n_outputs; i++) {
        if (strcmp(c->outputs[i].path, row->path) == 0 &&
            strcmp(c->outputs[i].type->name, row->type) == 0)
            return true;
    }
    return false;
}

void deploy_record_fit(struct deploy_record *r, const struct config_certificate *c)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n_servers; i++) {
        if (has_server(c, r->servers[i].name))
            r->servers[kept++] = r->servers[i];
        else
            server_row_done(&r->servers[i]);
    }
    r->n_servers = kept;
    kept = 0;
    for (size_t i = 0; i < r->n_outputs; i++) {
        if (has_output(c, &r->outputs[i]))
            r->outputs[kept++] = r->outputs[i];
        else
            output_row_done(&r->outputs[i]);
    }
    r->n_outputs = kept;
}

static void read_text(char *out, size_t size, const char *text)
{
    if (text && strlen(text) < size)
        memcpy(out, text, strlen(text) + 1);
}

static void read_endpoint(struct endpoint_row *e, const json_t *j)
{
    e->connect = xstrdup(json_str(j, "connect"));
    e->address = xstrdup(json_str(j, "address"));
    e->sni = xstrdup(json_str(j, "sni"));
    e->baseline = (enum baseline)name_index(baseline_names, ARRAY_LEN(baseline_names),
                                            json_str(j, "baseline"));
    e->answered = json_bool(j, "answered");
    int64_t staple = json_int(j, "staple");
    e->staple = staple >= 0 && staple <= STAPLE_WRONG ? (enum staple_seen)staple : STAPLE_UNKNOWN;
    e->stapled = json_bool(j, "stapled");
    e->serves_live = json_bool(j, "serves_live");
    e->sha256 = xstrdup(json_str(j, "sha256"));
    e->not_after = json_time(j, "not_after");
    e->handshake_ms = json_int(j, "handshake_ms");
    read_text(e->version, sizeof e->version, json_str(j, "version"));
    read_text(e->cipher, sizeof e->cipher, json_str(j, "cipher"));
    read_text(e->trust, sizeof e->trust, json_str(j, "trust"));
    e->checked_at = json_time(j, "checked_at");
    e->error = err_from_json(json_get(j, "error"));
}

static void read_server(struct deploy_record *r, const json_t *j)
{
    if (!json_str(j, "name"))
        return;
    struct server_row *s = deploy_record_server(r, json_str(j, "name"));
    s->state =
        (enum server_state)name_index(server_names, ARRAY_LEN(server_names), json_str(j, "state"));
    s->reloaded_at = json_time(j, "reloaded_at");
    s->reload_ms = json_int(j, "reload_ms");
    s->reloaded = json_bool(j, "reloaded");
    s->not_running = json_bool(j, "not_running");
    s->error = err_from_json(json_get(j, "error"));
    const json_t *list = json_get(j, "endpoints");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (json_str(item, "connect"))
            read_endpoint(server_row_add_endpoint(s), item);
    }
}

static void read_output(struct deploy_record *r, const json_t *j)
{
    if (!json_str(j, "type") || !json_str(j, "path"))
        return;
    struct output_row *o = deploy_record_output(r, json_str(j, "type"), json_str(j, "path"));
    o->generation = json_int(j, "generation");
    err_free(o->error);
    o->error = err_from_json(json_get(j, "error"));
}

void deploy_record_read(struct deploy_record *r, const json_t *j)
{
    *r = (struct deploy_record){0};
    if (!j)
        return;
    r->target = json_int(j, "target");
    r->previous = json_int(j, "previous");
    r->candidate = json_int(j, "candidate");
    r->held_over = json_int(j, "held_over");
    r->stage =
        (enum deploy_stage)name_index(stage_names, ARRAY_LEN(stage_names), json_str(j, "stage"));
    r->outcome = (enum deploy_outcome)name_index(outcome_names, ARRAY_LEN(outcome_names),
                                                 json_str(j, "outcome"));
    r->alone = json_bool(j, "alone");
    r->stays = json_bool(j, "stays");
    int64_t failures = json_int(j, "failures");
    r->failures = failures > 0 && failures < 1000000 ? (int)failures : 0;
    r->next_try = json_time(j, "next_try");
    r->error = err_from_json(json_get(j, "error"));
    r->attempt = xstrdup(json_str(j, "attempt"));
    const json_t *outputs = json_get(j, "outputs");
    for (size_t i = 0; i < json_array_size(outputs); i++)
        read_output(r, json_array_get(outputs, i));
    const json_t *servers = json_get(j, "servers");
    for (size_t i = 0; i < json_array_size(servers); i++)
        read_server(r, json_array_get(servers, i));
}

/* The members of the status document, which deploy.json has as well. */
static json_t *endpoint_status(const struct endpoint_row *e)
{
    json_t *j = json_object();
    json_put_str(j, "connect", e->connect);
    json_put_str(j, "address", e->address);
    json_put_str(j, "sni", e->sni);
    json_put_bool(j, "serves_live", e->serves_live);
    json_put_str(j, "sha256", e->sha256);
    if (e->staple == STAPLE_UNKNOWN)
        json_put(j, "staple_matches", json_null());
    else
        json_put_bool(j, "staple_matches", e->staple == STAPLE_OURS);
    json_put_time(j, "checked_at", e->checked_at);
    json_put(j, "error", err_to_json(e->error));
    return j;
}

static json_t *endpoint_to_json(const struct endpoint_row *e)
{
    json_t *j = endpoint_status(e);
    json_put_str(j, "baseline", baseline_names[e->baseline]);
    json_put_bool(j, "answered", e->answered);
    json_put_int(j, "staple", e->staple);
    json_put_bool(j, "stapled", e->stapled);
    json_put_time(j, "not_after", e->not_after);
    json_put_int(j, "handshake_ms", e->handshake_ms);
    json_put_str(j, "version", e->version);
    json_put_str(j, "cipher", e->cipher);
    json_put_str(j, "trust", e->trust);
    return j;
}

static json_t *server_members(const struct server_row *s,
                              json_t *(*endpoint)(const struct endpoint_row *))
{
    json_t *j = json_object();
    json_put_str(j, "name", s->name);
    json_put_time(j, "reloaded_at", s->reloaded_at);
    json_put_str(j, "state", server_names[s->state]);
    json_put(j, "error", err_to_json(s->error));
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_endpoints; i++)
        json_array_append_new(list, endpoint(&s->endpoints[i]));
    json_put(j, "endpoints", list);
    return j;
}

json_t *server_row_status(const struct server_row *s)
{
    return server_members(s, endpoint_status);
}

json_t *output_row_status(const struct output_row *o)
{
    json_t *j = json_object();
    json_put_str(j, "type", o->type);
    json_put_str(j, "path", o->path);
    json_put(j, "generation", o->generation > 0 ? json_integer(o->generation) : json_null());
    json_put(j, "error", err_to_json(o->error));
    return j;
}

json_t *deploy_record_to_json(const struct deploy_record *r)
{
    json_t *j = json_object();
    json_put_int(j, "version", 1);
    json_put_int(j, "target", r->target);
    json_put_int(j, "previous", r->previous);
    json_put_int(j, "candidate", r->candidate);
    json_put_int(j, "held_over", r->held_over);
    json_put_str(j, "stage", stage_names[r->stage]);
    json_put_str(j, "outcome", outcome_names[r->outcome]);
    json_put_bool(j, "alone", r->alone);
    json_put_bool(j, "stays", r->stays);
    json_put_int(j, "failures", r->failures);
    json_put_time(j, "next_try", r->next_try);
    json_put(j, "error", err_to_json(r->error));
    json_put_str(j, "attempt", r->attempt);
    json_t *outputs = json_array();
    for (size_t i = 0; i < r->n_outputs; i++)
        json_array_append_new(outputs, output_row_status(&r->outputs[i]));
    json_put(j, "outputs", outputs);
    json_t *servers = json_array();
    for (size_t i = 0; i < r->n_servers; i++) {
        json_t *s = server_members(&r->servers[i], endpoint_to_json);
        json_put_int(s, "reload_ms", r->servers[i].reload_ms);
        json_put_bool(s, "reloaded", r->servers[i].reloaded);
        json_put_bool(s, "not_running", r->servers[i].not_running);
        json_array_append_new(servers, s);
    }
    json_put(j, "servers", servers);
    return j;
}
