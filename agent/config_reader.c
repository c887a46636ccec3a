#include <string.h>

#include "agent/config_private.h"
#include "store/certificate_name.h"

const char *const section_names[] = {
    [SECTION_ISSUERS] = "issuers", [SECTION_CHALLENGES] = "challenges",
    [SECTION_SERVERS] = "servers", [SECTION_CERTIFICATES] = "certificates",
    [SECTION_COUNT] = NULL,
};

struct reader *reader_new(struct config *c, struct problems *problems)
{
    struct reader *r = xcalloc(1, sizeof(*r));

    r->config = c;
    r->problems = problems;
    r->files = map_new();
    r->paths = map_new();
    r->implied_servers = map_new();
    for (size_t i = 0; i < SECTION_COUNT; i++)
        r->sections[i] = map_new();
    return r;
}

void reader_free(struct reader *r)
{
    for (size_t i = 0; i < SECTION_COUNT; i++)
        map_free(r->sections[i], free);
    map_free(r->files, NULL);
    map_free(r->paths, free);
    map_free(r->implied_servers, NULL);
    for (size_t i = 0; i < r->n_documents; i++)
        yaml_free(r->documents[i]);
    free(r->documents);
    free(r->agents);
    free(r);
}

/* Sections ------------------------------------------------------------------------------------- */

static void add_entry(struct reader *r, enum section s, const struct yaml_node *key,
                      const struct yaml_node *value)
{
    const struct entry *first = map_get(r->sections[s], yaml_key(key));

    if (first) {
        auto_free char *path = schema_path(section_names[s], yaml_key(key));
        auto_free char *where = yaml_where(first->key);

        yaml_problem(r->problems, false, key, path, NULL,
                     "\"%s\" is there twice, the first one is at %s", yaml_key(key), where);
        return;
    }
    struct entry *e = xcalloc(1, sizeof(*e));

    e->key = key;
    e->value = value;
    map_set(r->sections[s], yaml_key(key), e);
}

static void add_section(struct reader *r, enum section s, const struct yaml_node *map)
{
    if (yaml_node_type(map) != YAML_MAP && yaml_node_type(map) != YAML_NULL) {
        yaml_problem(r->problems, false, map, section_names[s], NULL,
                     "expected a map {NAME: {...}}, this is %s", yaml_type_text(map));
        return;
    }
    for (size_t i = 0; i < yaml_count(map); i++) {
        const struct yaml_node *key, *value = yaml_pair(map, i, &key);

        add_entry(r, s, key, value);
    }
}

/* Keys of `agent` must not be in two files; within one, base/yaml has looked. */
static void add_agent(struct reader *r, const struct yaml_node *map)
{
    if (yaml_node_type(map) != YAML_MAP) {
        if (yaml_node_type(map) != YAML_NULL)
            yaml_problem(r->problems, false, map, "agent", NULL,
                         "expected a map {key: value}, this is %s", yaml_type_text(map));
        return;
    }
    for (size_t a = 0; a < r->n_agents; a++) {
        for (size_t i = 0; i < yaml_count(r->agents[a]); i++) {
            const struct yaml_node *key, *twin = NULL;

            yaml_pair(r->agents[a], i, &key);
            for (size_t k = 0; !twin && k < yaml_count(map); k++) {
                yaml_pair(map, k, &twin);
                if (strcmp(yaml_key(twin), yaml_key(key)) != 0)
                    twin = NULL;
            }
            if (!twin)
                continue;
            auto_free char *path = schema_path("agent", yaml_key(key));
            auto_free char *where = yaml_where(key);

            yaml_problem(r->problems, false, twin, path, NULL,
                         "\"%s\" is there twice, the first one is at %s", yaml_key(key), where);
        }
    }
    r->agents = xreallocarray(r->agents, r->n_agents + 1, sizeof(*r->agents));
    r->agents[r->n_agents++] = map;
}

static void add_key(struct reader *r, const struct yaml_node *key, const struct yaml_node *value)
{
    static const char *const names[] = {"include", "agent",        "issuers", "challenges",
                                        "servers", "certificates", NULL};

    if (strcmp(yaml_key(key), "include") == 0)
        return; /* done by config_include.c */
    if (strcmp(yaml_key(key), "agent") == 0) {
        add_agent(r, value);
        return;
    }
    for (int s = 0; s < SECTION_COUNT; s++) {
        if (strcmp(yaml_key(key), section_names[s]) == 0) {
            add_section(r, (enum section)s, value);
            return;
        }
    }
    yaml_problem(r->problems, false, key, yaml_key(key), schema_nearest(yaml_key(key), names),
                 "unknown section \"%s\"", yaml_key(key));
}

void reader_take_document(struct reader *r, struct yaml *document)
{
    const struct yaml_node *root = yaml_root(document);

    r->documents = xreallocarray(r->documents, r->n_documents + 1, sizeof(*r->documents));
    r->documents[r->n_documents++] = document;
    if (yaml_node_type(root) != YAML_MAP) {
        yaml_problem(r->problems, false, root, NULL, NULL,
                     "expected a map of sections (issuers, certificates, ...), this is %s",
                     yaml_type_text(root));
        return;
    }
    for (size_t i = 0; i < yaml_count(root); i++) {
        const struct yaml_node *key, *value = yaml_pair(root, i, &key);

        add_key(r, key, value);
    }
}

void reader_finish(struct reader *r)
{
    config_read_agent(r);
    config_read_issuers(r);
    config_read_challenges(r);
    config_read_servers(r);
    config_read_certificates(r);
    config_check_endpoints(r);
}

/* Helpers of the sections ---------------------------------------------------------------------- */

void reader_check_name(struct reader *r, enum section s, const struct entry *e)
{
    static const char *const nouns[] = {"an issuer", "a challenge", "a server", "a certificate"};

    if (certificate_name_is_valid(yaml_key(e->key)))
        return;
    auto_free char *path = schema_path(section_names[s], yaml_key(e->key));

    yaml_problem(
        r->problems, false, e->key, path, NULL,
        "the name of %s has letters, digits and inner \".\", \"_\", \"-\" only, at most %d "
        "of them, and begins with a letter or digit",
        nouns[s], CERTIFICATE_NAME_MAX);
}

void config_add_error(struct problems *p, const struct yaml_node *at, const char *path,
                      const struct err *e)
{
    yaml_problem(p, false, at, path, NULL, "%s%s%s", e->text, e->hint ? ": " : "",
                 e->hint ? e->hint : "");
}

char *reader_nearest(const struct reader *r, enum section section, const char *const *more,
                     const char *name)
{
    const struct map *m = r->sections[section];
    size_t n = map_count(m), i = 0;

    for (size_t k = 0; more && more[k]; k++)
        n++;
    const char **names = xcalloc(n + 1, sizeof(*names));

    for (const struct map_entry *e = map_first(m); e; e = map_next(e))
        names[i++] = map_entry_key(e);
    for (size_t k = 0; more && more[k]; k++)
        names[i++] = more[k];

    char *nearest = xstrdup(schema_nearest(name, names));

    free(names);
    return nearest;
}

const char *reader_type(struct reader *r, const struct yaml_node *map, const char *path,
                        const char *fallback)
{
    const struct yaml_node *type = yaml_get(map, "type");
    auto_free char *type_path = schema_path(path, "type");

    if (yaml_node_type(map) != YAML_MAP && yaml_node_type(map) != YAML_NULL) {
        yaml_problem(r->problems, false, map, path, NULL, "expected a map {type: ...}, this is %s",
                     yaml_type_text(map));
        return NULL;
    }
    if (!type && fallback)
        return fallback;
    if (!type)
        yaml_problem(r->problems, false, map, type_path, NULL, "\"type\" is missing here");
    else if (!yaml_scalar(type))
        yaml_problem(r->problems, false, type, type_path, NULL,
                     "expected the name of a type, this is %s", yaml_type_text(type));
    return type ? yaml_scalar(type) : NULL;
}
