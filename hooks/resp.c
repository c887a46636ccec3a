#include "hooks/resp.h"

#include <string.h>

#define STRING_MAX 65536
#define ITEMS_MAX  256
#define DIGITS_MAX 10

void resp_begin_command(struct buf *b, size_t count)
{
    buf_addf(b, "*%zu\r\n", count);
}

void resp_add_argument(struct buf *b, const void *data, size_t len)
{
    buf_addf(b, "$%zu\r\n", len);
    buf_add(b, data, len);
    buf_add(b, "\r\n", 2);
}

void resp_done(struct resp *r)
{
    strv_done(&r->items);
    *r = (struct resp){0};
}

/* The line from `at`, without its end; 0 or -1 as resp_parse(). */
static long parse_line(const char *at, size_t len, size_t *ret_len)
{
    const char *end = memchr(at, '\r', len);

    if (!end)
        return len > STRING_MAX ? -1 : 0;
    *ret_len = (size_t)(end - at);
    if (*ret_len + 1 == len)
        return 0;
    return end[1] == '\n' ? (long)*ret_len + 2 : -1;
}

/* -1: no number of that size. "-1" itself is a null. */
static bool parse_count(const char *text, size_t len, long max, long *ret)
{
    long n = 0;

    if (len == 2 && memcmp(text, "-1", 2) == 0) {
        *ret = -1;
        return true;
    }
    if (len == 0 || len > DIGITS_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (text[i] - '0');
    }
    *ret = n;
    return n <= max;
}

/* Appends one string to the items. */
static long parse_string(const char *data, size_t len, struct resp *ret)
{
    size_t line;
    long count, used = parse_line(data + 1, len - 1, &line);

    if (used <= 0)
        return used;
    if (!parse_count(data + 1, line, STRING_MAX, &count))
        return -1;
    if (count < 0) {
        strv_add(&ret->items, "");
        return 1 + used;
    }
    size_t whole = 1 + (size_t)used + (size_t)count + 2;
    if (len < whole)
        return 0;
    const char *text = data + 1 + used;
    if (memcmp(text + count, "\r\n", 2) != 0 || memchr(text, '\0', (size_t)count))
        return -1;
    strv_add_owned(&ret->items, xstrndup(text, (size_t)count));
    return (long)whole;
}

static long parse_array(const char *data, size_t len, struct resp *ret)
{
    size_t line;
    long count, used = parse_line(data + 1, len - 1, &line), at;

    if (used <= 0)
        return used;
    if (!parse_count(data + 1, line, ITEMS_MAX, &count))
        return -1;
    at = 1 + used;
    for (long i = 0; i < count; i++) {
        if ((size_t)at == len)
            return 0;
        long n = data[at] == '$' ? parse_string(data + at, len - (size_t)at, ret) : -1;
        if (n <= 0)
            return n;
        at += n;
    }
    return at;
}

static long parse_text(const char *data, size_t len, struct resp *ret)
{
    size_t line;
    long used = parse_line(data + 1, len - 1, &line);

    if (used <= 0)
        return used;
    if (memchr(data, '\0', line))
        return -1;
    ret->is_error = data[0] == '-';
    strv_add_owned(&ret->items, xstrndup(data + 1, line));
    return 1 + used;
}

long resp_parse(const char *data, size_t len, struct resp *ret)
{
    resp_done(ret);
    if (len == 0)
        return 0;
    switch (data[0]) {
    case '+':
    case '-':
    case ':':
        return parse_text(data, len, ret);
    case '$':
        return parse_string(data, len, ret);
    case '*':
        return parse_array(data, len, ret);
    default:
        return -1;
    }
}
