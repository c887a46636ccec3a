#include "agent/config.h"

#include <string.h>
#include <unistd.h>

#include "agent/config_private.h"
#include "pki/name.h"

#define DEFAULT_FILE "/etc/everleaf/everleaf.yaml"

void config_free_member(void *member)
{
    set_string(member, NULL);
}

static void config_free(struct config *c)
{
    for (size_t i = 0; i < c->n_certificates; i++)
        config_certificate_free(c->certificates[i]);
    for (size_t i = 0; i < c->n_servers; i++)
        config_server_free(c->servers[i]);
    for (size_t i = 0; i < c->n_solvers; i++)
        solver_free(c->solvers[i]);
    for (size_t i = 0; i < c->n_issuers; i++)
        config_issuer_free(c->issuers[i]);
    free(c->certificates);
    free(c->servers);
    free(c->solvers);
    free(c->issuers);
    map_free(c->by_name, NULL);
    schema_done(config_agent_fields, c);
    free(c->file);
    free(c);
}

struct config *config_ref(struct config *c)
{
    c->refs++;
    return c;
}

void config_unref(struct config *c)
{
    if (c && --c->refs == 0)
        config_free(c);
}

struct config_certificate *config_find(const struct config *c, const char *certificate)
{
    if (c->by_name)
        return map_get(c->by_name, certificate);
    for (size_t i = 0; i < c->n_certificates; i++) {
        if (strcmp(c->certificates[i]->name, certificate) == 0)
            return c->certificates[i];
    }
    return NULL;
}

void config_endpoint_sni(const struct config_endpoint *e, const struct config_certificate *c,
                         struct strv *ret)
{
    if (e->sni.n > 0) {
        strv_copy(ret, &e->sni);
        return;
    }
    strv_done(ret);
    for (size_t i = 0; i < c->names.n; i++) {
        const char *name = c->names.items[i];

        if (name_type(name) != NAME_DNS)
            continue;
        if (name_is_wildcard(name)) /* a name that no virtual host of its own has */
            strv_addf(ret, "everleaf-probe.%s", name_base(name));
        else
            strv_add(ret, name);
        return;
    }
    strv_add(ret, "");
}

char *config_path(const char *option)
{
    const char *variable = getenv("EVERLEAF_CONFIG"), *names = getenv("EVERLEAF_NAMES");

    if (option)
        return xstrdup(option);
    if (variable && *variable)
        return xstrdup(variable);
    if (names && *names && access(DEFAULT_FILE, F_OK) != 0)
        return NULL;
    return xstrdup(DEFAULT_FILE);
}

/* Loading -------------------------------------------------------------------------------------- */

static struct config *config_new(const char *file)
{
    struct config *c = xcalloc(1, sizeof(*c));

    c->refs = 1;
    c->file = xstrdup(file);
    return c;
}

static struct config *load(const char *file, struct yaml *document, struct problems *problems)
{
    struct config *c = config_new(file);
    struct reader *r = reader_new(c, problems);
    size_t errors = problems->errors;

    if (document)
        reader_take_document(r, document);
    else
        reader_read_file(r, file);
    if (r->n_documents > 0)
        reader_finish(r);
    reader_free(r);
    problems_sort(problems);
    if (problems->errors == errors)
        return c;
    config_unref(c);
    return NULL;
}

struct config *config_load(const char *file, struct problems *problems)
{
    return load(file, NULL, problems);
}

struct config *config_from_environment(struct problems *problems)
{
    size_t errors = problems->errors;
    struct environment *e = environment_read(problems);
    struct yaml *document = environment_parse(e, problems);
    struct config *c = document ? load(ENVIRONMENT_FILE, document, problems) : NULL;

    environment_explain(e, problems);
    environment_free(e);
    if (problems->errors > errors) { /* of the variables themselves, too */
        config_unref(c);
        return NULL;
    }
    return c;
}
