#include "acme/token_listener.h"

#include <errno.h>
#include <string.h>

#include "base/httpd.h"
#include "base/map.h"

/* A CA looks from several places at once, and an order may have a hundred names. */
#define CONNECTIONS_MAX 128
#define SOCKETS_MAX     16
#define FORWARD_LISTEN  "127.0.0.1:9480"

struct token {
    char *key_authorization;
    unsigned uses;
};

struct token_listener {
    struct loop *loop;
    struct strv listen;
    int sockets[SOCKETS_MAX]; /* passed by systemd; they stay open */
    size_t n_sockets;
    struct map *tokens;
    struct httpd *httpd;
};

static void token_free(void *value)
{
    struct token *t = value;

    free(t->key_authorization);
    free(t);
}

/* A map looked up by the exact text: no part of a request ever becomes a path or a reply. */
static void on_request(const struct httpd_request *request, struct httpd_reply *reply,
                       void *userdata)
{
    static const char prefix[] = "/.well-known/acme-challenge/";
    struct token_listener *l = userdata;
    const struct token *t = NULL;

    if (strncmp(request->path, prefix, sizeof(prefix) - 1) == 0)
        t = map_get(l->tokens, request->path + sizeof(prefix) - 1);
    if (t) {
        *reply = (struct httpd_reply){
            .status = 200,
            .type = "application/octet-stream",
            .body = xstrdup(t->key_authorization),
            .body_len = strlen(t->key_authorization),
        };
        return;
    }
    static const char nothing[] = "nothing here\n";
    *reply = (struct httpd_reply){
        .status = 404,
        .type = "text/plain",
        .body = xstrdup(nothing),
        .body_len = sizeof(nothing) - 1,
    };
}

static bool open_listener(struct token_listener *l, struct err **err)
{
    auto_err struct err *e = NULL;

    if (l->httpd)
        return true;
    l->httpd = httpd_new(l->loop, &l->listen, l->n_sockets ? l->sockets : NULL, l->n_sockets,
                         CONNECTIONS_MAX, on_request, l, &e);
    if (l->httpd)
        return true;
    err_wrap(&e, "http-01 listener");
    if (e->code == EADDRINUSE)
        err_hint(
            &e,
            "let the server that has the port answer: `webroot: DIR` with its document root, or "
            "make it forward /.well-known/acme-challenge/ to " FORWARD_LISTEN
            " and set `listen: " FORWARD_LISTEN "`");
    else if (e->code == EACCES || e->code == EPERM)
        err_hint(&e,
                 "ports below 1024 need CAP_NET_BIND_SERVICE or a socket passed by systemd; or use "
                 "`webroot: DIR` or `listen: " FORWARD_LISTEN "`");
    return err_move(err, &e);
}

static void close_listener(struct token_listener *l)
{
    httpd_free(l->httpd);
    l->httpd = NULL;
}

bool token_listener_add(struct token_listener *l, const char *token, const char *key_authorization,
                        struct err **err)
{
    struct token *t = map_get(l->tokens, token);

    /* Tokens are random; a second CA that repeats one would make us vouch for the wrong account. */
    if (t && strcmp(t->key_authorization, key_authorization) != 0)
        return err_set(err, ERR_REFUSED, "the CA uses a token that is in use for another account");
    if (!open_listener(l, err))
        return false;
    if (!t) {
        t = xcalloc(1, sizeof(*t));
        t->key_authorization = xstrdup(key_authorization);
        map_set(l->tokens, token, t);
    }
    t->uses++;
    return true;
}

void token_listener_remove(struct token_listener *l, const char *token)
{
    struct token *t = map_get(l->tokens, token);

    if (!t || --t->uses > 0)
        return;
    token_free(map_remove(l->tokens, token));
    if (map_count(l->tokens) == 0 && l->n_sockets == 0)
        close_listener(l);
}

bool token_listener_is_open(const struct token_listener *l)
{
    return l->httpd != NULL;
}

/* A socket that systemd holds where we should listen is ours under any name (without
 * FileDescriptorName= it is the unit's); else those named for us are. */
static void take_activated(struct token_listener *l, const char *solver_name)
{
    l->n_sockets = httpd_activated_at(&l->listen, l->sockets, SOCKETS_MAX);
    if (l->n_sockets == 0)
        l->n_sockets = httpd_activated("http", l->sockets, SOCKETS_MAX);
    if (l->n_sockets == 0)
        l->n_sockets = httpd_activated(solver_name, l->sockets, SOCKETS_MAX);
}

struct token_listener *token_listener_new(struct loop *loop, const char *solver_name,
                                          const struct strv *listen, struct err **err)
{
    struct token_listener *l = xcalloc(1, sizeof(*l));

    l->loop = loop;
    l->tokens = map_new();
    strv_copy(&l->listen, listen);
    if (l->listen.n == 0)
        strv_add(&l->listen, ":80");
    take_activated(l, solver_name);
    if (l->n_sockets > 0 && !open_listener(l, err)) {
        token_listener_free(l);
        return NULL;
    }
    return l;
}

void token_listener_free(struct token_listener *l)
{
    if (!l)
        return;
    close_listener(l);
    map_free(l->tokens, token_free);
    strv_done(&l->listen);
    free(l);
}
