/* The only user of libfyaml: a document as nodes with positions, and the list of problems found in it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json.h"

/* One problem of a configuration, product.md section 10 "check". */
struct problem {
    bool warning;
    char *file;
    int line;   /* from 1; 0 unknown */
    int column; /* from 1 */
    int width;  /* characters to underline, at least 1 */
    char *path; /* "certificates.www.names", or NULL */
    char *message;
    char *source;     /* the offending line, or NULL */
    char *suggestion; /* "names", or NULL */
};

struct problems {
    struct problem *items;
    size_t n;
    size_t errors; /* those that are no warnings */
};
void problems_done(struct problems *p);
/* Message without position (missing file and the like). */
void problems_add_file(struct problems *p, const char *file, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "file:line:column: error: message", the line, a caret, "did you mean ...?"; caller frees. */
char *problem_text(const struct problem *p, bool color);
json_t *problem_to_json(const struct problem *p);

enum yaml_type { YAML_SCALAR, YAML_LIST, YAML_MAP, YAML_NULL };

struct yaml; /* a loaded file */
/* NULL when it could not be read or parsed at all: problems say why (syntax, duplicate keys, anchors
 * and aliases are fine). Files over 4 MiB are refused. An empty file is an empty map. */
NODISCARD struct yaml *yaml_load(const char *file, struct problems *problems);
/* From memory; `file` is the name for messages. */
NODISCARD struct yaml *yaml_parse(const char *file, const char *text, size_t len,
                                  struct problems *problems);
void yaml_free(struct yaml *y);

struct yaml_node; /* borrowed from its yaml */
const struct yaml_node *yaml_root(const struct yaml *y);
enum yaml_type yaml_node_type(const struct yaml_node *n);
const char *yaml_scalar(const struct yaml_node *n);  /* NULL when it is none */
bool yaml_is_quoted(const struct yaml_node *n);
size_t yaml_count(const struct yaml_node *n);        /* list items or map pairs */
const struct yaml_node *yaml_item(const struct yaml_node *list, size_t i);
/* Map pair i; the key is a node of its own (for positions). */
const struct yaml_node *yaml_pair(const struct yaml_node *map, size_t i,
                                  const struct yaml_node **ret_key);
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* NULL: absent */
const char *yaml_file(const struct yaml_node *n);
/* "file:line:column"; caller frees. */
char *yaml_where(const struct yaml_node *n);

/* Adds a problem at a node; path as in struct problem, may be NULL; suggestion may be NULL. */
void yaml_problem(struct problems *p, bool warning, const struct yaml_node *at, const char *path,
                  const char *suggestion, const char *fmt, ...) PRINTF_LIKE(6, 7);
