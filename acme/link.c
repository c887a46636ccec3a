#include "acme/link.h"

#include <string.h>
#include <strings.h>

#include "acme/url.h"

static const char *skip_space(const char *at)
{
    return at + strspn(at, " \t");
}

/* One parameter of a link: "; name=value" or "; name=\"value\"". The value is new, unquoted. */
struct param {
    const char *name;
    size_t name_len;
    char *value;
};

static const char *read_quoted(const char *at, char **ret)
{
    auto_free char *value = xmalloc(strlen(at) + 1);
    size_t n = 0;

    for (at++; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1])
            at++;
        value[n++] = *at;
    }
    value[n] = '\0';
    *ret = take(value);
    return *at == '"' ? at + 1 : NULL;
}

/* at: behind the ';'. NULL when it is malformed; param->value is set or NULL. */
static const char *read_param(const char *at, struct param *ret)
{
    at = skip_space(at);
    *ret = (struct param){.name = at, .name_len = strcspn(at, "=;, \t\"")};
    at = skip_space(at + ret->name_len);
    if (*at != '=')
        return at;
    at = skip_space(at + 1);
    if (*at == '"')
        return read_quoted(at, &ret->value);
    size_t n = strcspn(at, ";, \t");
    ret->value = xstrndup(at, n);
    return at + n;
}

static bool param_is(const struct param *p, const char *name)
{
    return p->name_len == strlen(name) && strncasecmp(p->name, name, p->name_len) == 0;
}

static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; *at;) {
        at += strspn(at, " \t");
        size_t n = strcspn(at, " \t");
        if (n == len && strncasecmp(at, word, n) == 0)
            return true;
        at += n;
    }
    return false;
}

/* Reads one link behind its '<'; NULL when it is malformed. */
static const char *read_link(const char *at, const char *rel, const char *base, struct strv *ret)
{
    const char *end = strchr(at, '>');
    bool wanted = false, seen_rel = false, anchored = false;

    if (!end)
        return NULL;
    auto_free char *target = xstrndup(at, (size_t)(end - at));
    at = skip_space(end + 1);
    while (at && *at == ';') {
        struct param p;
        at = read_param(at + 1, &p);
        if (p.value && param_is(&p, "rel") && !seen_rel) { /* RFC 8288 3.3: only the first counts */
            seen_rel = true;
            wanted = has_word(p.value, rel);
        } else if (param_is(&p, "anchor")) {
            anchored = true;
        }
        free(p.value);
        at = at ? skip_space(at) : NULL;
    }
    if (at && wanted && !anchored && ret->n < LINK_MAX)
        strv_add_owned(ret, url_resolve(base, target));
    return at;
}

void link_parse(const char *value, const char *rel, const char *base, struct strv *ret)
{
    const char *at = value;

    while (at) {
        at += strspn(at, " \t,");
        at = *at == '<' ? read_link(at + 1, rel, base, ret) : NULL;
        if (at && *at != ',') /* the end, or nothing that belongs behind a link */
            break;
    }
}

void link_find(const struct http_reply *reply, const char *rel, const char *base, struct strv *ret)
{
    static const char name[] = "link:";

    for (size_t i = 0; i < reply->headers.n; i++) {
        const char *header = reply->headers.items[i];
        if (strncmp(header, name, sizeof(name) - 1) == 0)
            link_parse(header + sizeof(name) - 1, rel, base, ret);
    }
}
