/* A list of owned strings; `items` is NULL-terminated (usable as argv) and NULL when empty. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct strv {
    char **items;
    size_t n;
};

void strv_add(struct strv *v, const char *s);
void strv_addf(struct strv *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
void strv_add_owned(struct strv *v, char *s);
bool strv_has(const struct strv *v, const char *s);
bool strv_equal(const struct strv *a, const struct strv *b);
void strv_copy(struct strv *to, const struct strv *from); /* `to` is emptied first */
void strv_sort_unique(struct strv *v);
char *strv_join(const struct strv *v, const char *separator); /* caller frees */
void strv_done(struct strv *v);

static inline void strv_done_p(struct strv *v)
{
    strv_done(v);
}
#define auto_strv __attribute__((cleanup(strv_done_p)))
