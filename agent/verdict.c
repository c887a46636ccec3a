#include "agent/verdict.h"

#include <string.h>

#include "agent/proof.h"

struct tally {
    size_t endpoints, open;
    struct err **guilty, **alarm;
};

static const char *place_of(const struct endpoint_row *e)
{
    return e->address ? e->address : e->connect;
}

static const char *sni_of(const struct endpoint_row *e)
{
    return e->sni ? e->sni : "";
}

static void blame(const struct config_server *server, const struct endpoint_row *e, struct tally *t)
{
    const char *name = server->server.name;

    if (*t->guilty)
        return;
    if (e->answered && e->error)
        err_set(t->guilty, ERR_SYSTEM, "server %s, SNI \"%s\": %s", name, sni_of(e),
                e->error->text);
    else if (e->answered)
        err_set(t->guilty, ERR_SYSTEM, "server %s, SNI \"%s\": %s serves another certificate", name,
                sni_of(e), place_of(e));
    else
        err_set(t->guilty, ERR_SYSTEM,
                "server %s, SNI \"%s\": %s answered before and fails now: %s", name, sni_of(e),
                place_of(e), e->error ? e->error->text : "no answer");
    err_step(t->guilty, "prove");
    err_hint(
        t->guilty,
        "look whether %s really reads the files that are written for it, and whether its reload "
        "took effect",
        name);
}

static void raise_alarm(const struct config_server *server, const struct server_row *row,
                        const struct endpoint_row *e, struct tally *t)
{
    /* A guessed endpoint or a server that does not run may stay silent: nobody promised it. */
    if (*t->alarm || (!e->answered && (server->prove_default || row->not_running)))
        return;
    err_set(t->alarm, ERR_SYSTEM, "server %s: not proven at %s (SNI \"%s\"): %s",
            server->server.name, place_of(e), sni_of(e), e->error ? e->error->text : "no answer");
    (*t->alarm)->problem = xstrdup("unproven");
    err_step(t->alarm, "prove");
    err_hint(t->alarm,
             "the endpoint %s when the deployment began, so nothing was rolled back; set "
             "servers.%s.prove to where the certificate is served, or off",
             e->baseline == BASELINE_SILENT ? "was silent" : "served something else",
             server->server.name);
}

static void judge_server(const struct config_server *server, struct server_row *row,
                         struct tally *t)
{
    size_t open = 0;

    for (size_t i = 0; i < row->n_endpoints; i++) {
        const struct endpoint_row *e = &row->endpoints[i];
        t->endpoints++;
        if (proof_row_is_settled(server, row, e))
            continue;
        open++;
        if (e->baseline == BASELINE_OLD && !e->serves_live)
            blame(server, e, t);
        else
            raise_alarm(server, row, e, t);
    }
    if (row->n_endpoints > 0)
        row->state = open == 0 ? SERVER_PROVEN : SERVER_UNPROVEN;
    t->open += open;
}

enum deploy_outcome verdict_proof(struct deploy_record *r, const struct config_certificate *c,
                                  struct err **ret_guilty, struct err **ret_alarm)
{
    struct tally t = {.guilty = ret_guilty, .alarm = ret_alarm};

    for (size_t i = 0; i < c->n_servers; i++)
        judge_server(c->servers[i], deploy_record_server(r, c->servers[i]->server.name), &t);
    return t.endpoints > 0 && t.open == 0 ? OUTCOME_PROVEN : OUTCOME_DEPLOYED;
}

static bool has_endpoint(const struct server_row *row, const char *connect)
{
    for (size_t i = 0; row && i < row->n_endpoints; i++) {
        if (strcmp(row->endpoints[i].connect, connect) == 0)
            return true;
    }
    return false;
}

bool verdict_knows_server(const struct deploy_record *r, const struct config_server *server,
                          const char *certificate)
{
    const struct server_row *row = NULL;

    for (size_t i = 0; i < r->n_servers && !row; i++)
        row = strcmp(r->servers[i].name, server->server.name) == 0 ? &r->servers[i] : NULL;
    for (size_t i = 0; !server->prove_off && i < server->n_prove; i++) {
        if (proof_concerns(&server->prove[i], certificate) &&
            !has_endpoint(row, server->prove[i].connect))
            return false;
    }
    return true;
}

bool verdict_serves_other(const struct deploy_record *r, const struct config_certificate *c)
{
    for (size_t s = 0; s < c->n_servers; s++) {
        const struct config_server *server = c->servers[s];
        for (size_t i = 0; i < r->n_servers; i++) {
            const struct server_row *row = &r->servers[i];
            if (strcmp(row->name, server->server.name) != 0 || server->prove_default)
                continue;
            for (size_t e = 0; e < row->n_endpoints; e++) {
                if (row->endpoints[e].answered &&
                    !proof_row_is_settled(server, row, &row->endpoints[e]))
                    return true;
            }
        }
    }
    return false;
}

char *verdict_text(const struct deploy_record *r)
{
    size_t proven = 0, all = 0;

    for (size_t s = 0; s < r->n_servers; s++) {
        for (size_t e = 0; e < r->servers[s].n_endpoints; e++) {
            all++;
            proven += r->servers[s].endpoints[e].serves_live;
        }
    }
    if (all == 0)
        return xstrdup("deployed, not proven: no endpoint");
    if (r->outcome == OUTCOME_PROVEN) /* silent siblings of an endpoint that answers do not count */
        return xasprintf("proven at %zu endpoint%s", proven, proven == 1 ? "" : "s");
    return xasprintf("deployed, proven at %zu of %zu endpoints", proven, all);
}
