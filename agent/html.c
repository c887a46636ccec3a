#include "agent/html.h"

#include <string.h>

#include "base/clock.h"

#define MINUTES_LEN 16 /* "2026-12-08T14:00" */

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    default:
        return "&#39;";
    }
}

void html_text(struct buf *out, const char *text)
{
    if (!text)
        return;
    auto_free char *plain = text_escape(text, strlen(text));
    for (const char *c = plain; *c;) {
        size_t n = strcspn(c, "&<>\"'");
        buf_add(out, c, n);
        c += n;
        if (*c)
            buf_add_str(out, entity(*c++));
    }
}

void html_attribute(struct buf *out, const char *name, const char *value)
{
    buf_addf(out, " %s=\"", name);
    html_text(out, value);
    buf_add_str(out, "\"");
}

void html_time(struct buf *out, time_t t)
{
    char text[CLOCK_TEXT_MAX];

    clock_rfc3339(t, text);
    buf_addf(out, "<time datetime=\"%s\" title=\"%s\">", text, text);
    text[MINUTES_LEN] = '\0';
    *strchr(text, 'T') = ' ';
    buf_addf(out, "%s</time>", text);
}

void html_distance(struct buf *out, time_t t, time_t now)
{
    char text[CLOCK_TEXT_MAX];

    if (t > now)
        buf_addf(out, "in %s", duration_text((int64_t)t - (int64_t)now, text));
    else if (t < now)
        buf_addf(out, "%s ago", duration_text((int64_t)now - (int64_t)t, text));
    else
        buf_add_str(out, "now");
}
