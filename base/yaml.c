/* Events of libfyaml become our own nodes: its documents look for duplicate keys in quadratic time,
 * follow aliases by copying, and have no bounds. The text is checked before libfyaml sees it. */
#include <fcntl.h>
#include <string.h>

#include <libfyaml.h>

#include "base/file.h"
#include "base/map.h"
#include "base/yaml_private.h"

#define FILE_MAX   (4 * 1024 * 1024)
#define DEPTH_MAX  64
#define WEIGHT_MAX (2 * 1000 * 1000) /* values in a file, aliases followed */
#define FEW_KEYS   12                /* up to here comparing is faster than a map */

/* A container whose end was not seen yet. */
struct frame {
    struct yaml_node *node;
    struct yaml_node **items; /* as in yaml_node */
    size_t n, cap;
};

struct builder {
    struct yaml *y;
    struct problems *problems;
    struct fy_parser *parser;
    struct map *anchors; /* name -> node */
    struct frame stack[DEPTH_MAX];
    size_t depth;
    size_t documents;
    size_t weight;
    uint32_t offset, width; /* of the node before: where an empty value is shown */
};

/* The first complaint; what libfyaml says after it is a consequence. */
static void add_syntax_problem(const struct yaml *y, struct fy_diag *diag,
                               struct problems *problems)
{
    void *state = NULL;
    const struct fy_diag_error *e = fy_diag_errors_iterate(diag, &state);
    size_t line = e && e->line > 0 ? (size_t)e->line : 1;
    size_t column = e && e->column > 0 ? (size_t)e->column : 1;

    if (line > y->n_lines)
        line = y->n_lines;
    yaml_add_problem(problems, y, line, column,
                     yaml_syntax_message(y, line, e && e->msg ? e->msg : "this is not YAML"));
}

/* Nodes ---------------------------------------------------------------------------------------- */

/* "certificates.www.outputs[0]" of the innermost container. */
static char *builder_path(const struct builder *b)
{
    char *path = NULL;

    for (size_t i = 0; i + 1 < b->depth; i++) {
        const struct frame *f = &b->stack[i];
        char *longer;

        if (f->node->type == YAML_LIST) {
            longer = xasprintf("%s[%zu]", path ? path : "", f->n - 1);
        } else { /* a container that is a key has no value yet */
            const struct yaml_node *key = f->items[(f->n - 1) & ~(size_t)1];

            longer =
                xasprintf("%s%s%s", path ? path : "", path ? "." : "", key->text ? key->text : "?");
        }
        set_string(&path, longer);
    }
    return path;
}

static struct yaml_node *node_new(struct builder *b, enum yaml_type type,
                                  const struct fy_mark *start, const struct fy_mark *end)
{
    struct yaml_node *n = yaml_alloc(b->y, sizeof(*n));

    if (start && start->input_pos <= b->y->len) {
        b->offset = (uint32_t)start->input_pos;
        b->width = end && end->input_pos > start->input_pos && end->input_pos <= b->y->len
                       ? (uint32_t)(end->input_pos - start->input_pos)
                       : 1;
    }
    *n = (struct yaml_node){
        .yaml = b->y, .type = (uint8_t)type, .offset = b->offset, .width = b->width, .weight = 1};
    return n;
}

static bool add_weight(struct builder *b, const struct yaml_node *at, size_t weight)
{
    b->weight += weight;
    if (b->weight <= WEIGHT_MAX)
        return true;
    yaml_problem(b->problems, false, at, NULL, NULL,
                 "there are more than %d values, aliases followed", WEIGHT_MAX);
    return false;
}

static bool builder_add(struct builder *b, struct yaml_node *n)
{
    if (b->depth == 0) {
        b->y->root = n;
        return true;
    }
    struct frame *f = &b->stack[b->depth - 1];

    if (f->n == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 8;
        f->items = xreallocarray(f->items, f->cap, sizeof(*f->items));
    }
    f->items[f->n++] = n;
    return true;
}

static void note_anchor(struct builder *b, struct fy_event *event, struct yaml_node *n)
{
    size_t len = 0;
    struct fy_token *token = fy_event_get_anchor_token(event);
    const char *text = token ? fy_token_get_text(token, &len) : NULL;

    if (!text)
        return;
    auto_free char *name = xstrndup(text, len);

    map_set(b->anchors, name, n);
}

static void refuse_tag(struct builder *b, struct fy_event *event, const struct yaml_node *n)
{
    if (fy_event_get_tag_token(event))
        yaml_problem(b->problems, false, n, NULL, NULL, "tags (!...) are not used here: remove it");
}

static bool is_null(const char *text)
{
    return *text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 ||
           strcmp(text, "Null") == 0 || strcmp(text, "NULL") == 0;
}

static bool on_scalar(struct builder *b, struct fy_event *event)
{
    size_t len = 0;
    struct fy_token *token = event->scalar.value;
    const char *text = token ? fy_token_get_text(token, &len) : NULL;
    struct yaml_node *n =
        node_new(b, YAML_SCALAR, fy_event_start_mark(event), fy_event_end_mark(event));
    char *copy = yaml_alloc(b->y, len + 1);

    if (len > 0)
        memcpy(copy, text, len);
    n->text = copy;
    n->quoted = token && fy_token_scalar_style(token) != FYSS_PLAIN;
    if (!n->quoted && is_null(copy))
        n->type = YAML_NULL;
    if (n->quoted && n->offset > 0 && strchr("\"'", b->y->text[n->offset - 1])) {
        n->offset--; /* show the quotes, too */
        n->width += 2;
    }
    if (memchr(copy, '\0', len))
        yaml_problem(b->problems, false, n, NULL, NULL, "a text may not contain \"\\0\"");
    refuse_tag(b, event, n);
    note_anchor(b, event, n);
    return add_weight(b, n, 1) && builder_add(b, n);
}

static bool on_alias(struct builder *b, struct fy_event *event)
{
    size_t len = 0;
    const char *text = fy_token_get_text(event->alias.anchor, &len);
    auto_free char *name = xstrndup(text ? text : "", len);
    struct yaml_node *target = map_get(b->anchors, name);
    struct yaml_node *here =
        node_new(b, YAML_NULL, fy_event_start_mark(event), fy_event_end_mark(event));

    here->text = "";
    if (target && !target->open)
        return add_weight(b, here, target->weight) && builder_add(b, target);
    if (here->offset > 0 && b->y->text[here->offset - 1] == '*') {
        here->offset--;
        here->width++;
    }
    if (target) {
        yaml_problem(b->problems, false, here, NULL, NULL, "*%s contains itself", name);
    } else {
        auto_free char *quoted = xasprintf("'*%s'", name);

        /* What everybody types first for a wildcard name. */
        yaml_problem(b->problems, false, here, NULL, name[0] == '.' ? quoted : NULL,
                     name[0] == '.' ? "a text that begins with * must be in quotes: *%s"
                                    : "there is no anchor &%s for this alias",
                     name);
    }
    return builder_add(b, here);
}

static bool on_start(struct builder *b, struct fy_event *event, enum yaml_type type)
{
    struct yaml_node *n = node_new(b, type, fy_event_start_mark(event), fy_event_end_mark(event));

    if (b->depth == DEPTH_MAX) {
        yaml_problem(b->problems, false, n, NULL, NULL, "nested too deeply: more than %d levels",
                     DEPTH_MAX);
        return false;
    }
    n->open = true;
    n->width = 1;
    refuse_tag(b, event, n);
    note_anchor(b, event, n);
    if (!add_weight(b, n, 1) || !builder_add(b, n))
        return false;
    b->stack[b->depth++] = (struct frame){.node = n};
    return true;
}

/* Maps ----------------------------------------------------------------------------------------- */

/* The pairs of a map seen so far, by key. */
struct keys {
    struct frame *frame;
    size_t n; /* pairs that stay; they are moved to the front */
    struct map *index;
};

static struct yaml_node *keys_find(const struct keys *k, const char *key)
{
    if (k->index)
        return map_get(k->index, key);
    for (size_t i = 0; i < k->n; i++) {
        if (strcmp(k->frame->items[2 * i]->text, key) == 0)
            return k->frame->items[2 * i];
    }
    return NULL;
}

static void keys_add(struct keys *k, struct yaml_node *key, struct yaml_node *value)
{
    struct frame *f = k->frame;

    if (2 * k->n + 2 > f->cap) {
        f->cap = f->cap ? f->cap * 2 : 8;
        f->items = xreallocarray(f->items, f->cap, sizeof(*f->items));
    }
    f->items[2 * k->n] = key;
    f->items[2 * k->n + 1] = value;
    k->n++;
    if (!k->index && k->n > FEW_KEYS) {
        k->index = map_new();
        for (size_t i = 0; i < k->n; i++)
            map_set(k->index, f->items[2 * i]->text, f->items[2 * i]);
    } else if (k->index) {
        map_set(k->index, key->text, key);
    }
}

/* Pairs of the map behind "<<" that the map has not itself. */
static bool merge_map(struct builder *b, struct keys *k, const struct yaml_node *from)
{
    for (uint32_t i = 0; i < from->n; i++) {
        struct yaml_node *key = from->items[2 * i], *value = from->items[2 * i + 1];

        if (!add_weight(b, from, 1))
            return false;
        if (keys_find(k, key->text))
            continue;
        if (!add_weight(b, from, value->weight))
            return false;
        keys_add(k, key, value);
    }
    return true;
}

static bool merge(struct builder *b, struct keys *k, const struct yaml_node *from, const char *path)
{
    bool list = from->type == YAML_LIST;

    for (uint32_t i = 0; i < (list ? from->n : 1); i++) {
        const struct yaml_node *map = list ? from->items[i] : from;

        if (map->type == YAML_NULL) /* an alias that was refused */
            continue;
        if (map->type != YAML_MAP)
            yaml_problem(b->problems, false, map, path, NULL,
                         "\"<<\" wants a map or a list of maps, this is %s", yaml_type_text(map));
        else if (!merge_map(b, k, map))
            return false;
    }
    return true;
}

static void refuse_key(struct builder *b, const struct yaml_node *key,
                       const struct yaml_node *first, const char *parent)
{
    if (!first) {
        yaml_problem(b->problems, false, key, parent, NULL, "a key must be a text, this is %s",
                     yaml_type_text(key));
        return;
    }
    auto_free char *path = xasprintf("%s%s%s", parent ? parent : "", parent ? "." : "", key->text);
    auto_free char *where = yaml_where(first);

    yaml_problem(b->problems, false, key, path, NULL,
                 "duplicate key \"%s\", the first one is at %s", key->text, where);
}

/* Sorts out keys that are no texts, duplicates and merge keys. */
static bool finish_map(struct builder *b, struct frame *f)
{
    struct keys k = {.frame = f};
    struct yaml_node *merged = NULL;
    size_t pairs = f->n / 2;
    auto_free char *path = NULL;

    for (size_t i = 0; i < pairs; i++) {
        struct yaml_node *key = f->items[2 * i], *value = f->items[2 * i + 1], *first = NULL;

        if (!merged && key->text && !key->quoted && strcmp(key->text, "<<") == 0) {
            merged = value;
            continue;
        }
        if (key->text && !(first = keys_find(&k, key->text))) {
            keys_add(&k, key, value);
            continue;
        }
        if (!path)
            path = builder_path(b);
        refuse_key(b, key, first, path);
    }

    bool good = !merged || merge(b, &k, merged, path);

    f->n = 2 * k.n;
    map_free(k.index, NULL);
    return good;
}

static bool on_end(struct builder *b)
{
    struct frame *f = &b->stack[b->depth - 1];
    struct yaml_node *n = f->node;
    bool good = n->type != YAML_MAP || finish_map(b, f);
    size_t weight = 1;

    for (size_t i = 0; i < f->n; i++)
        weight += f->items[i]->weight;
    n->weight = weight < WEIGHT_MAX ? (uint32_t)weight : WEIGHT_MAX;
    n->n = (uint32_t)(n->type == YAML_MAP ? f->n / 2 : f->n);
    if (f->n > 0) {
        n->items = yaml_alloc(b->y, f->n * sizeof(*f->items));
        memcpy(n->items, f->items, f->n * sizeof(*f->items));
    }
    n->open = false;
    free(take(f->items));
    b->depth--;
    return good;
}

/* Documents ------------------------------------------------------------------------------------ */

static bool on_document(struct builder *b, struct fy_event *event)
{
    if (b->documents++ == 0)
        return true;

    const struct yaml_node *here = node_new(b, YAML_NULL, fy_event_start_mark(event), NULL);

    yaml_problem(b->problems, false, here, NULL, NULL,
                 "a second document (\"---\") begins here: one file is one document");
    return false;
}

/* False: stop. */
static bool on_event(struct builder *b, struct fy_event *event)
{
    switch (event->type) {
    case FYET_DOCUMENT_START:
        return on_document(b, event);
    case FYET_SCALAR:
        return on_scalar(b, event);
    case FYET_ALIAS:
        return on_alias(b, event);
    case FYET_SEQUENCE_START:
        return on_start(b, event, YAML_LIST);
    case FYET_MAPPING_START:
        return on_start(b, event, YAML_MAP);
    case FYET_SEQUENCE_END:
    case FYET_MAPPING_END:
        return on_end(b);
    case FYET_NONE:
    case FYET_STREAM_START:
    case FYET_STREAM_END:
    case FYET_DOCUMENT_END:
        return true;
    }
    return true;
}

static bool build(struct builder *b, struct fy_diag *diag)
{
    struct fy_event *event;
    bool good = true;

    while (good && (event = fy_parser_parse(b->parser))) {
        good = on_event(b, event);
        fy_parser_event_free(b->parser, event);
    }
    if (good && fy_parser_get_stream_error(b->parser)) {
        add_syntax_problem(b->y, diag, b->problems);
        good = false;
    }
    while (b->depth > 0)
        free(b->stack[--b->depth].items);
    if (good && (!b->y->root || b->y->root->type == YAML_NULL)) {
        b->offset = b->width = 0;
        b->y->root = node_new(b, YAML_MAP, NULL, NULL);
    }
    return good;
}

/* Errors are collected; a sink that swallows everything makes sure that nothing reaches stderr. */
static void swallow(struct fy_diag *diag, void *user, const char *text, size_t len)
{
    (void)diag;
    (void)user;
    (void)text;
    (void)len;
}

/* Takes text. */
static struct yaml *parse_owned(const char *file, char *text, size_t len, struct problems *problems)
{
    struct yaml *y = yaml_new(file, text, len);
    struct builder b = {.y = y, .problems = problems, .anchors = map_new()};
    struct fy_diag_cfg diag_cfg;

    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = swallow;

    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    unsigned flags = FYPCF_QUIET | FYPCF_COLLECT_DIAG | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE;
    struct fy_parse_cfg cfg = {.flags = (enum fy_parse_cfg_flags)flags, .diag = diag};
    bool good = yaml_text_is_good(y, problems);

    if (good && diag)
        fy_diag_set_collect_errors(diag, true);
    b.parser = good && diag ? fy_parser_create(&cfg) : NULL;
    if (good && (!b.parser || fy_parser_set_string(b.parser, text, len) != 0)) {
        problems_add_file(problems, file, "cannot be parsed: out of memory");
        good = false;
    }
    good = good && build(&b, diag);
    if (b.parser)
        fy_parser_destroy(b.parser);
    if (diag)
        fy_diag_destroy(diag);
    map_free(b.anchors, NULL);
    if (good)
        return y;
    yaml_free(y);
    return NULL;
}

struct yaml *yaml_parse(const char *file, const char *text, size_t len, struct problems *problems)
{
    if (len > FILE_MAX) {
        problems_add_file(problems, file, "is larger than 4 MiB");
        return NULL;
    }
    char *copy = xmalloc(len + 1); /* may contain NULs: that is a problem to report */

    memcpy(copy, text, len);
    copy[len] = '\0';
    return parse_owned(file, copy, len, problems);
}

struct yaml *yaml_load(const char *file, struct problems *problems)
{
    auto_buf struct buf text;
    auto_err struct err *e = NULL;

    buf_init(&text, FILE_MAX);
    if (!file_read(AT_FDCWD, file, FILE_MAX, true, &text, &e)) {
        problems_add_file(problems, file, "%s", e->text);
        return NULL;
    }
    size_t len = text.len;

    return parse_owned(file, buf_take(&text), len, problems);
}
