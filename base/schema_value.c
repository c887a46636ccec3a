/* One value of a field table: from a node, or from the text of a preset. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/schema_private.h"

/* Reports that the value is not what the field wants. */
static void refuse(const struct field_in *in, const char *suggestion)
{
    auto_free char *kind = schema_kind(in->field);
    const char *text = yaml_scalar(in->node);

    if (text)
        yaml_problem(in->problems, false, in->node, in->path, suggestion,
                     "expected %s, this is \"%s\"", kind, text);
    else
        yaml_problem(in->problems, false, in->node, in->path, suggestion, "expected %s, this is %s",
                     kind, yaml_type_text(in->node));
}

static char *number_kind(const struct field *f)
{
    if (f->max > 0)
        return xasprintf("a whole number from %" PRId64 " to %" PRId64, f->min, f->max);
    return xasprintf("a whole number of at least %" PRId64, f->min);
}

static char *duration_kind(const struct field *f)
{
    char min[CLOCK_TEXT_MAX], max[CLOCK_TEXT_MAX];

    duration_text(f->min, min);
    if (f->max > 0)
        return xasprintf("a duration such as \"30s\" or \"1h30m\", from %s to %s", min,
                         duration_text(f->max, max));
    return xasprintf("a duration such as \"30s\" or \"1h30m\", at least %s", min);
}

static char *choice_kind(const struct field *f)
{
    char *kind = xstrdup("");

    for (size_t i = 0; f->choices[i]; i++)
        set_string(&kind, xasprintf("%s%s%s", kind,
                                    i == 0              ? ""
                                    : f->choices[i + 1] ? ", "
                                                        : " or ",
                                    f->choices[i]));
    return kind;
}

char *schema_kind(const struct field *f)
{
    static const char *const kinds[] = {
        [FIELD_STRING] = "a text",
        [FIELD_STRINGS] = "a text or a list of texts",
        [FIELD_ARGV] = "a list [program, argument, ...] or off",
        [FIELD_BOOL] = "true or false",
        [FIELD_PATH] = "an absolute path",
        [FIELD_FILE_MODE] = "a file mode such as \"0640\"",
        [FIELD_SECRET] = "{file: PATH}, {env: NAME} or {credential: NAME}",
    };

    if (f->type == FIELD_INT)
        return number_kind(f);
    if (f->type == FIELD_DURATION)
        return duration_kind(f);
    if (f->type == FIELD_CHOICE)
        return choice_kind(f);
    if (f->kind || f->type == FIELD_CUSTOM)
        return xstrdup(f->kind ? f->kind : "a value");
    return xstrdup(kinds[f->type]);
}

/* Scalars: `text` comes from in->node, or from a preset, which is right --------------------------
 */

static void set_bool(const struct field_in *in, const char *text)
{
    static const char *const yes[] = {"yes", "on", "y", "True", "TRUE", "1", NULL};
    static const char *const no[] = {"no", "off", "n", "False", "FALSE", "0", NULL};
    const char *meant = NULL;

    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        if (in->node && yaml_is_quoted(in->node))
            refuse(in, text); /* in quotes it is a text */
        else
            *(bool *)in->to = *text == 't';
        return;
    }
    for (size_t i = 0; yes[i]; i++) {
        if (strcmp(text, yes[i]) == 0)
            meant = "true";
    }
    for (size_t i = 0; no[i]; i++) {
        if (strcmp(text, no[i]) == 0)
            meant = "false";
    }
    refuse(in, meant);
}

static void set_int(const struct field_in *in, const char *text)
{
    char *end;

    errno = 0;
    int64_t n = strtoll(text, &end, 10);

    if ((in->node && yaml_is_quoted(in->node)) || *end || errno != 0 ||
        text[strspn(text, "-0123456789")] || n < in->field->min ||
        (in->field->max > 0 && n > in->field->max))
        refuse(in, NULL);
    else
        *(int64_t *)in->to = n;
}

static void set_duration(const struct field_in *in, const char *text)
{
    int64_t s;

    if (*text && text[strspn(text, "0123456789")] == '\0' && strlen(text) < 10) {
        auto_free char *seconds = xasprintf("%ss", text);

        refuse(in, seconds); /* forgot the unit */
    } else if (!duration_parse(text, &s) || s < in->field->min ||
               (in->field->max > 0 && s > in->field->max)) {
        refuse(in, NULL);
    } else {
        *(int64_t *)in->to = s;
    }
}

/* "/a//b/./c/" -> "/a/b/c", so that one place has one text. NULL: not a path we take. */
static char *clean_path(const char *text)
{
    char *path = xmalloc(strlen(text) + 2), *to = path;

    for (const char *at = text; *at;) {
        size_t len;

        at += strspn(at, "/");
        len = strcspn(at, "/");
        if (len == 2 && strncmp(at, "..", 2) == 0) {
            free(path);
            return NULL;
        }
        if (len > 0 && !(len == 1 && *at == '.')) {
            *to++ = '/';
            to = mempcpy(to, at, len);
        }
        at += len;
    }
    if (to == path)
        *to++ = '/';
    *to = '\0';
    return path;
}

static void set_path(const struct field_in *in, const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            yaml_problem(in->problems, false, in->node, in->path, NULL,
                         "a path may not contain control characters");
            return;
        }
    }
    if (text[0] != '/' || strlen(text) >= PATH_MAX) {
        refuse(in, NULL);
        return;
    }
    char *path = clean_path(text);

    if (!path)
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "\"..\" is not allowed in a path: write where it leads");
    else
        *(char **)in->to = path;
}

static void set_mode(const struct field_in *in, const char *text)
{
    const char *digits = strncmp(text, "0o", 2) == 0 ? text + 2 : text;
    size_t len = strspn(digits, "01234567");
    unsigned long mode = strtoul(digits, NULL, 8);

    if (digits[len] || len < 3 || len > 5)
        refuse(in, NULL);
    else if (mode > 0777)
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "expected a file mode of permission bits only, at most \"0777\"");
    else
        *(mode_t *)in->to = (mode_t)mode;
}

static void set_choice(const struct field_in *in, const char *text)
{
    for (int i = 0; in->field->choices[i]; i++) {
        if (strcmp(text, in->field->choices[i]) == 0) {
            *(int *)in->to = i;
            return;
        }
    }
    refuse(in, schema_nearest(text, in->field->choices));
}

static void set_text(const struct field_in *in, const char *text)
{
    *(char **)in->to = xstrdup(text);
}

typedef void set_fn(const struct field_in *in, const char *text);

static set_fn *scalar_setter(enum field_type type)
{
    static set_fn *const setters[] = {
        [FIELD_STRING] = set_text, [FIELD_BOOL] = set_bool,      [FIELD_INT] = set_int,
        [FIELD_PATH] = set_path,   [FIELD_FILE_MODE] = set_mode, [FIELD_DURATION] = set_duration,
        [FIELD_CUSTOM] = NULL,     [FIELD_CHOICE] = set_choice,
    };
    return setters[type];
}

/* Lists ---------------------------------------------------------------------------------------- */

void schema_texts(const struct field_in *in, const char *expected, struct strv *ret)
{
    bool list = yaml_node_type(in->node) == YAML_LIST;

    for (size_t i = 0; i < (list ? yaml_count(in->node) : 1); i++) {
        const struct yaml_node *item = list ? yaml_item(in->node, i) : in->node;
        const char *text = yaml_scalar(item);

        if (text && *text)
            strv_add(ret, text);
        else
            yaml_problem(in->problems, false, item, in->path, NULL, "expected %s, this is %s",
                         expected, text ? "an empty text" : yaml_type_text(item));
    }
    if (list && yaml_count(in->node) == 0)
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "expected %s, this is an empty list", expected);
}

/* A command line: there is no shell to take it apart, so it must be a list. */
static void refuse_command_line(const struct field_in *in, const char *line)
{
    auto_buf struct buf list;

    buf_init(&list, 4096);
    buf_add_str(&list, "[");
    for (const char *c = line; *c; c++) {
        buf_add(&list, c, *c != ' ');
        if (*c == ' ' && c[1] && c[1] != ' ')
            buf_add_str(&list, ", ");
    }
    buf_add_str(&list, "]");
    refuse(in, list.data);
}

static void add_argument(const struct field_in *in, size_t i)
{
    const struct yaml_node *item = yaml_item(in->node, i);
    const char *text = yaml_scalar(item);

    if (text && (*text || i > 0))
        strv_add(in->to, text);
    else
        yaml_problem(in->problems, false, item, in->path, NULL, "expected %s, this is %s",
                     i == 0 ? "a program" : "an argument",
                     text ? "an empty text" : yaml_type_text(item));
}

static void set_argv(const struct field_in *in)
{
    const char *line = yaml_scalar(in->node);

    if (line && strcmp(line, "off") == 0)
        return;
    if (line && *line)
        refuse_command_line(in, line);
    else if (yaml_node_type(in->node) != YAML_LIST || yaml_count(in->node) == 0)
        refuse(in, NULL);
    else
        for (size_t i = 0; i < yaml_count(in->node); i++)
            add_argument(in, i);
}

/* Nodes ---------------------------------------------------------------------------------------- */

const char *schema_text(const struct field_in *in, const char *expected)
{
    const char *text = yaml_scalar(in->node);

    if (text && *text)
        return text;
    yaml_problem(in->problems, false, in->node, in->path, NULL, "expected %s, this is %s", expected,
                 text ? "an empty text" : yaml_type_text(in->node));
    return NULL;
}

void schema_value(const struct field_in *in)
{
    set_fn *set = scalar_setter(in->field->type);

    if (set) {
        const char *text = yaml_scalar(in->node);

        if (text && *text)
            set(in, text);
        else
            refuse(in, NULL);
    } else if (in->field->type == FIELD_STRINGS) {
        schema_texts(in, "a text", in->to);
    } else if (in->field->type == FIELD_ARGV) {
        set_argv(in);
    } else if (in->field->type == FIELD_SECRET) {
        schema_secret(in);
    } else {
        in->field->parse(in);
    }
}

/* "one" or "[one, two]". */
static void set_texts(const struct field_in *in, const char *preset)
{
    static const char between[] = "[], ";

    for (const char *at = preset + strspn(preset, between); *at; at += strspn(at, between)) {
        size_t len = strcspn(at, between);

        strv_add_owned(in->to, xstrndup(at, len));
        at += len;
    }
}

void schema_preset(const struct field_in *in)
{
    const char *preset = in->field->preset;
    set_fn *set = scalar_setter(in->field->type);

    if (set) { /* without a document: this is done for each of thousands of certificates */
        set(in, preset);
        return;
    }
    if (in->field->type == FIELD_STRINGS) {
        set_texts(in, preset);
        return;
    }
    struct yaml *y = yaml_parse("preset", preset, strlen(preset), in->problems);
    struct field_in with_node = *in;

    assert(y);
    with_node.node = yaml_root(y);
    schema_value(&with_node);
    yaml_free(y);
}
