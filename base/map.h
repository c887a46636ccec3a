/* Name -> pointer map: a thin face on uthash. Keys are copied, values borrowed (or freed by the
 * function given to map_free). Iteration is in order of insertion. */
#pragma once

#include <stddef.h>

struct map;

struct map *map_new(void);
void map_free(struct map *m, void (*free_value)(void *value));
void *map_get(const struct map *m, const char *key);        /* NULL when absent */
void *map_set(struct map *m, const char *key, void *value); /* returns the old value or NULL */
void *map_remove(struct map *m, const char *key);           /* returns the value or NULL */
size_t map_count(const struct map *m);

struct map_entry;
const struct map_entry *map_first(const struct map *m);
const struct map_entry *map_next(const struct map_entry *e);
const char *map_entry_key(const struct map_entry *e);
void *map_entry_value(const struct map_entry *e);
