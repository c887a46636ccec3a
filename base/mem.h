/* Memory and small ownership helpers. Out of memory ends the process (state is on disk, the unit
 * restarts): sizes that come from outside are capped before they reach these functions. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define NODISCARD         __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
/* Grows to n elements of `size`; ends the process when the product overflows. */
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */
char *xstrndup(const char *s, size_t n);
void *xmemdup(const void *p, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);
char *xvasprintf(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);

/* Gives the pointer away and leaves NULL: ownership moves here. */
#define take(p)                                                                                    \
    __extension__({                                                                                \
        __typeof__(p) take_tmp_ = (p);                                                             \
        (p) = NULL;                                                                                \
        take_tmp_;                                                                                 \
    })

/* Frees *p (a char *), stores value (owned). */
void set_string(char **p, char *value);

static inline void free_p(void *p)
{
    free(*(void **)p);
}
#define auto_free __attribute__((cleanup(free_p)))

static inline void close_p(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define auto_close __attribute__((cleanup(close_p)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* A secret (token, HMAC key, PEM key): wiped when freed, never printed, refused by log. */
struct secret {
    unsigned char *data; /* NUL-terminated beyond len for convenience */
    size_t len;
};
struct secret *secret_new(const void *data, size_t len); /* copies */
void secret_free(struct secret *s);
static inline void secret_free_p(struct secret **s)
{
    secret_free(*s);
}
#define auto_secret __attribute__((cleanup(secret_free_p)))
