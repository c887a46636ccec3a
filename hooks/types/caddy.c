/* Caddy: its running configuration is read from its admin API and loaded again, with the header
 * that makes it look at the files again although nothing changed. What is on disk as a Caddyfile
 * is not loaded: it may be half edited. A configuration that cannot be loaded is refused, and the
 * old one stays. */
#include <stddef.h>
#include <string.h>

#include "base/bus.h"
#include "hooks/dialogue.h"
#include "hooks/job.h"
#include "hooks/web.h"

#define CONFIG_MAX (16 * 1024 * 1024)
#define QUOTE_MAX  400

enum caddy_reload { CADDY_AUTO, CADDY_SYSTEMD, CADDY_SOCKET, CADDY_OFF };

struct caddy {
    char *admin;
    char *binary, *config, *unit;
    int reload;
};

struct task {
    struct hook_job *job;
    struct loop *loop;
    int64_t timeout_s;
    char *admin, *unit;
    bool is_auto;
    struct web *web; /* one of these */
    struct bus_job *bus;
};

static const char *const reload_names[] = {
    [CADDY_AUTO] = "auto",
    [CADDY_SYSTEMD] = "systemd",
    [CADDY_SOCKET] = "socket",
    [CADDY_OFF] = "off",
    NULL,
};

static const struct field fields[] = {
    {.name = "admin",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct caddy, admin),
     .preset = "localhost:2019",
     .parse = dialogue_parse_address,
     .done = dialogue_done_address,
     .kind = "ADDRESS:PORT or unix:/path",
     .help = "its admin endpoint"},
    {.name = "binary",
     .type = FIELD_PATH,
     .offset = offsetof(struct caddy, binary),
     .preset = "/usr/bin/caddy",
     .help = "the program, for its own check"},
    {.name = "config",
     .type = FIELD_PATH,
     .offset = offsetof(struct caddy, config),
     .help = "a Caddyfile or JSON file for its own check (`caddy validate`); default: no check"},
    {.name = "unit",
     .type = FIELD_STRING,
     .offset = offsetof(struct caddy, unit),
     .preset = "caddy.service",
     .help = "its systemd unit"},
    {.name = "reload",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct caddy, reload),
     .choices = reload_names,
     .preset = "auto",
     .help = "auto: by the admin endpoint, or by the systemd unit when nobody answers there; "
             "socket: by the admin endpoint; off: somebody else reloads it"},
    {0},
};

static bool caddy_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct caddy *c = s->settings;

    if (!c->config)
        return false;
    strv_add(ret_argv, c->binary);
    strv_add(ret_argv, "validate");
    strv_add(ret_argv, "--config");
    strv_add(ret_argv, c->config);
    return true;
}

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    web_free(t->web);
    bus_job_free(t->bus);
    free(t->admin);
    free(t->unit);
    free(t);
}

static void on_unit(enum bus_outcome outcome, const struct err *e, void *userdata)
{
    struct task *t = userdata;

    t->bus = NULL;
    if (outcome == BUS_DONE)
        hook_end(t->job, RELOAD_DONE, NULL);
    else if (t->is_auto && outcome == BUS_ABSENT)
        hook_end(t->job, RELOAD_NOT_RUNNING, NULL);
    else
        hook_end(t->job, e ? RELOAD_FAILED : RELOAD_NOT_RUNNING, e);
}

static void ask_unit(struct task *t)
{
    t->bus = bus_job_start(t->loop, BUS_RELOAD, t->unit, 0, t->timeout_s * 1000, on_unit, t);
}

/* True: it was answered, and well. */
static bool judge(struct task *t, const char *doing, const struct http_reply *reply,
                  const struct err *e)
{
    auto_err struct err *told = err_copy(e);

    t->web = NULL;
    if (reply && reply->status == 200)
        return true;
    if (reply) {
        int quoted = reply->body_len < QUOTE_MAX ? (int)reply->body_len : QUOTE_MAX;
        err_set(&told, ERR_REFUSED, "status %ld: %.*s", reply->status, quoted, reply->body);
        told->code = (int)reply->status;
    }
    if (!dialogue_is_absent(told)) {
        err_wrap(&told, "Caddy at %s, %s", t->admin, doing);
        hook_end(t->job, RELOAD_FAILED, told);
    } else if (t->is_auto && bus_is_likely()) {
        ask_unit(t);
    } else {
        hook_end(t->job, RELOAD_NOT_RUNNING, NULL);
    }
    return false;
}

static struct web *ask(struct task *t, const char *method, const char *path,
                       const char *const *headers, const struct http_reply *body, http_fn *fn)
{
    bool is_path = t->admin[0] == '/' || strncmp(t->admin, "unix:", 5) == 0;
    auto_free char *url =
        is_path ? xasprintf("%s%s:%s", t->admin[0] == '/' ? "unix:" : "", t->admin, path)
                : xasprintf("http://%s%s", t->admin, path);
    struct http_request request = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = body ? body->body : NULL,
        .body_len = body ? body->body_len : 0,
        .body_max = CONFIG_MAX,
        .timeout_ms = t->timeout_s * 1000,
    };

    return web_start(t->loop, &request, fn, t);
}

static void on_loaded(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct task *t = userdata;

    if (judge(t, "loading its configuration again", reply, e))
        hook_end(t->job, RELOAD_DONE, NULL);
}

static void on_config(const struct http_reply *reply, const struct err *e, void *userdata)
{
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Cache-Control: must-revalidate", NULL};
    struct task *t = userdata;
    auto_err struct err *told = NULL;

    if (!judge(t, "reading its configuration", reply, e))
        return;
    if (reply->body[0] == '{') {
        t->web = ask(t, "POST", "/load", headers, reply, on_loaded);
        return;
    }
    err_set(&told, ERR_REFUSED, "Caddy at %s runs without a configuration", t->admin);
    hook_end(t->job, RELOAD_FAILED, told);
}

static struct hook_job *caddy_reload(const struct server *s, struct loop *l,
                                     const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct caddy *c = s->settings;

    (void)event;
    if (c->reload == CADDY_OFF)
        return hook_result(l, RELOAD_NOTHING, NULL, fn, userdata);

    struct task *t = xcalloc(1, sizeof(*t));
    *t = (struct task){.loop = l,
                       .timeout_s = s->timeout_s,
                       .admin = xstrdup(c->admin),
                       .unit = xstrdup(c->unit),
                       .is_auto = c->reload == CADDY_AUTO};
    t->job = hook_task(l, t, task_drop, fn, userdata);
    if (c->reload == CADDY_SYSTEMD)
        ask_unit(t);
    else
        t->web = ask(t, "GET", "/config/", NULL, NULL, on_config);
    return t->job;
}

extern const struct server_type server_type_caddy;
const struct server_type server_type_caddy = {
    .name = "caddy",
    .help = "Caddy, with certificate files",
    .default_prove = "127.0.0.1:443",
    .settings_size = sizeof(struct caddy),
    .fields = fields,
    .check_argv = caddy_check_argv,
    .reload = caddy_reload,
};
