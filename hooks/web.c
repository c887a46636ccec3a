#include "hooks/web.h"

#include <string.h>

#define UNIX_PREFIX "unix:"

struct web {
    struct http *http;
    struct http_call *call;
    bool called;
    http_fn *fn;
    void *userdata;
};

/* ret_socket: NULL unless it is one; both are new strings. */
static bool parse(const char *url, char **ret_url, char **ret_socket, struct err **err)
{
    static const char prefix[] = UNIX_PREFIX;

    *ret_socket = NULL;
    if (strncmp(url, "http://", 7) == 0 || strncmp(url, "https://", 8) == 0) {
        *ret_url = xstrdup(url);
        return true;
    }
    const char *path = url + strlen(prefix);
    if (strncmp(url, prefix, strlen(prefix)) != 0 || path[0] != '/') {
        err_set(err, ERR_CONFIG, "\"%s\" is no URL for this", url);
        return err_hint(err, "it is like http://127.0.0.1:2019/load, or "
                             "unix:/run/app.sock:/load for a socket");
    }
    const char *colon = strchr(path, ':');
    size_t len = colon ? (size_t)(colon - path) : strlen(path);
    if (colon && colon[1] != '/')
        return err_set(err, ERR_CONFIG, "behind the socket's path comes the request's: %s:/", url);
    *ret_socket = xstrndup(path, len);
    *ret_url = xasprintf("http://localhost%s", colon ? colon + 1 : "/");
    return true;
}

bool web_check_url(const char *url, struct err **err)
{
    auto_free char *plain = NULL, *socket = NULL;

    return parse(url, &plain, &socket, err);
}

void web_free(struct web *w)
{
    if (!w || w->called)
        return;
    http_free(w->http); /* and its call */
    free(w);
}

static void on_reply(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct web *w = userdata;

    w->called = true;
    w->fn(reply, e, w->userdata);
    w->called = false;
    web_free(w);
}

struct web *web_start(struct loop *l, const struct http_request *request, http_fn *fn,
                      void *userdata)
{
    struct web *w = xcalloc(1, sizeof(*w));
    auto_free char *url = NULL, *socket = NULL;
    struct http_request r = *request;

    w->fn = fn;
    w->userdata = userdata;
    w->http = http_new(l, NULL);
    if (parse(request->url, &url, &socket, NULL))
        r.url = url; /* else the client refuses it, and says why */
    r.socket = socket;
    r.direct = true;
    r.allow_http = true;
    w->call = http_start(w->http, &r, on_reply, w);
    return w;
}
