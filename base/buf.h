/* Growing byte buffer with a maximum given at creation; always NUL-terminated beyond `len`. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

struct buf {
    char *data; /* owned; never NULL after buf_init */
    size_t len;
    size_t cap;
    size_t max;
    bool wipe;     /* wipe on buf_done and on growth (for secrets) */
    bool overflow; /* something did not fit: data is cut at max */
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
/* Append; false (and b->overflow set, what fits kept) when max would be passed. */
bool buf_add(struct buf *b, const void *data, size_t len);
bool buf_add_str(struct buf *b, const char *s);
bool buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_clear(struct buf *b);
/* Gives the string away; the buffer is empty (and initialised) afterwards. */
char *buf_take(struct buf *b);

static inline void buf_done_p(struct buf *b)
{
    buf_done(b);
}
#define auto_buf __attribute__((cleanup(buf_done_p)))
