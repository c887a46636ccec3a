/* HAProxy: `haproxy -c`, then, with a `socket`, the certificates are replaced in its memory
 * (hooks/haproxy_api.h); or it is reloaded: by its unit, its master's socket, or SIGUSR2 to the
 * master. It wants key, certificate and chain in one PEM file (`type: combined`). */
#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "hooks/daemon.h"
#include "hooks/dialogue.h"
#include "hooks/haproxy_api.h"

#define REPLY_MAX 65536
#define QUOTE_MAX 800

struct haproxy {
    struct daemon daemon;
    char *socket, *master_socket; /* or NULL */
};

struct task {
    struct hook_job *job;
    struct loop *loop;
    char *socket, *master_socket;
    struct server server; /* what the steps need of it */
    struct daemon daemon;
    int64_t timeout_ms;
    struct haproxy_api *api; /* one of these */
    struct dialogue *master;
    struct hook_job *reload;
    struct err *is_new; /* the socket answered, but a reload is needed */
};

static const struct field fields[] = {
    DAEMON_BINARY("/usr/sbin/haproxy"),
    DAEMON_CONFIG("/etc/haproxy/haproxy.cfg"),
    DAEMON_PID_FILE("/run/haproxy.pid"),
    DAEMON_UNIT("haproxy.service"),
    {.name = "socket",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct haproxy, socket),
     .parse = dialogue_parse_address,
     .done = dialogue_done_address,
     .kind = "a path, or ADDRESS:PORT",
     .help =
         "the stats socket with `level admin`; then certificates are replaced without a reload"},
    {.name = "master_socket",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct haproxy, master_socket),
     .parse = dialogue_parse_address,
     .done = dialogue_done_address,
     .kind = "a path, or ADDRESS:PORT",
     .help = "the master's socket (`haproxy -S`); then reloads go through it, and since 2.7 their "
             "result is known"},
    DAEMON_RELOAD(daemon_socket_reload_names,
                  "auto: by the socket, or else, and for files that are new to it, by the master's "
                  "socket, the systemd unit where that is what runs, or a signal to the master; "
                  "socket: by nothing but the socket; off: somebody else reloads it"),
    {0},
};

static void check_settings(void *settings, const struct yaml_node *node, const char *path,
                           struct problems *problems)
{
    const struct haproxy *h = settings;

    if (h->daemon.reload == DAEMON_SOCKET && !h->socket)
        yaml_problem(problems, false, yaml_get(node, "reload"), path, NULL,
                     "reload by socket needs the socket: /run/haproxy/admin.sock");
}

static bool haproxy_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct haproxy *h = s->settings;

    if (!daemon_may_check(&h->daemon))
        return false;
    strv_add(ret_argv, h->daemon.binary);
    strv_add(ret_argv, "-c");
    strv_add(ret_argv, "-f");
    strv_add(ret_argv, h->daemon.config);
    return true;
}

/* Reload --------------------------------------------------------------------------------------- */

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    haproxy_api_free(t->api);
    dialogue_free(t->master);
    hook_job_free(t->reload);
    free(t->socket);
    free(t->master_socket);
    free(t->daemon.binary);
    free(t->daemon.pid_file);
    free(t->daemon.unit);
    err_free(t->is_new);
    free(t);
}

static void end(struct task *t, enum reload_result result, const struct err *e)
{
    if (t->is_new && result == RELOAD_NOT_RUNNING) /* it does run */
        hook_end(t->job, RELOAD_FAILED, t->is_new);
    else
        hook_end(t->job, result, e);
}

static void on_reloaded(enum reload_result result, const struct err *e, void *userdata)
{
    struct task *t = userdata;

    t->reload = NULL;
    end(t, result, e);
}

static void ask_reload(struct task *t)
{
    const struct daemon_way way = {.signo = SIGUSR2};

    t->reload = daemon_reload(&t->server, &t->daemon, &way, t->loop, on_reloaded, t);
}

/* Since 2.7 "Success=0" or "Success=1" and what was logged; before that nothing, and the proof has
 * to tell. */
static void on_master(const char *reply, size_t len, const struct err *e, void *userdata)
{
    struct task *t = userdata;
    auto_err struct err *told = NULL;

    t->master = NULL;
    if (dialogue_is_absent(e)) {
        ask_reload(t);
        return;
    }
    if (e || len == 0 || strncmp(reply, "Success=1\n", 10) == 0) {
        end(t, e ? RELOAD_FAILED : RELOAD_DONE, e);
        return;
    }
    int quoted = len < QUOTE_MAX ? (int)len : QUOTE_MAX;
    err_set(&told, ERR_REFUSED, "HAProxy's master at %s did not reload: \"%.*s\"", t->master_socket,
            quoted, reply);
    end(t, RELOAD_FAILED, told);
}

static void ask_master(struct task *t)
{
    static const char request[] = "reload\n";
    struct dialogue_spec spec = {.address = t->master_socket,
                                 .request = request,
                                 .request_len = strlen(request),
                                 .reply_max = REPLY_MAX,
                                 .timeout_ms = t->timeout_ms};

    t->master = dialogue_start(t->loop, &spec, on_master, t);
}

static void ask_next(struct task *t)
{
    if (t->master_socket && t->daemon.reload == DAEMON_AUTO)
        ask_master(t);
    else
        ask_reload(t);
}

static void on_api(enum haproxy_api_result result, const struct err *e, void *userdata)
{
    struct task *t = userdata;
    bool alone = t->daemon.reload == DAEMON_SOCKET;

    t->api = NULL;
    if (result == HAPROXY_API_DONE) {
        end(t, RELOAD_DONE, NULL);
    } else if (result == HAPROXY_API_FAILED || (alone && result == HAPROXY_API_NEW)) {
        end(t, RELOAD_FAILED, e);
    } else if (alone) {
        end(t, RELOAD_NOT_RUNNING, NULL);
    } else {
        t->is_new = result == HAPROXY_API_NEW ? err_copy(e) : NULL;
        ask_next(t);
    }
}

static struct hook_job *haproxy_reload(const struct server *s, struct loop *l,
                                       const struct hook_event *event, reload_fn *fn,
                                       void *userdata)
{
    const struct haproxy *h = s->settings;
    int way = h->daemon.reload;

    if (way == DAEMON_OFF)
        return hook_result(l, RELOAD_NOTHING, NULL, fn, userdata);

    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.loop = l,
                       .socket = xstrdup(h->socket),
                       .master_socket = xstrdup(h->master_socket),
                       .server.timeout_s = s->timeout_s,
                       .timeout_ms = s->timeout_s * 1000};
    t->daemon = (struct daemon){.binary = xstrdup(h->daemon.binary),
                                .pid_file = xstrdup(h->daemon.pid_file),
                                .unit = xstrdup(h->daemon.unit),
                                .reload = way};
    t->job = hook_task(l, t, task_drop, fn, userdata);
    if (t->socket && event->n_batch > 0 && (way == DAEMON_AUTO || way == DAEMON_SOCKET))
        t->api = haproxy_api_start(l, t->socket, event, t->timeout_ms, on_api, t);
    else
        ask_next(t);
    return t->job;
}

extern const struct server_type server_type_haproxy;
const struct server_type server_type_haproxy = {
    .name = "haproxy",
    .help = "HAProxy",
    .default_prove = "127.0.0.1:443",
    .settings_size = sizeof(struct haproxy),
    .fields = fields,
    .check_settings = check_settings,
    .check_argv = haproxy_check_argv,
    .reload = haproxy_reload,
};
