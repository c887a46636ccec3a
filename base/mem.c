#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* The log is not used: it allocates, and stderr may be the only thing left. */
__attribute__((noreturn)) static void out_of_memory(void)
{
    static const char text[] = "everleaf: out of memory\n";
    ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);

    (void)n;
    abort();
}

/* malloc(0) may return NULL, which must not look like a failure. */
static size_t at_least_one(size_t size)
{
    return size ? size : 1;
}

void *xmalloc(size_t size)
{
    void *p = malloc(at_least_one(size));

    if (!p)
        out_of_memory();
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(at_least_one(n), at_least_one(size));

    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *p, size_t size)
{
    void *moved = realloc(p, at_least_one(size));

    if (!moved)
        out_of_memory();
    return moved;
}

void *xreallocarray(void *p, size_t n, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(n, size, &total))
        out_of_memory();
    return xrealloc(p, total);
}

char *xstrdup(const char *s)
{
    return s ? xmemdup(s, strlen(s) + 1) : NULL;
}

char *xstrndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = xmalloc(len + 1);

    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

void *xmemdup(const void *p, size_t n)
{
    void *copy = xmalloc(n);

    if (n > 0) /* p may be NULL for nothing */
        memcpy(copy, p, n);
    return copy;
}

char *xvasprintf(const char *fmt, va_list ap)
{
    char *text;

    if (vasprintf(&text, fmt, ap) < 0)
        out_of_memory();
    return text;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = xvasprintf(fmt, ap);
    va_end(ap);
    return text;
}

void set_string(char **p, char *value)
{
    if (*p != value)
        free(*p);
    *p = value;
}

struct secret *secret_new(const void *data, size_t len)
{
    struct secret *s = xcalloc(1, sizeof(*s));

    s->data = xmalloc(len + 1);
    if (len > 0)
        memcpy(s->data, data, len);
    s->data[len] = '\0';
    s->len = len;
    return s;
}

void secret_free(struct secret *s)
{
    if (!s)
        return;
    if (s->data)
        explicit_bzero(s->data, s->len + 1);
    free(s->data);
    free(s);
}
