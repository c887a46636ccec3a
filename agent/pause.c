#include "agent/pause.h"

#include <ctype.h>
#include <string.h>

#define SCHEME "https://"

/* Of an https URL that begins at `at`; the text was escaped, so a backslash ends it, too. */
static size_t url_length(const char *at)
{
    size_t n = strcspn(at, " \t<>\"'`\\(){}|^");

    while (n > 0 && strchr(".,;:!?", at[n - 1])) /* the sentence's */
        n--;
    return n;
}

/* Other limits link to a page that explains them: only a path like Boulder's "/sfe/v1/unpause" is
 * something to be acted upon. */
char *pause_url(const struct err *e)
{
    if (!e || (e->kind != ERR_LIMITED && e->kind != ERR_REFUSED))
        return NULL;
    for (const char *at = strstr(e->text, SCHEME); at; at = strstr(at + 1, SCHEME)) {
        auto_free char *url = xstrndup(at, url_length(at));
        size_t host = sizeof(SCHEME) - 1;
        const char *found = strstr(url + host, "/unpause");

        if (found && found > url + host)
            return take(url);
    }
    return NULL;
}

static bool is_name_char(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("-_.:*", c));
}

bool pause_names(const struct err *e, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = strstr(e->text, name); at && len > 0; at = strstr(at + 1, name)) {
        const char *end = at + len;
        bool begins = at == e->text || !is_name_char(at[-1]);
        bool ends = !*end || !is_name_char(*end) || (*end == '.' && !is_name_char(end[1]));

        if (begins && ends)
            return true;
    }
    return false;
}
