/* Redis and Valkey: CONFIG SET of certificate and key in one command, to the paths that they have:
 * that is what makes it read the files again. A pair that it does not like is refused, and the old
 * one stays. Older than 7, it takes one of the two at a time and fails between them. */
#include <stddef.h>
#include <string.h>

#include "hooks/dialogue.h"
#include "hooks/job.h"
#include "hooks/resp.h"

#define REPLY_MAX   65536
#define COMMAND_MAX 131072

enum redis_reload { REDIS_AUTO, REDIS_SOCKET, REDIS_OFF };

struct redis {
    char *socket;
    char *user; /* or NULL */
    struct secret *password;
    int reload;
};

struct task {
    struct hook_job *job;
    struct loop *loop;
    char *socket, *user;
    struct secret *password;
    int64_t timeout_ms;
    struct dialogue *dialogue;
    bool is_set; /* the second command, CONFIG SET, is under way */
    size_t n_replies;
};

static const char *const reload_names[] = {
    [REDIS_AUTO] = "auto", [REDIS_SOCKET] = "socket", [REDIS_OFF] = "off", NULL};

static const struct field fields[] = {
    {.name = "socket",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct redis, socket),
     .preset = "/run/redis/redis-server.sock",
     .parse = dialogue_parse_address,
     .done = dialogue_done_address,
     .kind = "a path, or ADDRESS:PORT",
     .help = "where it takes commands without TLS"},
    {.name = "user",
     .type = FIELD_STRING,
     .offset = offsetof(struct redis, user),
     .help = "for an ACL; it needs +config|get and +config|set"},
    {.name = "password",
     .type = FIELD_SECRET,
     .offset = offsetof(struct redis, password),
     .help = "`{file: PATH}`, `{env: NAME}` or `{credential: NAME}`"},
    {.name = "reload",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct redis, reload),
     .choices = reload_names,
     .preset = "auto",
     .help = "auto: by the socket; off: somebody else reloads it"},
    {0},
};

static void check_settings(void *settings, const struct yaml_node *node, const char *path,
                           struct problems *problems)
{
    const struct redis *r = settings;

    if (r->user && !r->password)
        yaml_problem(problems, false, yaml_get(node, "user"), path, NULL,
                     "a user has a password, too");
}

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    dialogue_free(t->dialogue);
    secret_free(t->password);
    free(t->socket);
    free(t->user);
    free(t);
}

/* The last of the replies is the command's; one that is an error ends it. False: not whole. */
static bool last_reply(const struct task *t, const char *data, size_t len, struct resp *ret,
                       bool *ret_bad)
{
    *ret_bad = false;
    for (size_t i = 0; i < t->n_replies; i++) {
        long n = resp_parse(data, len, ret);
        if (n == 0)
            return false;
        *ret_bad = n < 0;
        if (n < 0 || ret->is_error)
            return true;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool is_whole(const char *reply, size_t len, void *userdata)
{
    struct resp r = {0};
    bool bad, whole = last_reply(userdata, reply, len, &r, &bad);

    resp_done(&r);
    return whole;
}

static void fail(struct task *t, const struct resp *r, bool bad)
{
    auto_err struct err *e = NULL;
    const char *text = r->items.n > 0 ? r->items.items[0] : "";

    if (bad) {
        err_set(&e, ERR_REFUSED, "what answers at %s is no Redis", t->socket);
    } else {
        err_set(&e, ERR_REFUSED, "Redis at %s: %s", t->socket, text);
        if (strncmp(text, "NOAUTH", 6) == 0)
            err_hint(&e, "give the password: {file: PATH}");
        if (strncmp(text, "NOPERM", 6) == 0)
            err_hint(&e, "the user needs +config|get and +config|set");
    }
    hook_end(t->job, RELOAD_FAILED, e);
}

static void on_reply(const char *reply, size_t len, const struct err *e, void *userdata);

static void add_text(struct buf *b, const char *text)
{
    resp_add_argument(b, text, strlen(text));
}

static void send_command(struct task *t, const char *const *words, size_t n)
{
    struct buf b;

    buf_init(&b, COMMAND_MAX);
    b.wipe = true;
    t->n_replies = 1;
    if (t->password) {
        t->n_replies++;
        resp_begin_command(&b, t->user ? 3 : 2);
        add_text(&b, "AUTH");
        if (t->user)
            add_text(&b, t->user);
        resp_add_argument(&b, t->password->data, t->password->len);
    }
    resp_begin_command(&b, n);
    for (size_t i = 0; i < n; i++)
        add_text(&b, words[i]);
    struct dialogue_spec spec = {.address = t->socket,
                                 .request = b.data,
                                 .request_len = b.len,
                                 .reply_max = REPLY_MAX,
                                 .timeout_ms = t->timeout_ms,
                                 .is_whole = is_whole};
    t->dialogue = dialogue_start(t->loop, &spec, on_reply, t);
    buf_done(&b);
}

static const char *value_of(const struct resp *r, const char *name)
{
    for (size_t i = 0; i + 1 < r->items.n; i += 2) {
        if (strcmp(r->items.items[i], name) == 0)
            return r->items.items[i + 1];
    }
    return "";
}

static void send_set(struct task *t, const struct resp *r)
{
    const char *cert = value_of(r, "tls-cert-file"), *key = value_of(r, "tls-key-file");
    const char *const words[] = {"CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key};
    auto_err struct err *e = NULL;

    if (*cert && *key) {
        t->is_set = true;
        send_command(t, words, ARRAY_LEN(words));
        return;
    }
    err_set(&e, ERR_REFUSED, "Redis at %s has no tls-cert-file and tls-key-file", t->socket);
    err_hint(&e, "set them in its configuration and restart it once");
    hook_end(t->job, RELOAD_FAILED, e);
}

static void on_reply(const char *reply, size_t len, const struct err *e, void *userdata)
{
    struct task *t = userdata;
    struct resp r = {0};
    bool bad = false;

    t->dialogue = NULL;
    if (e) {
        bool absent = dialogue_is_absent(e) && !t->is_set;
        hook_end(t->job, absent ? RELOAD_NOT_RUNNING : RELOAD_FAILED, absent ? NULL : e);
        return;
    }
    (void)last_reply(t, reply, len, &r, &bad);
    if (bad || r.is_error)
        fail(t, &r, bad);
    else if (!t->is_set)
        send_set(t, &r);
    else if (r.items.n == 1 && strcmp(r.items.items[0], "OK") == 0)
        hook_end(t->job, RELOAD_DONE, NULL);
    else
        fail(t, &r, false);
    resp_done(&r);
}

static struct hook_job *redis_reload(const struct server *s, struct loop *l,
                                     const struct hook_event *event, reload_fn *fn, void *userdata)
{
    static const char *const words[] = {"CONFIG", "GET", "tls-*-file"};
    const struct redis *r = s->settings;

    (void)event;
    if (r->reload == REDIS_OFF)
        return hook_result(l, RELOAD_NOTHING, NULL, fn, userdata);

    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.loop = l,
                       .socket = xstrdup(r->socket),
                       .user = xstrdup(r->user),
                       .timeout_ms = s->timeout_s * 1000};
    if (r->password)
        t->password = secret_new(r->password->data, r->password->len);
    t->job = hook_task(l, t, task_drop, fn, userdata);
    send_command(t, words, ARRAY_LEN(words));
    return t->job;
}

extern const struct server_type server_type_redis;
const struct server_type server_type_redis = {
    .name = "redis",
    .help = "Redis and Valkey",
    .settings_size = sizeof(struct redis),
    .fields = fields,
    .check_settings = check_settings,
    .reload = redis_reload,
};
