/* A request to a UNIX socket, and what the answer must hold. */
#include <stddef.h>
#include <string.h>

#include "hooks/dialogue.h"
#include "hooks/job.h"

#define REPLY_MAX 65536

struct unix_socket {
    char *path;
    char *send;
    char *expect; /* or NULL */
};

struct task {
    struct hook_job *job;
    struct dialogue *exchange;
    char *expect;
};

static const struct field fields[] = {
    {.name = "path",
     .type = FIELD_PATH,
     .offset = offsetof(struct unix_socket, path),
     .required = true,
     .help = "the socket, a stream"},
    {.name = "send",
     .type = FIELD_STRING,
     .offset = offsetof(struct unix_socket, send),
     .required = true,
     .help = "what is sent; in double quotes \"\\n\" ends a line"},
    {.name = "expect",
     .type = FIELD_STRING,
     .offset = offsetof(struct unix_socket, expect),
     .help = "what the answer must hold to be good; without it, to have sent is enough"},
    {0},
};

static bool is_whole(const char *reply, size_t len, void *userdata)
{
    const struct task *t = userdata;

    return memmem(reply, len, t->expect, strlen(t->expect));
}

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    dialogue_free(t->exchange);
    free(t->expect);
    free(t);
}

static void on_reply(const char *reply, size_t len, const struct err *e, void *userdata)
{
    struct task *t = userdata;

    (void)reply, (void)len;
    t->exchange = NULL;
    if (dialogue_is_absent(e)) {
        hook_end(t->job, RELOAD_NOT_RUNNING, NULL);
        return;
    }
    struct err *told = err_copy(e);
    if (told && t->expect)
        err_wrap(&told, "waiting for \"%s\"", t->expect);
    hook_end(t->job, told ? RELOAD_FAILED : RELOAD_DONE, told);
    err_free(told);
}

static struct hook_job *unix_socket_reload(const struct server *s, struct loop *l,
                                           const struct hook_event *event, reload_fn *fn,
                                           void *userdata)
{
    const struct unix_socket *settings = s->settings;
    struct task *t = xcalloc(1, sizeof(*t));

    (void)event;
    t->expect = xstrdup(settings->expect);
    struct dialogue_spec spec = {
        .address = settings->path,
        .request = settings->send,
        .request_len = strlen(settings->send),
        .reply_max = REPLY_MAX,
        .timeout_ms = s->timeout_s * 1000,
        .is_whole = settings->expect ? is_whole : NULL,
        .no_reply = !settings->expect,
    };
    t->job = hook_task(l, t, task_drop, fn, userdata);
    t->exchange = dialogue_start(l, &spec, on_reply, t);
    return t->job;
}

extern const struct server_type server_type_unix_socket;
const struct server_type server_type_unix_socket = {
    .name = "unix-socket",
    .help = "any server that reloads by a word to its socket",
    .settings_size = sizeof(struct unix_socket),
    .fields = fields,
    .reload = unix_socket_reload,
};
