#include "acme/url.h"

#include <string.h>
#include <strings.h>

#include "base/strv.h"

#define URL_CHARS                                                                                  \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?[]@!$&'()*+,;=%"

bool url_check(const char *url, const char *what, struct err **err)
{
    static const char scheme[] = "https://";
    const char *problem = NULL;

    if (!url)
        return err_set(err, ERR_REFUSED, "the CA gave no %s URL", what);

    const char *host = url + sizeof(scheme) - 1;
    if (strnlen(url, URL_MAX + 1) > URL_MAX)
        problem = "is too long";
    else if (strncasecmp(url, scheme, sizeof(scheme) - 1) != 0)
        problem = "is not https";
    else if (url[strspn(url, URL_CHARS)] != '\0')
        problem = "has characters that no URL may have";
    else if (strcspn(host, "/?") == 0)
        problem = "has no host";
    else if (strcspn(host, "@") < strcspn(host, "/?"))
        problem = "has a user name in it";
    if (!problem)
        return true;

    auto_free char *start = xstrndup(url, 200);
    err_set(err, ERR_REFUSED, "the CA's %s URL %s: %s", what, problem, start);
    return err_hint(err, "nothing was sent there; the CA must be fixed");
}

/* Where the path begins in an absolute URL, or its end; NULL without "://". */
static const char *path_of(const char *url)
{
    const char *at = strstr(url, "://");

    return at ? at + 3 + strcspn(at + 3, "/?#") : NULL;
}

char *url_host(const char *url)
{
    const char *end = path_of(url);
    const char *host = end ? strstr(url, "://") + 3 : NULL;

    return host && end > host ? xstrndup(host, (size_t)(end - host)) : xstrdup("?");
}

/* RFC 3986 5.2.4 on the path up to a query: "." and ".." segments vanish, never above the root. */
static char *remove_dots(const char *path)
{
    size_t path_len = strcspn(path, "?#");
    auto_free char *result = xmalloc(strlen(path) + 2);
    size_t len = 0;

    for (const char *at = path, *end = path + path_len; at < end;) {
        size_t n = strcspn(at + 1, "/?#"); /* each segment begins with its slash */
        bool last = at + 1 + n >= end;
        bool dot = n == 1 && at[1] == '.';
        bool dots = n == 2 && at[1] == '.' && at[2] == '.';

        if (dots) {
            while (len > 0 && result[--len] != '/')
                continue;
        }
        if (!dot && !dots) {
            memcpy(result + len, at, n + 1);
            len += n + 1;
        } else if (last) {
            result[len++] = '/';
        }
        at += n + 1;
    }
    memcpy(result + len, path + path_len, strlen(path + path_len) + 1);
    return take(result);
}

static bool has_scheme(const char *reference)
{
    size_t n =
        strspn(reference, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return n > 0 && reference[n] == ':';
}

char *url_resolve(const char *base, const char *reference)
{
    const char *path = path_of(base);

    if (!path || has_scheme(reference))
        return xstrdup(reference);

    size_t origin_len = (size_t)(path - base);
    if (strncmp(reference, "//", 2) == 0)
        return xasprintf("%.*s%s", (int)(strstr(base, "//") - base), base, reference);

    auto_free char *joined = NULL;
    size_t keep =
        strcspn(path, "?#"); /* "?query" replaces the query, "" keeps all but a fragment */
    if (reference[0] == '/') {
        joined = xstrdup(reference);
    } else if (reference[0] == '?') {
        joined = xasprintf("%.*s%s", (int)keep, path, reference);
    } else if (reference[0] == '\0' || reference[0] == '#') {
        joined = xstrndup(path, strcspn(path, "#"));
    } else {
        while (keep > 0 && path[keep - 1] != '/')
            keep--;
        joined = xasprintf("%.*s%s%s", (int)keep, path, keep > 0 ? "" : "/", reference);
    }
    auto_free char *clean = joined[0] == '/' ? remove_dots(joined) : xstrdup(joined);
    return xasprintf("%.*s%s", (int)origin_len, base, clean);
}
