/* The inside of YAML documents, for base/yaml*.c only. */
#pragma once

#include <stdint.h>

#include "base/yaml.h"

/* Lives in the arena of its document, as do its text and items. An alias is the same node again, so
 * a document may be a graph; it has no cycles. */
struct yaml_node {
    const struct yaml *yaml;
    const char *text;         /* of a scalar as written, of an empty value "" or "null" */
    struct yaml_node **items; /* of a list; of a map: key, value, key, value... */
    uint32_t n;               /* list items or map pairs */
    uint32_t offset;          /* of its first octet in the file */
    uint32_t width;           /* octets */
    uint32_t weight;          /* nodes below and including this one, aliases followed */
    uint8_t type;
    bool quoted;
    bool open; /* its end was not seen yet: an alias to it would be a cycle */
};

struct yaml {
    char *file;
    char *text; /* NUL-terminated beyond len */
    size_t len;
    uint32_t *lines; /* offset of each line's first octet */
    size_t n_lines;
    struct yaml_chunk *arena;
    struct yaml_node *root;
};

struct yaml *yaml_new(const char *file, char *text, size_t len); /* takes text */
void *yaml_alloc(struct yaml *y, size_t size);                   /* zeroed */
/* A problem at a line and column, both from 1; takes message. */
void yaml_add_problem(struct problems *p, const struct yaml *y, size_t line, size_t column,
                      char *message);
/* A problem at an offset; takes message. */
void yaml_add_problem_at(struct problems *p, const struct yaml *y, size_t offset, char *message);
/* A line without its end, as offset and length; line from 1. */
const char *yaml_line(const struct yaml *y, size_t line, size_t *ret_len);

/* What libfyaml shall never see: other encodings, control characters, walls of brackets. */
bool yaml_text_is_good(const struct yaml *y, struct problems *problems);
/* libfyaml's words about a line, or ours where it speaks of consequences. Caller frees. */
char *yaml_syntax_message(const struct yaml *y, size_t line, const char *said);
