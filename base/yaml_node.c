#include <stdarg.h>
#include <string.h>

#include "base/yaml_private.h"

#define CHUNK_MIN  1024 /* configurations of thousands of small files are read whole */
#define CHUNK_MAX  (64 * 1024)
#define SOURCE_MAX 4096 /* a longer line is not shown beyond this */

struct yaml_chunk {
    struct yaml_chunk *next;
    size_t used, size;
    _Alignas(max_align_t) unsigned char data[];
};

void *yaml_alloc(struct yaml *y, size_t size)
{
    struct yaml_chunk *c = y->arena;

    size = (size + 7) & ~(size_t)7;
    if (!c || c->size - c->used < size) {
        size_t next = c ? c->size * 2 : CHUNK_MIN;
        size_t want = next < CHUNK_MAX ? next : CHUNK_MAX;

        if (size > want / 4)
            want = size;
        struct yaml_chunk *fresh = xcalloc(1, sizeof(*fresh) + want);

        fresh->size = want;
        if (c && want == size) { /* it stands alone; the chunk in use stays first */
            fresh->next = c->next;
            c->next = fresh;
        } else {
            fresh->next = c;
            y->arena = fresh;
        }
        c = fresh;
    }
    void *at = c->data + c->used;

    c->used += size;
    return at;
}

static void index_lines(struct yaml *y)
{
    size_t n = 1;

    for (size_t i = 0; i < y->len; i++)
        n += y->text[i] == '\n' || y->text[i] == '\r';
    y->lines = xcalloc(n, sizeof(*y->lines));
    y->n_lines = 1;
    for (size_t i = 0; i < y->len; i++) {
        if (y->text[i] == '\n' || (y->text[i] == '\r' && y->text[i + 1] != '\n'))
            y->lines[y->n_lines++] = (uint32_t)(i + 1);
    }
}

struct yaml *yaml_new(const char *file, char *text, size_t len)
{
    struct yaml *y = xcalloc(1, sizeof(*y));

    y->file = xstrdup(file);
    y->text = text;
    y->len = len;
    index_lines(y);
    return y;
}

void yaml_free(struct yaml *y)
{
    if (!y)
        return;
    for (struct yaml_chunk *c = y->arena, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(y->lines);
    free(y->text);
    free(y->file);
    free(y);
}

/* Positions ------------------------------------------------------------------------------------ */

/* Characters of UTF-8; the byte order mark has no column. */
static size_t count_chars(const char *s, size_t len)
{
    size_t n = 0;

    if (len >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0) {
        s += 3;
        len -= 3;
    }
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

static size_t find_line(const struct yaml *y, size_t offset)
{
    size_t low = 0, high = y->n_lines;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (y->lines[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low + 1;
}

const char *yaml_line(const struct yaml *y, size_t line, size_t *ret_len)
{
    size_t from = y->lines[line - 1], to = line < y->n_lines ? y->lines[line] : y->len;

    while (to > from && (y->text[to - 1] == '\n' || y->text[to - 1] == '\r'))
        to--;
    *ret_len = to - from;
    return y->text + from;
}

/* The offending line. NULL when the place is too far to the right to be shown. */
static char *copy_source(const struct yaml *y, size_t line, size_t column)
{
    size_t len;
    const char *text = yaml_line(y, line, &len);

    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    if (len > SOURCE_MAX) {
        len = SOURCE_MAX;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--;
        if (column > count_chars(text, len))
            return NULL;
    }
    return xstrndup(text, len);
}

static char *escape_message(char *raw)
{
    auto_free char *owned = raw;

    return text_escape(owned, strlen(owned));
}

void yaml_add_problem(struct problems *p, const struct yaml *y, size_t line, size_t column,
                      char *message)
{
    problems_add(p, (struct problem){
                        .file = xstrdup(y->file),
                        .line = (int)line,
                        .column = (int)column,
                        .width = 1,
                        .message = escape_message(message),
                        .source = copy_source(y, line, column),
                    });
}

void yaml_add_problem_at(struct problems *p, const struct yaml *y, size_t offset, char *message)
{
    size_t line = find_line(y, offset), from = y->lines[line - 1];

    yaml_add_problem(p, y, line, count_chars(y->text + from, offset - from) + 1, message);
}

static struct problem problem_at(const struct yaml_node *at, const char *path, char *message)
{
    struct problem problem = {
        .width = 1, .path = xstrdup(path), .message = escape_message(message)};

    if (!at)
        return problem;

    const struct yaml *y = at->yaml;
    size_t line = find_line(y, at->offset), from = y->lines[line - 1], len;
    size_t column = count_chars(y->text + from, at->offset - from) + 1, width = at->width;

    yaml_line(y, line, &len);
    if (width > from + len - at->offset) /* goes on in the next line */
        width = from + len - at->offset;
    problem.file = xstrdup(y->file);
    problem.line = (int)line;
    problem.column = (int)column;
    problem.source = copy_source(y, line, column);
    width = count_chars(y->text + at->offset, width);
    problem.width = width > 0 ? (int)width : 1;
    return problem;
}

void yaml_problem(struct problems *p, bool warning, const struct yaml_node *at, const char *path,
                  const char *suggestion, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *message = xvasprintf(fmt, ap);
    va_end(ap);

    struct problem problem = problem_at(at, path, message);

    problem.warning = warning;
    problem.suggestion = xstrdup(suggestion);
    problems_add(p, problem);
}

void yaml_problem_hidden(struct problems *p, const struct yaml_node *at, const char *path,
                         const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *message = xvasprintf(fmt, ap);
    va_end(ap);

    struct problem problem = problem_at(at, path, message);

    if (problem.source) { /* everything behind it goes, too: a quote may hide where a value ends */
        size_t from = 0;

        for (int i = 1; i < problem.column && problem.source[from]; i++) {
            do
                from++;
            while (((unsigned char)problem.source[from] & 0xc0) == 0x80);
        }
        set_string(&problem.source, xasprintf("%.*s***", (int)from, problem.source));
        problem.width = 3;
    }
    problems_add(p, problem);
}

char *yaml_where(const struct yaml_node *n)
{
    const struct yaml *y = n->yaml;
    size_t line = find_line(y, n->offset), from = y->lines[line - 1];

    return xasprintf("%s:%zu:%zu", y->file, line,
                     count_chars(y->text + from, n->offset - from) + 1);
}

/* Nodes ---------------------------------------------------------------------------------------- */

const struct yaml_node *yaml_root(const struct yaml *y)
{
    return y->root;
}

enum yaml_type yaml_node_type(const struct yaml_node *n)
{
    return (enum yaml_type)n->type;
}

const char *yaml_type_text(const struct yaml_node *n)
{
    static const char *const texts[] = {
        [YAML_SCALAR] = "text",
        [YAML_LIST] = "a list",
        [YAML_MAP] = "a map",
        [YAML_NULL] = "an empty value",
    };
    return texts[n->type];
}

const char *yaml_scalar(const struct yaml_node *n)
{
    return n && n->type == YAML_SCALAR ? n->text : NULL;
}

bool yaml_is_quoted(const struct yaml_node *n)
{
    return n->quoted;
}

size_t yaml_count(const struct yaml_node *n)
{
    return n->n;
}

const struct yaml_node *yaml_item(const struct yaml_node *list, size_t i)
{
    return list->items[i];
}

const struct yaml_node *yaml_pair(const struct yaml_node *map, size_t i,
                                  const struct yaml_node **ret_key)
{
    *ret_key = map->items[2 * i];
    return map->items[2 * i + 1];
}

const char *yaml_key(const struct yaml_node *key)
{
    return key->text;
}

const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    for (uint32_t i = 0; map && map->type == YAML_MAP && i < map->n; i++) {
        if (strcmp(map->items[2 * i]->text, key) == 0)
            return map->items[2 * i + 1];
    }
    return NULL;
}

const struct yaml_node *yaml_join(struct yaml *y, const struct yaml_node *const *maps, size_t n)
{
    struct yaml_node *all = yaml_alloc(y, sizeof(*all));
    uint32_t pairs = 0, at = 0;

    for (size_t i = 0; i < n; i++)
        pairs += maps[i]->n;
    *all = *maps[0];
    all->type = YAML_MAP;
    all->items = yaml_alloc(y, 2 * (pairs + 1) * sizeof(*all->items));
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < 2 * maps[i]->n; k++)
            all->items[at++] = maps[i]->items[k];
    }
    all->n = pairs;
    return all;
}

const char *yaml_file(const struct yaml_node *n)
{
    return n->yaml->file;
}
