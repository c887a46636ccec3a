#include "base/http_header.h"

#include <ctype.h>
#include <string.h>

#include "base/http.h"

static void http_header_add(struct strv *headers, const char *name, size_t name_len,
                            const char *value, size_t value_len)
{
    while (value_len > 0 && isspace((unsigned char)*value)) {
        value++;
        value_len--;
    }
    while (value_len > 0 && isspace((unsigned char)value[value_len - 1]))
        value_len--;

    char *header = xasprintf("%.*s: %.*s", (int)name_len, name, (int)value_len, value);
    for (char *p = header; *p && *p != ':'; p++)
        *p = (char)tolower((unsigned char)*p);
    strv_add_owned(headers, header);
}

void http_header_line(struct strv *headers, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);

    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)
        strv_done(headers);
    else if (colon && colon > line &&
             !isspace((unsigned char)*line)) /* no folded line (obsolete) */
        http_header_add(headers, line, (size_t)(colon - line), colon + 1,
                        len - (size_t)(colon - line) - 1);
}

const char *http_header(const struct http_reply *r, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < r->headers.n; i++) {
        const char *header = r->headers.items[i];
        if (strncmp(header, name, len) == 0 && header[len] == ':')
            return header + len + 2;
    }
    return NULL;
}
