#include "base/buf.h"

#include <stdint.h>
#include <string.h>

#define BUF_START 64

/* Not realloc(): it would leave a copy of a secret behind in freed memory. */
static void buf_resize(struct buf *b, size_t cap)
{
    char *data = xmalloc(cap);

    if (b->len > 0)
        memcpy(data, b->data, b->len);
    data[b->len] = '\0';
    if (b->data && b->wipe)
        explicit_bzero(b->data, b->cap);
    free(b->data);
    b->data = data;
    b->cap = cap;
}

/* Room for len bytes and the NUL; len is at most max. */
static void buf_reserve(struct buf *b, size_t len)
{
    if (b->data && len < b->cap)
        return;

    size_t cap = b->cap < BUF_START ? BUF_START : b->cap;
    while (cap <= len)
        cap = cap > SIZE_MAX / 2 ? SIZE_MAX : cap * 2;
    if (b->wipe)
        buf_resize(b, cap);
    else {
        b->data = xrealloc(b->data, cap);
        b->data[b->len] = '\0';
        b->cap = cap;
    }
}

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
    buf_reserve(b, 0);
}

void buf_done(struct buf *b)
{
    if (b->data && b->wipe)
        explicit_bzero(b->data, b->cap);
    free(b->data);
    *b = (struct buf){0};
}

bool buf_add(struct buf *b, const void *data, size_t len)
{
    size_t room = b->max - b->len;
    bool fits = len <= room;

    if (!fits) {
        b->overflow = true;
        len = room;
    }
    buf_reserve(b, b->len + len);
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return fits;
}

bool buf_add_str(struct buf *b, const char *s)
{
    return buf_add(b, s, strlen(s));
}

bool buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    auto_free char *text = xvasprintf(fmt, ap);
    va_end(ap);

    size_t len = strlen(text);
    bool fits = buf_add(b, text, len);
    if (b->wipe)
        explicit_bzero(text, len);
    return fits;
}

void buf_clear(struct buf *b)
{
    if (b->data && b->wipe)
        explicit_bzero(b->data, b->cap);
    b->len = 0;
    b->overflow = false;
    buf_reserve(b, 0);
    b->data[0] = '\0';
}

char *buf_take(struct buf *b)
{
    buf_reserve(b, b->len); /* of a buffer that was only zeroed */
    char *data = take(b->data);
    bool wipe = b->wipe;

    buf_init(b, b->max);
    b->wipe = wipe;
    return data;
}
