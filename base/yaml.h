/* The only user of libfyaml: a document as nodes with positions. What is wrong with it goes into a
 * list of problems (base/problem.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/problem.h"

enum yaml_type { YAML_SCALAR, YAML_LIST, YAML_MAP, YAML_NULL };

struct yaml; /* a loaded file */
/* NULL when it could not be read or parsed at all; problems say why. Problems that leave a tree
 * (duplicate keys: the first one stays; tags; unknown aliases) are only added. One document of at
 * most 4 MiB; an empty one is an empty map. Anchors, aliases and merge keys ("<<") work, and the
 * number of values they stand for is bounded; so is the depth. */
NODISCARD struct yaml *yaml_load(const char *file, struct problems *problems);
/* From memory; `file` is the name for messages. */
NODISCARD struct yaml *yaml_parse(const char *file, const char *text, size_t len,
                                  struct problems *problems);
void yaml_free(struct yaml *y); /* NULL is fine */

struct yaml_node; /* borrowed from its yaml */
const struct yaml_node *yaml_root(const struct yaml *y);
enum yaml_type yaml_node_type(const struct yaml_node *n);
const char *yaml_type_text(const struct yaml_node *n); /* "a list", "an empty value", ... */
const char *yaml_scalar(const struct yaml_node *n);    /* NULL when it is none */
bool yaml_is_quoted(const struct yaml_node *n);
size_t yaml_count(const struct yaml_node *n); /* list items or map pairs */
const struct yaml_node *yaml_item(const struct yaml_node *list, size_t i);
/* Map pair i; the key is a node of its own (for positions). */
const struct yaml_node *yaml_pair(const struct yaml_node *map, size_t i,
                                  const struct yaml_node **ret_key);
/* The text of a key; never NULL. */
const char *yaml_key(const struct yaml_node *key);
const struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* NULL: absent */
/* A map of all pairs of several maps (at least one; maybe of other documents, which must outlive
 * y). */
const struct yaml_node *yaml_join(struct yaml *y, const struct yaml_node *const *maps, size_t n);
const char *yaml_file(const struct yaml_node *n);
/* "file:line:column"; caller frees. */
char *yaml_where(const struct yaml_node *n);

/* Adds a problem at a node; path as in struct problem, may be NULL; suggestion may be NULL. `at`
 * may be NULL: a problem without position. */
void yaml_problem(struct problems *p, bool warning, const struct yaml_node *at, const char *path,
                  const char *suggestion, const char *fmt, ...) PRINTF_LIKE(6, 7);
/* The same for a value that must not be shown (a secret written into the file): hidden in `source`.
 */
void yaml_problem_hidden(struct problems *p, const struct yaml_node *at, const char *path,
                         const char *fmt, ...) PRINTF_LIKE(4, 5);
