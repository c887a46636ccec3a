/* The URL of a webhook is often a secret: no error and no log line has more of it than the host. */
#include "agent/alert_send.h"

#include <string.h>

#include "base/proc.h"

#define REPLY_MAX  (64 * 1024)
#define OUTPUT_MAX (16 * 1024)

struct alert_send {
    char *program;
    struct http_call *call;
    struct proc *proc;
    struct timer *turn;
    struct err *failure; /* to start */
    alert_send_fn *fn;
    void *userdata;
};

void alert_send_free(struct alert_send *s)
{
    if (!s)
        return;
    http_call_free(s->call);
    proc_free(s->proc);
    timer_free(s->turn);
    err_free(s->failure);
    free(s->program);
    free(s);
}

static void finish(struct alert_send *s, const struct err *e)
{
    alert_send_fn *fn = s->fn;
    void *userdata = s->userdata;
    auto_err struct err *copy = err_copy(e);

    alert_send_free(s);
    fn(copy, userdata);
}

static void on_reply(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct alert_send *s = userdata;
    auto_err struct err *failure = err_copy(e);

    s->call = NULL;
    if (reply && (reply->status < 200 || reply->status > 299))
        err_set(&failure, ERR_REFUSED, "the webhook answered with HTTP %ld", reply->status);
    finish(s, failure);
}

static void on_exit_of(const struct proc_result *result, void *userdata)
{
    struct alert_send *s = userdata;
    auto_err struct err *failure = NULL;

    s->proc = NULL;
    (void)!proc_result_ok(result, s->program, &failure);
    finish(s, failure);
}

static void on_failure(void *userdata)
{
    struct alert_send *s = userdata;

    finish(s, s->failure);
}

static void post(struct alert_send *s, const struct services *services,
                 const struct config_alerts *config, const char *json)
{
    auto_buf struct buf bearer;
    const char *headers[] = {"Content-Type: application/json", NULL, NULL};

    buf_init(&bearer, SIZE_MAX);
    bearer.wipe = true;
    if (config->bearer) {
        buf_addf(&bearer, "Authorization: Bearer %s", (const char *)config->bearer->data);
        headers[1] = bearer.data;
    }
    s->call = http_start(services->http,
                         &(struct http_request){
                             .method = "POST",
                             .url = (const char *)config->url->data,
                             .headers = headers,
                             .body = json,
                             .body_len = strlen(json),
                             .body_max = REPLY_MAX,
                             .timeout_ms = config->timeout_s * 1000,
                             .allow_http = true,
                         },
                         on_reply, s);
}

static void run(struct alert_send *s, const struct services *services,
                const struct config_alerts *config, const struct alert_message *message,
                const char *json)
{
    auto_free char *text = alert_message_text(message);
    auto_free char *text_variable = xasprintf("EVERLEAF_ALERT_TEXT=%s", text);
    auto_free char *status = xasprintf("EVERLEAF_ALERT_STATUS=%s",
                                       alert_message_is_firing(message) ? "firing" : "resolved");
    const char *env[] = {"PATH=" PROC_PATH, status, text_variable, NULL};

    s->program = xstrdup(config->command.items[0]);
    s->proc = proc_start(services->loop,
                         &(struct proc_spec){
                             .argv = (const char *const *)config->command.items,
                             .env = env,
                             .input = json,
                             .timeout_ms = config->timeout_s * 1000,
                             .output_max = OUTPUT_MAX,
                         },
                         on_exit_of, s, &s->failure);
    if (!s->proc)
        s->turn = timer_after(services->loop, 0, on_failure, s);
}

struct alert_send *alert_send_start(const struct services *services,
                                    const struct config_alerts *config,
                                    const struct alert_message *message, alert_send_fn *fn,
                                    void *userdata)
{
    struct alert_send *s = xcalloc(1, sizeof *s);
    auto_free char *json = alert_message_json(message);

    s->fn = fn;
    s->userdata = userdata;
    if (config->url)
        post(s, services, config, json);
    else
        run(s, services, config, message, json);
    return s;
}
