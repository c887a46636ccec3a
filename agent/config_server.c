#include <string.h>

#include "agent/config_private.h"

static void parse_check(const struct field_in *in)
{
    struct config_server *s = in->to;
    const struct field argv = {.name = "check", .type = FIELD_ARGV};
    struct field_in list = *in;

    list.field = &argv;
    list.to = &s->server.check;
    schema_value(&list);
    s->server.check_off = yaml_scalar(in->node) && strcmp(yaml_scalar(in->node), "off") == 0;
}

const struct field config_server_fields[] = {
    {.name = "check",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .parse = parse_check,
     .kind = "a list [program, argument, ...] or off",
     .help = "checks the server's own configuration before a reload, instead of the type's check"},
    {.name = "timeout",
     .type = FIELD_DURATION,
     .offset = offsetof(struct config_server, server.timeout_s),
     .min = 1,
     .max = 3600,
     .preset = "30s",
     .help = "for a check and for a reload"},
    {.name = "prove",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .parse = config_parse_prove,
     .kind = "a list of endpoints, or off",
     .help = "where to look for the new certificate after a reload; default by type"},
    {0},
};

static const struct server_type *find_type(struct reader *r, const struct yaml_node *map,
                                           const char *path, const char *name)
{
    const char *names[64] = {0};
    auto_free char *type_path = schema_path(path, "type");
    const struct server_type *type = server_type_find(name);
    const struct yaml_node *at = yaml_get(map, "type");

    for (size_t i = 0; server_type_all[i] && i + 1 < ARRAY_LEN(names); i++)
        names[i] = server_type_all[i]->name;
    if (!type)
        yaml_problem(r->problems, false, at ? at : map, type_path, schema_nearest(name, names),
                     "there is no server type \"%s\"", name);
    return type;
}

static struct config_server *server_new(struct reader *r, const struct server_type *type,
                                        const char *name, const struct yaml_node *map,
                                        const char *path)
{
    static const char *const skip[] = {"type", NULL};
    struct config_server *s = xcalloc(1, sizeof(*s));
    struct config *c = r->config;

    s->server.type = type;
    s->server.name = xstrdup(name);
    s->server.settings = xcalloc(1, type->settings_size);

    /* The type first: what it calls like a common key is its own. */
    const struct schema_part parts[] = {{type->fields, s->server.settings},
                                        {config_server_fields, s}};

    if (schema_read_parts(parts, 2, map, path, skip, r, r->problems) && map && type->check_settings)
        type->check_settings(s->server.settings, map, path, r->problems);
    if (!yaml_get(map, "prove"))
        config_imply_endpoint(s);
    c->servers = xreallocarray(c->servers, c->n_servers + 1, sizeof(*c->servers));
    c->servers[c->n_servers++] = s;
    return s;
}

void config_server_free(struct config_server *s)
{
    if (!s)
        return;
    config_endpoints_done(s);
    server_free(&s->server);
    free(s);
}

void config_read_servers(struct reader *r)
{
    const struct map *section = r->sections[SECTION_SERVERS];

    for (const struct map_entry *m = map_first(section); m; m = map_next(m)) {
        struct entry *e = map_entry_value(m);
        auto_free char *path = schema_path("servers", map_entry_key(m));
        const char *fallback = server_type_find(map_entry_key(m)) ? map_entry_key(m) : NULL;

        reader_check_name(r, SECTION_SERVERS, e);

        const char *name = reader_type(r, e->value, path, fallback);
        const struct server_type *type = name ? find_type(r, e->value, path, name) : NULL;

        if (!type)
            continue;
        struct config_server *s = server_new(r, type, map_entry_key(m), e->value, path);

        s->server.where = yaml_where(e->key);
        e->made = s;
    }
}

/* The first field without which the type has no defaults, or NULL. */
static const char *required_field(const struct server_type *type)
{
    for (const struct field *f = type->fields; f && f->name; f++) {
        if (f->required)
            return f->name;
    }
    return NULL;
}

static void refuse_server(struct reader *r, const char *name, const struct yaml_node *at,
                          const char *path)
{
    const char *types[64] = {0};

    for (size_t i = 0; server_type_all[i] && i + 1 < ARRAY_LEN(types); i++)
        types[i] = server_type_all[i]->name;
    auto_free char *nearest = reader_nearest(r, SECTION_SERVERS, types, name);

    yaml_problem(r->problems, false, at, path, nearest,
                 "there is no server \"%s\" in `servers`, and no type of that name", name);
}

struct config_server *config_find_server(struct reader *r, const char *name,
                                         const struct yaml_node *at, const char *path)
{
    struct entry *e = map_get(r->sections[SECTION_SERVERS], name);
    struct config_server *implied = map_get(r->implied_servers, name);
    const struct server_type *type = server_type_find(name);

    if (e || implied)
        return e ? e->made : implied;
    if (!type && r->incomplete)
        return NULL;
    if (!type) {
        refuse_server(r, name, at, path);
        return NULL;
    }
    if (required_field(type)) {
        yaml_problem(r->problems, false, at, path, NULL,
                     "server \"%s\" must be defined in `servers`: this type needs \"%s\"", name,
                     required_field(type));
        return NULL;
    }
    implied = server_new(r, type, name, NULL, path);
    map_set(r->implied_servers, name, implied);
    return implied;
}
