#include "base/schema.h"

#include <ctype.h>
#include <string.h>

#include "base/schema_private.h"

#define NEAR_MAX 48 /* longer texts have no neighbours */

char *schema_path(const char *path, const char *name)
{
    return path && *path ? xasprintf("%s.%s", path, name) : xstrdup(name);
}

/* Nearest -------------------------------------------------------------------------------------- */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours that make b of a (optimal string
 * alignment), without case. Both at most NEAR_MAX long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t rows[3][NEAR_MAX + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b_len; j++)
        above[j] = before[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *oldest = before;

        before = above;
        above = row;
        row = oldest;
    }
    return above[b_len];
}

const char *schema_nearest(const char *text, const char *const *names)
{
    size_t len = strlen(text), best_distance = SIZE_MAX;
    const char *best = NULL;

    for (size_t i = 0; names[i] && len <= NEAR_MAX; i++) {
        size_t name_len = strlen(names[i]), longer = len > name_len ? len : name_len;
        size_t allowed = longer <= 5 ? 1 : longer / 3, difference = longer - least(len, name_len);

        if (name_len > NEAR_MAX || difference > allowed || difference >= best_distance)
            continue;

        size_t d = distance(text, len, names[i], name_len);

        if (d <= allowed && d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
}

/* Reading -------------------------------------------------------------------------------------- */

struct reader {
    const struct schema_part *parts;
    size_t n_parts;
    const struct yaml_node *map; /* may be NULL */
    const char *path;
    const char *const *skip;
    void *userdata;
    struct problems *problems;
};

static bool is_skipped(const struct reader *r, const char *key)
{
    for (size_t i = 0; r->skip && r->skip[i]; i++) {
        if (strcmp(r->skip[i], key) == 0)
            return true;
    }
    return false;
}

static const struct field *find_field(const struct reader *r, const char *key, void **ret_to)
{
    for (size_t i = 0; i < r->n_parts; i++) {
        for (const struct field *f = r->parts[i].fields; f && f->name; f++) {
            if (strcmp(f->name, key) == 0) {
                *ret_to = r->parts[i].to;
                return f;
            }
        }
    }
    return NULL;
}

static struct field_in field_in(const struct reader *r, const struct field *f, void *to)
{
    return (struct field_in){
        .field = f,
        .to = (char *)to + f->offset,
        .userdata = r->userdata,
        .problems = r->problems,
    };
}

/* The known key that an unknown one looks like, or NULL. */
static const char *nearest_key(const struct reader *r, const char *key)
{
    const char **names = NULL;
    size_t n = 0;

    for (size_t i = 0; i < r->n_parts; i++) {
        for (const struct field *f = r->parts[i].fields; f && f->name; f++) {
            names = xreallocarray(names, n + 2, sizeof(*names));
            names[n++] = f->name;
        }
    }
    for (size_t i = 0; r->skip && r->skip[i]; i++) {
        names = xreallocarray(names, n + 2, sizeof(*names));
        names[n++] = r->skip[i];
    }
    if (!names)
        return NULL;
    names[n] = NULL;

    const char *nearest = schema_nearest(key, names);

    free(names);
    return nearest;
}

static void read_pair(const struct reader *r, const struct yaml_node *key,
                      const struct yaml_node *value)
{
    void *to;
    const struct field *f = find_field(r, yaml_key(key), &to);

    if (!f) {
        auto_free char *unknown = schema_path(r->path, yaml_key(key));

        if (!is_skipped(r, yaml_key(key)))
            yaml_problem(r->problems, false, key, unknown, nearest_key(r, yaml_key(key)),
                         "unknown key \"%s\"", yaml_key(key));
        return;
    }
    struct field_in in = field_in(r, f, to);
    auto_free char *path = schema_path(r->path, f->name);

    in.node = value;
    in.path = path;
    schema_value(&in);
}

/* Is it there under a name that will be refused with this one as suggestion? Saying that it is
 * missing would be the same error again. */
static bool is_misspelt(const struct reader *r, const struct field *f)
{
    for (size_t i = 0; r->map && i < yaml_count(r->map); i++) {
        const struct yaml_node *key;
        const char *nearest;
        void *to;

        yaml_pair(r->map, i, &key);
        if (find_field(r, yaml_key(key), &to) || is_skipped(r, yaml_key(key)))
            continue;
        nearest = nearest_key(r, yaml_key(key));
        if (nearest && strcmp(nearest, f->name) == 0)
            return true;
    }
    return false;
}

/* Fields that the map does not have: the preset, or a problem. */
static void read_absent(const struct reader *r, const struct schema_part *part)
{
    for (const struct field *f = part->fields; f && f->name; f++) {
        if ((!f->preset && !f->required) || yaml_get(r->map, f->name))
            continue;
        if (f->preset) {
            struct field_in in = field_in(r, f, part->to);

            in.path = r->path ? r->path : "";
            schema_preset(&in);
        } else if (!is_misspelt(r, f)) {
            auto_free char *path = schema_path(r->path, f->name);

            yaml_problem(r->problems, false, r->map, path, NULL, "\"%s\" is missing here", f->name);
        }
    }
}

bool schema_read_parts(const struct schema_part *parts, size_t n_parts, const struct yaml_node *map,
                       const char *path, const char *const *skip, void *userdata,
                       struct problems *problems)
{
    struct reader r = {
        .parts = parts,
        .n_parts = n_parts,
        .map = map,
        .path = path,
        .skip = skip,
        .userdata = userdata,
        .problems = problems,
    };
    size_t errors = problems->errors;

    if (map && yaml_node_type(map) != YAML_MAP && yaml_node_type(map) != YAML_NULL) {
        yaml_problem(problems, false, map, path, NULL, "expected a map {key: value}, this is %s",
                     yaml_type_text(map));
        return false;
    }
    for (size_t i = 0; i < n_parts; i++)
        read_absent(&r, &parts[i]);
    for (size_t i = 0; map && i < yaml_count(map); i++) {
        const struct yaml_node *key, *value = yaml_pair(map, i, &key);

        read_pair(&r, key, value);
    }
    return problems->errors == errors;
}

bool schema_read(const struct field *fields, const struct yaml_node *map, const char *path,
                 const char *const *skip, void *to, void *userdata, struct problems *problems)
{
    struct schema_part part = {.fields = fields, .to = to};

    return schema_read_parts(&part, 1, map, path, skip, userdata, problems);
}

static void field_done(const struct field *f, void *member)
{
    switch (f->type) {
    case FIELD_STRING:
    case FIELD_PATH:
        set_string(member, NULL);
        break;
    case FIELD_STRINGS:
    case FIELD_ARGV:
        strv_done(member);
        break;
    case FIELD_SECRET:
        secret_free(*(struct secret **)member);
        *(struct secret **)member = NULL;
        break;
    case FIELD_CUSTOM:
        if (f->done)
            f->done(member);
        break;
    case FIELD_END:
    case FIELD_BOOL:
    case FIELD_INT:
    case FIELD_DURATION:
    case FIELD_FILE_MODE:
    case FIELD_CHOICE:
        break;
    }
}

void schema_done(const struct field *fields, void *to)
{
    for (const struct field *f = fields; f && f->name; f++)
        field_done(f, (char *)to + f->offset);
}

/* Reference ------------------------------------------------------------------------------------ */

/* Text for a cell of a table. */
static void add_cell(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_addf(out, *text == '|' ? "\\%c" : "%c", *text);
}

void schema_reference(const struct field *fields, struct buf *out)
{
    buf_add_str(out, "| key | value | default | meaning |\n|---|---|---|---|\n");
    for (const struct field *f = fields; f && f->name; f++) {
        auto_free char *kind = schema_kind(f);

        buf_addf(out, "| `%s` | ", f->name);
        add_cell(out, kind);
        if (f->preset)
            buf_addf(out, " | `%s` | ", f->preset);
        else
            buf_add_str(out, f->required ? " | required | " : " | | ");
        add_cell(out, f->help ? f->help : "");
        buf_add_str(out, " |\n");
    }
}
