#include "hooks/pem_text.h"

#include <string.h>

#define BEGIN       "-----BEGIN "
#define END         "-----END "
#define CERTIFICATE "CERTIFICATE-----"

/* The block at or after `at`: from its BEGIN line to the end of its END line. NULL: none. */
static const char *next_block(const char *at, const char *end, const char **ret_end)
{
    const char *begin = memmem(at, (size_t)(end - at), BEGIN, strlen(BEGIN));
    const char *last = begin ? memmem(begin, (size_t)(end - begin), END, strlen(END)) : NULL;

    if (!last)
        return NULL;
    const char *line_end = memchr(last, '\n', (size_t)(end - last));
    *ret_end = line_end ? line_end + 1 : end;
    return begin;
}

static bool add_lines(const char *at, const char *end, struct buf *ret)
{
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline ? newline : end;
        size_t len = (size_t)(line_end - at);
        while (len > 0 && (at[len - 1] == '\r' || at[len - 1] == ' ' || at[len - 1] == '\t'))
            len--;
        if (len > 0 && (!buf_add(ret, at, len) || !buf_add(ret, "\n", 1)))
            return false;
        at = newline ? newline + 1 : end;
    }
    return true;
}

bool pem_text_blocks(const char *text, size_t len, struct buf *ret)
{
    const char *end = text + len, *block, *block_end;
    bool any = false;

    for (const char *at = text; (block = next_block(at, end, &block_end)); at = block_end) {
        if (!add_lines(block, block_end, ret))
            return false;
        any = true;
    }
    return any;
}

char *pem_text_leaf(const char *text, size_t len)
{
    const char *end = text + len, *block, *block_end;

    for (const char *at = text; (block = next_block(at, end, &block_end)); at = block_end) {
        if (strncmp(block + strlen(BEGIN), CERTIFICATE, strlen(CERTIFICATE)) != 0)
            continue;
        auto_buf struct buf leaf;
        buf_init(&leaf, (size_t)(block_end - block) + 1);
        (void)add_lines(block, block_end, &leaf);
        return buf_take(&leaf);
    }
    return NULL;
}

bool pem_text_has_key(const char *text)
{
    return strstr(text, "PRIVATE KEY-----");
}
