#include <string.h>

#include "base/yaml_private.h"

#define BRACKETS 256 /* in a row; libfyaml's time for them is quadratic */

/* Octets of the well-formed UTF-8 sequence at s (RFC 3629 4), 0 if there is none. s is
 * NUL-terminated, so no sequence is cut off. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;  /* no overlong forms */
    unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf; /* no surrogates */

    if (n == 1)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4 || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return n;
}

static bool refuse_text(const struct yaml *y, size_t offset, char *message, struct problems *p)
{
    yaml_add_problem_at(p, y, offset, message);
    return false;
}

bool yaml_text_is_good(const struct yaml *y, struct problems *problems)
{
    const unsigned char *s = (const unsigned char *)y->text;
    size_t brackets = 0;

    if (y->len >= 2 && (memcmp(s, "\xff\xfe", 2) == 0 || memcmp(s, "\xfe\xff", 2) == 0)) {
        problems_add_file(problems, y->file, "is UTF-16: save it as UTF-8");
        return false;
    }
    for (size_t i = 0, n; i < y->len; i += n) {
        n = utf8_len(s + i);
        if (n == 0)
            return refuse_text(y, i,
                               xasprintf("octet 0x%02x is not UTF-8: save the file as UTF-8", s[i]),
                               problems);
        if (s[i] == '\0' || s[i] == 0x7f || (s[i] < 0x20 && !strchr("\t\n\r", s[i])))
            return refuse_text(
                y, i, xasprintf("control character 0x%02x is not allowed here", s[i]), problems);
        if (s[i] == '[' || s[i] == '{')
            brackets++;
        else if (s[i] > ' ')
            brackets = 0;
        if (brackets > BRACKETS)
            return refuse_text(y, i, xstrdup("nested too deeply"), problems);
    }
    return true;
}

static bool begins_with_tab(const struct yaml *y, size_t line)
{
    size_t len;
    const char *text = yaml_line(y, line, &len), *tab = memchr(text, '\t', len);

    return tab && strspn(text, " \t") > (size_t)(tab - text);
}

char *yaml_syntax_message(const struct yaml *y, size_t line, const char *said)
{
    if (begins_with_tab(y, line) || (line > 1 && begins_with_tab(y, line - 1)))
        return xstrdup("a tab cannot indent YAML: use spaces");
    if (strstr(said, "quoted scalar") && !strstr(said, "trailing"))
        return xstrdup("the quoted text that begins here is not closed");
    if (strstr(said, "missing comma in flow"))
        return xasprintf("%s, or its closing bracket is missing before this place", said);
    if (strstr(said, "cannot start with"))
        return xasprintf("%s: put it in quotes", said);
    return xstrdup(said);
}
