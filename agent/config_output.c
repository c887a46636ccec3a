/* Outputs of a certificate, and that no two of all write one place. */
#include <string.h>

#include "agent/config_private.h"

/* Who writes a path. */
struct claim {
    const struct yaml_node *output;
    const struct config_certificate *certificate;
};

static const struct output_type *find_type(struct reader *r, const struct yaml_node *map,
                                           const char *path, const char *name)
{
    const char *names[64] = {0};
    auto_free char *type_path = schema_path(path, "type");
    const struct output_type *type = output_type_find(name);

    for (size_t i = 0; output_type_all[i] && i + 1 < ARRAY_LEN(names); i++)
        names[i] = output_type_all[i]->name;
    if (!type)
        yaml_problem(r->problems, false, yaml_get(map, "type"), type_path,
                     schema_nearest(name, names), "there is no output type \"%s\"", name);
    return type;
}

/* Is it one of the places in the state directory where only the agent writes? */
static bool is_ours(const struct config *c, const char *path)
{
    static const char *const names[] = {"live", "accounts", "certificates"};
    size_t len = c->state_dir ? strlen(c->state_dir) : 0;

    if (len == 0 || strncmp(path, c->state_dir, len) != 0)
        return false;
    if (path[len] == '\0')
        return true;
    for (size_t i = 0; path[len] == '/' && i < ARRAY_LEN(names); i++) {
        const char *rest = path + len + 1;
        size_t name_len = strlen(names[i]);

        if (strncmp(rest, names[i], name_len) == 0 &&
            (rest[name_len] == '\0' || rest[name_len] == '/'))
            return true;
    }
    return false;
}

static bool claim_path(struct reader *r, const struct claim *claim, const char *written,
                       const char *path)
{
    const struct claim *other = map_get(r->paths, written);

    if (is_ours(r->config, written)) {
        yaml_problem(r->problems, false, claim->output, path, NULL,
                     "%s is a place where the agent keeps its state: write somewhere else",
                     written);
        return false;
    }
    if (!other) {
        struct claim *copy = xmemdup(claim, sizeof(*claim));

        map_set(r->paths, written, copy);
        return true;
    }
    if (other->output == claim->output && other->certificate == claim->certificate)
        return true;
    auto_free char *where = yaml_where(other->output);

    yaml_problem(r->problems, false, claim->output, path, NULL,
                 "%s is written by certificate \"%s\", too: %s", written, other->certificate->name,
                 where);
    return false;
}

static void claim_paths(struct reader *r, const struct claim *claim, struct output *o,
                        const char *path)
{
    auto_strv struct strv written = {0};

    o->type->paths(o->settings, &written);
    if (written.n > 0)
        set_string(&o->path, xstrdup(written.items[0]));
    for (size_t i = 0; i < written.n; i++) {
        if (!claim_path(r, claim, written.items[i], path))
            break; /* the others of this output say the same */
    }
}

static void add_output(struct reader *r, struct config_certificate *c, const struct yaml_node *map,
                       const char *path)
{
    static const char *const skip[] = {"type", NULL};
    const char *name = reader_type(r, map, path, NULL);
    const struct output_type *type = name ? find_type(r, map, path, name) : NULL;
    struct claim claim = {.output = map, .certificate = c};

    if (!type)
        return;
    struct output *o = &c->outputs[c->n_outputs++];

    o->type = type;
    o->where = yaml_where(map);
    o->settings = xcalloc(1, type->settings_size);
    if (!schema_read(type->fields, map, path, skip, o->settings, r, r->problems))
        return;
    if (type->check)
        type->check(o->settings, map, path, r->problems);
    claim_paths(r, &claim, o, path);
}

void config_parse_outputs(const struct field_in *in)
{
    struct config_certificate *c = in->to;
    size_t n = yaml_count(in->node);

    if (yaml_node_type(in->node) != YAML_LIST) {
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "expected a list [{type: files, ...}], this is %s", yaml_type_text(in->node));
        return;
    }
    c->outputs = n > 0 ? xcalloc(n, sizeof(*c->outputs)) : NULL;
    for (size_t i = 0; i < n; i++) {
        auto_free char *path = xasprintf("%s[%zu]", in->path, i);

        add_output(in->userdata, c, yaml_item(in->node, i), path);
    }
}

void config_outputs_done(void *member)
{
    struct config_certificate *c = member;

    for (size_t i = 0; i < c->n_outputs; i++)
        output_done(&c->outputs[i]);
    free(take(c->outputs));
    c->n_outputs = 0;
}
