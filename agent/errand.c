#include "agent/errand.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "agent/claim.h"
#include "agent/control.h"
#include "agent/progress.h"
#include "agent/trace_export.h"
#include "base/log.h"

#define PATIENCE_MS 30000 /* with another process that has the state */
#define STOP_S      4

struct errand {
    const struct cmd_options *options;
    const struct errand_type *type;
    void *userdata;
    struct config *config;
    struct progress *progress;
    json_t *document; /* the answer, once it is known */
    /* Without an agent */
    struct loop *loop;
    struct claim *claim;
    struct manager *manager;
    bool begun;
};

/* The answer ----------------------------------------------------------------------------------- */

static int print_document(const struct errand *e)
{
    int64_t status = json_int(e->document, "exit");
    auto_err struct err *error = err_from_json(json_get(e->document, "error"));

    if (e->options->json) {
        auto_free char *text = json_text(e->document);
        fputs(text, stdout);
    } else {
        e->type->print(e->document, e->userdata);
        if (error)
            cmd_report(error);
    }
    return status >= EXIT_DONE && status <= EXIT_UNKNOWN ? (int)status : EXIT_UNKNOWN;
}

static void set_failure(struct errand *e, const struct err *why, const char *by, int status)
{
    json_decref(e->document);
    e->document = e->type->failure(why, by, status);
}

void errand_answer(struct errand *e, const json_t *document)
{
    e->begun = false;
    e->document = json_deep_copy(document);
    loop_exit(e->loop, 0);
}

/* Through the agent ---------------------------------------------------------------------------- */

/* False: there is none. Else the document is set. */
static bool ask_agent(struct errand *e)
{
    auto_json json_t *request = e->type->request(e->userdata);
    auto_err struct err *why = NULL;

    e->document = control_call(e->config->control, request, progress_note, e->progress, &why);
    if (e->document)
        return true;
    if (why->code == ENOENT || why->code == ENOTDIR || why->code == ECONNREFUSED)
        return false;
    set_failure(e, why, "agent",
                why->kind == ERR_CONFIG ? EXIT_USAGE
                : why->code == EINTR    ? EXIT_TROUBLE
                                        : EXIT_UNKNOWN);
    return true;
}

/* In this process ------------------------------------------------------------------------------ */

static bool look_for_agent(const struct err *why, void *userdata)
{
    struct errand *e = userdata;

    (void)why;
    if (!ask_agent(e))
        return false;
    e->claim = NULL;
    loop_exit(e->loop, 0);
    return true;
}

static void on_claimed(struct manager *m, const struct err *why, void *userdata)
{
    struct errand *e = userdata;
    auto_err struct err *refusal = err_copy(why);

    e->claim = NULL;
    e->manager = m;
    if (m)
        e->begun = e->type->begin(e, m, e->userdata, &refusal);
    if (e->begun)
        return;
    set_failure(e, refusal, "self", refusal->kind == ERR_CONFIG ? EXIT_USAGE : EXIT_UNKNOWN);
    loop_exit(e->loop, 0);
}

static void on_signal(int signo, void *userdata)
{
    struct errand *e = userdata;
    auto_err struct err *why = NULL;

    (void)signo;
    err_set(&why, ERR_SYSTEM, "interrupted");
    err_hint(&why, "what was begun is on disk: the next renew, or the agent, goes on with it");
    if (!e->document && e->begun)
        e->document = e->type->so_far(why, e->userdata);
    else if (!e->document)
        set_failure(e, why, "self", EXIT_TROUBLE);
    loop_exit(e->loop, 0);
}

/* Everything that matters is on disk at any instant. */
static void on_stop_late(int signo)
{
    (void)signo;
    _exit(EXIT_TROUBLE);
}

/* Under systemd's timer logs go where those of the agent would; by hand they are for a reader, and
 * only what no result says. */
static void init_log(const struct errand *e)
{
    enum log_format format = e->config->log_format;

    if (format == LOG_FORMAT_AUTO && !getenv("JOURNAL_STREAM"))
        format = LOG_FORMAT_TEXT;
    log_init(format, e->options->verbose        ? LOG_LEVEL_DEBUG
                     : getenv("JOURNAL_STREAM") ? e->config->log_level
                                                : LOG_LEVEL_WARNING);
}

static bool open_loop(struct errand *e, struct err **err)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGPIPE, &ignore, NULL);
    e->loop = loop_new(err);
    return e->loop && loop_on_signal(e->loop, SIGINT, on_signal, e, err) &&
           loop_on_signal(e->loop, SIGTERM, on_signal, e, err);
}

static void work_here(struct errand *e)
{
    struct sigaction late = {.sa_handler = on_stop_late};
    auto_err struct err *why = NULL;

    if (!open_loop(e, &why)) {
        set_failure(e, why, "self", EXIT_UNKNOWN);
        return;
    }
    e->claim = claim_start(&(struct claim_settings){
        .manager = {.loop = e->loop,
                    .config = e->config,
                    .activity = progress_note,
                    .userdata = e->progress},
        .patience_ms = PATIENCE_MS,
        .look = look_for_agent,
        .done = on_claimed,
        .userdata = e,
    });
    (void)loop_run(e->loop);
    if (e->manager && e->type->after)
        e->type->after(e->manager, e->userdata);
    if (e->manager)
        trace_export_flush(manager_services(e->manager)->traces);
    sigaction(SIGALRM, &late, NULL);
}

static void work(struct errand *e)
{
    auto_err struct err *why = NULL;

    e->config = cmd_view_config(e->options);
    if (!e->config) {
        err_set(&why, ERR_CONFIG, "the configuration has errors");
        err_hint(&why, "everleaf check shows them");
        set_failure(e, why, "self", EXIT_USAGE);
        return;
    }
    if (e->type->check && !e->type->check(e->config, e->userdata, &why)) {
        set_failure(e, why, "self", EXIT_USAGE);
        return;
    }
    cmd_protect();
    init_log(e);
    e->progress = progress_new();
    if (!ask_agent(e))
        work_here(e);
    progress_free(e->progress);
    e->progress = NULL;
}

static void errand_done(struct errand *e)
{
    if (e->loop)
        alarm(STOP_S); /* a key that is being made cannot be stopped: it is left behind */
    claim_free(e->claim);
    if (e->begun)
        e->type->stop(e->userdata);
    manager_free(e->manager);
    config_unref(e->config);
    loop_free(e->loop);
    alarm(0);
    json_decref(e->document);
}

/* Public --------------------------------------------------------------------------------------- */

int errand_refuse(const struct cmd_options *options, const struct errand_type *type, void *userdata,
                  const struct err *e)
{
    struct errand errand = {.options = options, .type = type, .userdata = userdata};

    set_failure(&errand, e, "self", EXIT_USAGE);
    int status = print_document(&errand);
    errand_done(&errand);
    return status;
}

int errand_run(const struct cmd_options *options, const struct errand_type *type, void *userdata)
{
    struct errand e = {.options = options, .type = type, .userdata = userdata};

    work(&e);
    int status = print_document(&e);
    fflush(stdout);
    errand_done(&e);
    return status;
}
