#include <string.h>

#include "agent/config_private.h"

#define IMPLIED_TYPE "http-01"

static const struct challenge_type *find_type(struct reader *r, const struct yaml_node *map,
                                              const char *path, const char *name)
{
    const char *names[64] = {0};
    auto_free char *type_path = schema_path(path, "type");
    const struct challenge_type *type = challenge_type_find(name);
    const struct yaml_node *at = yaml_get(map, "type");

    for (size_t i = 0; challenge_type_all[i] && i + 1 < ARRAY_LEN(names); i++)
        names[i] = challenge_type_all[i]->acme;
    if (!type)
        yaml_problem(r->problems, false, at ? at : map, type_path, schema_nearest(name, names),
                     "there is no challenge type \"%s\"", name);
    return type;
}

static struct solver *solver_new(struct reader *r, const struct challenge_type *type,
                                 const char *name, const struct yaml_node *map, const char *path)
{
    static const char *const skip[] = {"type", NULL};
    struct solver *s = xcalloc(1, sizeof(*s));

    s->type = type;
    s->name = xstrdup(name);
    s->settings = xcalloc(1, type->settings_size);
    if (schema_read(type->fields, map, path, skip, s->settings, r, r->problems) && map &&
        type->check)
        type->check(s->settings, map, path, r->problems);
    r->config->solvers[r->config->n_solvers++] = s;
    return s;
}

void config_read_challenges(struct reader *r)
{
    const struct map *section = r->sections[SECTION_CHALLENGES];

    /* One more for the implied one. */
    r->config->solvers = xcalloc(map_count(section) + 2, sizeof(struct solver *));
    for (const struct map_entry *m = map_first(section); m; m = map_next(m)) {
        struct entry *e = map_entry_value(m);
        auto_free char *path = schema_path("challenges", map_entry_key(m));
        const char *fallback = challenge_type_find(map_entry_key(m)) ? map_entry_key(m) : NULL;

        reader_check_name(r, SECTION_CHALLENGES, e);

        const char *name = reader_type(r, e->value, path, fallback);
        const struct challenge_type *type = name ? find_type(r, e->value, path, name) : NULL;

        if (!type)
            continue;
        struct solver *s = solver_new(r, type, map_entry_key(m), e->value, path);

        s->where = yaml_where(e->key);
        e->made = s;
    }
}

struct solver *config_implied_solver(struct reader *r)
{
    const struct challenge_type *type = challenge_type_find(IMPLIED_TYPE);

    if (!r->implied_solver && type)
        r->implied_solver = solver_new(r, type, IMPLIED_TYPE, NULL, "challenges." IMPLIED_TYPE);
    return r->implied_solver;
}
