#include "base/map.h"

#include <string.h>

#include "base/mem.h"

/* uthash.h takes these from whoever includes it. The hash is not the preset one, whose text clang
 * warns about. */
#define HASH_FUNCTION(key, len, hash) HASH_OAT(key, len, hash)
#define uthash_malloc(size)           xmalloc(size)
#define uthash_fatal(text)            abort()
#include <uthash.h>

struct map_entry {
    char *key;
    void *value;
    UT_hash_handle hh;
};

struct map {
    struct map_entry *entries;
};

static struct map_entry *find(const struct map *m, const char *key)
{
    struct map_entry *e;

    HASH_FIND(hh, m->entries, key, strlen(key), e);
    return e;
}

struct map *map_new(void)
{
    return xcalloc(1, sizeof(struct map));
}

void map_free(struct map *m, void (*free_value)(void *value))
{
    struct map_entry *e, *next;

    if (!m)
        return;
    HASH_ITER(hh, m->entries, e, next)
    {
        HASH_DEL(m->entries, e);
        if (free_value)
            free_value(e->value);
        free(e->key);
        free(e);
    }
    free(m);
}

void *map_get(const struct map *m, const char *key)
{
    const struct map_entry *e = find(m, key);

    return e ? e->value : NULL;
}

void *map_set(struct map *m, const char *key, void *value)
{
    struct map_entry *e = find(m, key);

    if (e) {
        void *old = e->value;
        e->value = value;
        return old;
    }
    e = xcalloc(1, sizeof(*e));
    e->key = xstrdup(key);
    e->value = value;
    HASH_ADD_KEYPTR(hh, m->entries, e->key, strlen(e->key), e);
    return NULL;
}

void *map_remove(struct map *m, const char *key)
{
    struct map_entry *e = find(m, key);

    if (!e)
        return NULL;

    void *value = e->value;
    HASH_DEL(m->entries, e);
    free(e->key);
    free(e);
    return value;
}

size_t map_count(const struct map *m)
{
    return HASH_COUNT(m->entries);
}

const struct map_entry *map_first(const struct map *m)
{
    return m->entries;
}

const struct map_entry *map_next(const struct map_entry *e)
{
    return e->hh.next;
}

const char *map_entry_key(const struct map_entry *e)
{
    return e->key;
}

void *map_entry_value(const struct map_entry *e)
{
    return e->value;
}
