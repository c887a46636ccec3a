#include "base/strv.h"

#include <assert.h>
#include <string.h>

void strv_add_owned(struct strv *v, char *s)
{
    assert(s); /* it would end the list for everybody who reads it as an argv */
    v->items = xreallocarray(v->items, v->n + 2, sizeof(*v->items));
    v->items[v->n++] = s;
    v->items[v->n] = NULL;
}

void strv_add(struct strv *v, const char *s)
{
    strv_add_owned(v, xstrdup(s));
}

void strv_addf(struct strv *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strv_add_owned(v, xvasprintf(fmt, ap));
    va_end(ap);
}

bool strv_has(const struct strv *v, const char *s)
{
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->items[i], s) == 0)
            return true;
    return false;
}

bool strv_equal(const struct strv *a, const struct strv *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

void strv_copy(struct strv *to, const struct strv *from)
{
    if (to == from)
        return;
    strv_done(to);
    for (size_t i = 0; i < from->n; i++)
        strv_add(to, from->items[i]);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort_unique(struct strv *v)
{
    size_t kept = 0;

    if (v->n == 0)
        return;
    qsort(v->items, v->n, sizeof(*v->items), compare);
    for (size_t i = 1; i < v->n; i++) {
        if (strcmp(v->items[i], v->items[kept]) == 0)
            free(v->items[i]);
        else
            v->items[++kept] = v->items[i];
    }
    v->n = kept + 1;
    v->items[v->n] = NULL;
}

char *strv_join(const struct strv *v, const char *separator)
{
    size_t between = strlen(separator), len = 0;

    for (size_t i = 0; i < v->n; i++)
        len += strlen(v->items[i]) + between;

    char *text = xmalloc(len + 1), *at = text;
    for (size_t i = 0; i < v->n; i++) {
        if (i > 0)
            at = mempcpy(at, separator, between);
        at = mempcpy(at, v->items[i], strlen(v->items[i]));
    }
    *at = '\0';
    return text;
}

void strv_done(struct strv *v)
{
    for (size_t i = 0; i < v->n; i++)
        free(v->items[i]);
    free(v->items);
    *v = (struct strv){0};
}
