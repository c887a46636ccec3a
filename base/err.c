#include "base/err.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"

#define ERR_TEXT_MAX 4096

static const char *const kind_names[] = {
    [ERR_CONFIG] = "config",       [ERR_REFUSED] = "refused", [ERR_LIMITED] = "limited",
    [ERR_TRANSIENT] = "transient", [ERR_SYSTEM] = "system",   [ERR_BUG] = "bug",
};

/* Length of the well-formed UTF-8 sequence at s (RFC 3629 4: no overlong forms, no surrogates), 0
 * if there is none. */
static size_t utf8_decode(const unsigned char *s, size_t len, uint32_t *ret_char)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (n <= 1) {
        *ret_char = s[0];
        return n;
    }
    if (n > len || s[0] > 0xf4)
        return 0;

    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret_char = c;
    return n;
}

/* What moves the cursor, ends a line, or makes text read in another order than it is written. */
static bool is_treacherous(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x61c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

/* Whole characters and whole escapes only: what does not fit entirely is left out. */
static bool add_whole(struct buf *b, const char *s, size_t len)
{
    return b->max - b->len >= len && buf_add(b, s, len);
}

/* False when cut at the maximum of b. */
static bool escape_into(struct buf *b, const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;

    for (size_t i = 0, n; i < len; i += n) {
        char escape[16];
        uint32_t c = s[i];

        n = utf8_decode(s + i, len - i, &c);
        if (n > 0 && !is_treacherous(c)) {
            if (!add_whole(b, text + i, n))
                return false;
            continue;
        }
        snprintf(escape, sizeof(escape), n > 1 ? "\\u%04x" : "\\x%02x", (unsigned)c);
        if (!add_whole(b, escape, strlen(escape)))
            return false;
        n = n ? n : 1;
    }
    return true;
}

char *text_escape(const char *text, size_t len)
{
    auto_buf struct buf b;

    buf_init(&b, SIZE_MAX);
    escape_into(&b, text, len);
    return buf_take(&b);
}

/* Takes `raw`. The escapes are fixed points, so that wrapping an escaped text changes nothing. */
static char *err_text(char *raw)
{
    auto_free char *owned = raw;
    auto_buf struct buf b;

    buf_init(&b, ERR_TEXT_MAX - 3);
    if (!escape_into(&b, owned, strlen(owned))) {
        b.max = ERR_TEXT_MAX;
        buf_add_str(&b, "...");
    }
    return buf_take(&b);
}

/* Takes `text`. */
static void err_replace(struct err **err, enum err_kind kind, int code, char *text)
{
    struct err *e = xcalloc(1, sizeof(*e));

    e->kind = kind;
    e->code = code;
    e->text = text;
    e->at = clock_now();
    err_free(*err);
    *err = e;
}

bool err_set(struct err **err, enum err_kind kind, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return false;
    va_start(ap, fmt);
    char *text = err_text(xvasprintf(fmt, ap));
    va_end(ap);
    err_replace(err, kind, 0, text);
    return false;
}

bool err_set_errno(struct err **err, int errnum, const char *fmt, ...)
{
    const char *reason = strerrordesc_np(errnum);
    va_list ap;

    if (!err)
        return false;
    va_start(ap, fmt);
    auto_free char *what = xvasprintf(fmt, ap);
    va_end(ap);
    err_replace(err, ERR_SYSTEM, errnum,
                err_text(reason ? xasprintf("%s: %s", what, reason)
                                : xasprintf("%s: error %d", what, errnum)));
    return false;
}

bool err_wrap(struct err **err, const char *fmt, ...)
{
    va_list ap;

    if (!err || !*err)
        return false;
    va_start(ap, fmt);
    auto_free char *context = xvasprintf(fmt, ap);
    va_end(ap);
    set_string(&(*err)->text, err_text(xasprintf("%s: %s", context, (*err)->text)));
    return false;
}

bool err_hint(struct err **err, const char *fmt, ...)
{
    va_list ap;

    if (!err || !*err)
        return false;
    va_start(ap, fmt);
    set_string(&(*err)->hint, err_text(xvasprintf(fmt, ap)));
    va_end(ap);
    return false;
}

bool err_step(struct err **err, const char *step)
{
    if (err && *err && !(*err)->step)
        (*err)->step = err_text(xstrdup(step));
    return false;
}

struct err *err_copy(const struct err *err)
{
    if (!err)
        return NULL;

    struct err *copy = xmemdup(err, sizeof(*err));
    copy->text = xstrdup(err->text);
    copy->hint = xstrdup(err->hint);
    copy->where = xstrdup(err->where);
    copy->step = xstrdup(err->step);
    copy->problem = xstrdup(err->problem);
    return copy;
}

bool err_move(struct err **to, struct err **from)
{
    struct err *moved = take(*from);

    if (!to) {
        err_free(moved);
        return false;
    }
    if (*to != moved)
        err_free(*to);
    *to = moved;
    return false;
}

void err_free(struct err *err)
{
    if (!err)
        return;
    free(err->text);
    free(err->hint);
    free(err->where);
    free(err->step);
    free(err->problem);
    free(err);
}

const char *err_kind_name(enum err_kind kind)
{
    return (size_t)kind < ARRAY_LEN(kind_names) ? kind_names[kind] : "bug";
}

bool err_kind_parse(const char *name, enum err_kind *ret_kind)
{
    for (size_t i = 0; i < ARRAY_LEN(kind_names); i++) {
        if (strcmp(name, kind_names[i]) == 0) {
            *ret_kind = (enum err_kind)i;
            return true;
        }
    }
    return false;
}
