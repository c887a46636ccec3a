/* http-01 (RFC 8555 8.3): the key authorisation at http://NAME/.well-known/acme-challenge/TOKEN,
 * from a listener of our own or from another server's document root. */
#include <string.h>
#include <sys/stat.h>

#include "acme/challenge.h"
#include "acme/token_listener.h"
#include "acme/token_webroot.h"
#include "base/httpd.h"

struct http_01_settings {
    struct strv listen;
    char *webroot;
};

static const struct field fields[] = {
    {"listen", FIELD_STRINGS, offsetof(struct http_01_settings, listen),
     .help = "where to answer the CA: \":port\" (IPv4 and IPv6), \"host:port\", \"[v6]:port\", "
             "\"unix:/path\", or a list; \":80\" without `webroot`; open only while a challenge is "
             "pending"},
    {"webroot", FIELD_PATH, offsetof(struct http_01_settings, webroot),
     .help = "document root of the server that has port 80; tokens are put into "
             ".well-known/acme-challenge/ in it"},
    {0},
};

struct http_01 {
    struct token_listener *listener; /* one of these */
    struct token_webroot *webroot;
};

struct present {
    struct http_01 *http_01;
    char *token; /* at the listener */
    bool added;
    struct token_file *file; /* in the webroot */
    struct timer *turn;
    struct err *err;
    present_fn *fn;
    void *userdata;
};

/* Settings ------------------------------------------------------------------------------------- */

static void check_listen(const struct http_01_settings *settings, const struct yaml_node *node,
                         const char *path, struct problems *problems)
{
    const struct yaml_node *at = node ? yaml_get(node, "listen") : NULL;
    auto_free char *where = xasprintf("%s.listen", path);

    for (size_t i = 0; at && i < settings->listen.n; i++) {
        auto_err struct err *e = NULL;
        const struct yaml_node *item = yaml_node_type(at) == YAML_LIST ? yaml_item(at, i) : at;

        if (!httpd_listen_check(settings->listen.items[i], &e))
            yaml_problem(problems, false, item, where, NULL, "%s", e->text);
    }
}

static void check_settings(void *to, const struct yaml_node *node, const char *path,
                           struct problems *problems)
{
    const struct http_01_settings *settings = to;
    struct stat st;

    check_listen(settings, node, path, problems);
    if (!settings->webroot)
        return;
    const struct yaml_node *at = node ? yaml_get(node, "webroot") : NULL;
    auto_free char *where = xasprintf("%s.webroot", path);

    if (settings->listen.n > 0)
        yaml_problem(
            problems, false, at ? at : node, where, NULL,
            "`listen` and `webroot` exclude each other: either we answer the CA or the server "
            "whose document root it is");
    /* Only a warning: it may be mounted later, and everything else must run without it. */
    else if (at && (stat(settings->webroot, &st) != 0 || !S_ISDIR(st.st_mode)))
        yaml_problem(problems, true, at, where, NULL, "%s is no directory (yet)",
                     settings->webroot);
}

/* Life of a solver ----------------------------------------------------------------------------- */

static bool http_01_open(struct solver *s, struct err **err)
{
    const struct http_01_settings *settings = s->settings;
    struct http_01 *h = xcalloc(1, sizeof(*h));

    if (settings->webroot) {
        h->webroot = token_webroot_new(s->worker, settings->webroot);
    } else {
        h->listener = token_listener_new(s->loop, s->name, &settings->listen, err);
        if (!h->listener) {
            free(h);
            return false;
        }
    }
    s->state = h;
    return true;
}

static void http_01_close(struct solver *s)
{
    struct http_01 *h = s->state;

    token_listener_free(h->listener);
    token_webroot_free(h->webroot);
    free(h);
    s->state = NULL;
}

/* Tokens --------------------------------------------------------------------------------------- */

static void on_turn(void *userdata)
{
    struct present *p = userdata;

    p->fn(p->err, p->userdata);
}

static void on_file(const struct err *e, void *userdata)
{
    struct present *p = userdata;

    p->fn(e, p->userdata);
}

static struct present *http_01_present(struct solver *s, const char *identifier, const char *token,
                                       const char *key_authorization, present_fn *fn,
                                       void *userdata)
{
    struct present *p = xcalloc(1, sizeof(*p));

    (void)identifier; /* tokens are unguessable: one name space serves all names (RFC 8555 8.3) */
    p->http_01 = s->state;
    p->token = xstrdup(token);
    p->fn = fn;
    p->userdata = userdata;
    if (p->http_01->webroot) {
        p->file = token_file_start(p->http_01->webroot, token, key_authorization, on_file, p);
    } else {
        p->added = token_listener_add(p->http_01->listener, token, key_authorization, &p->err);
        p->turn = timer_after(s->loop, 0, on_turn, p);
    }
    return p;
}

static void http_01_withdraw(struct present *p)
{
    if (!p)
        return;
    if (p->added)
        token_listener_remove(p->http_01->listener, p->token);
    token_file_free(p->file);
    timer_free(p->turn);
    err_free(p->err);
    free(p->token);
    free(p);
}

extern const struct challenge_type challenge_type_http_01;
const struct challenge_type challenge_type_http_01 = {
    .name = "http_01",
    .acme = "http-01",
    .help = "a file on port 80 of every name; no wildcards",
    .settings_size = sizeof(struct http_01_settings),
    .fields = fields,
    .wildcards = false,
    .addresses = true,
    .check = check_settings,
    .open = http_01_open,
    .close = http_01_close,
    .present = http_01_present,
    .withdraw = http_01_withdraw,
};
