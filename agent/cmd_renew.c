/* The running agent is asked first; without one this process does the work. Between the two there
 * is no gap: while another process has the state, both are tried in turn. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/claim.h"
#include "agent/cmd.h"
#include "agent/control.h"
#include "agent/progress.h"
#include "agent/renew.h"
#include "agent/textfile.h"
#include "base/clock.h"
#include "base/log.h"

#define PATIENCE_MS 30000 /* with another process that has the state */
#define STOP_S      4

struct job {
    const struct cmd_options *options;
    struct config *config;
    struct renew_options wanted;
    const char *metrics_file; /* --metrics-file, or NULL */
    struct progress *progress;
    json_t *document; /* the answer, once it is known */
    /* Without an agent */
    struct loop *loop;
    struct claim *claim;
    struct manager *manager;
    struct renew *renew;
};

/* Results -------------------------------------------------------------------------------------- */

static void print_error(const json_t *result)
{
    auto_err struct err *e = err_from_json(json_get(result, "error"));

    if (e)
        printf(": %s\n", e->text);
    else
        printf("\n");
    if (e && e->hint)
        printf("  hint: %s\n", e->hint);
}

static void print_renewed(const json_t *result)
{
    const json_t *cert = json_get(result, "new");
    char end[CLOCK_TEXT_MAX];

    printf("renewed, valid until %s, serial %s, %s",
           clock_rfc3339(json_time(cert, "not_after"), end),
           json_str(cert, "serial") ? json_str(cert, "serial") : "?",
           json_bool(result, "proven") ? "proven" : "not proven");
    print_error(result);
}

static void print_result(const json_t *result)
{
    const char *what = json_str(result, "result");
    time_t next = json_time(result, "next_try");
    char at[CLOCK_TEXT_MAX] = "";

    if (next > 0)
        clock_rfc3339(next, at);
    printf("%s: ", json_str(result, "name"));
    if (strcmp(what, "renewed") == 0) {
        print_renewed(result);
    } else if (strcmp(what, "not-due") == 0) {
        printf("not due before %s", at);
        print_error(result);
    } else if (strcmp(what, "backoff") == 0) {
        printf("failed before, next try %s", at);
        print_error(result);
    } else if (strcmp(what, "failed") == 0 || strcmp(what, "rolled-back") == 0) {
        printf("%s", strcmp(what, "failed") == 0 ? "failed" : "rolled back");
        print_error(result);
        if (*at)
            printf("  next try: %s\n", at);
    } else {
        printf("%s\n", what);
    }
}

static int print_document(const struct job *j)
{
    int64_t status = json_int(j->document, "exit");
    const json_t *results = json_get(j->document, "results");
    auto_err struct err *e = err_from_json(json_get(j->document, "error"));

    if (j->options->json) {
        auto_free char *text = json_text(j->document);
        fputs(text, stdout);
    } else {
        for (size_t i = 0; i < json_array_size(results); i++) {
            const json_t *result = json_array_get(results, i);
            if (json_str(result, "name") && json_str(result, "result"))
                print_result(result);
        }
        if (e)
            cmd_report(e);
        else if (json_array_size(results) == 0)
            fprintf(stderr, "everleaf: no certificates are configured\n");
    }
    return status >= EXIT_DONE && status <= EXIT_UNKNOWN ? (int)status : EXIT_UNKNOWN;
}

static void set_failure(struct job *j, const struct err *e, const char *by, int status)
{
    json_decref(j->document);
    j->document = renew_failure(e, by, status);
}

/* Through the agent ---------------------------------------------------------------------------- */

/* False: there is none. Else the document is set. */
static bool ask_agent(struct job *j)
{
    auto_json json_t *request = json_object();
    auto_err struct err *e = NULL;

    json_put_str(request, "method", "renew");
    json_put_strv(request, "names", &j->wanted.names);
    json_put_bool(request, "force", j->wanted.force);
    json_put_bool(request, "due_only", j->wanted.due_only);
    json_put_bool(request, "wait", !j->wanted.no_wait);
    j->document = control_call(j->config->control, request, progress_note, j->progress, &e);
    if (j->document)
        return true;
    if (e->code == ENOENT || e->code == ENOTDIR || e->code == ECONNREFUSED)
        return false;
    set_failure(j, e, "agent",
                e->kind == ERR_CONFIG ? EXIT_USAGE
                : e->code == EINTR    ? EXIT_TROUBLE
                                      : EXIT_UNKNOWN);
    return true;
}

/* In this process ------------------------------------------------------------------------------ */

static bool look_for_agent(const struct err *e, void *userdata)
{
    struct job *j = userdata;

    (void)e;
    if (!ask_agent(j))
        return false;
    j->claim = NULL;
    loop_exit(j->loop, 0);
    return true;
}

static void on_renewed(const json_t *document, void *userdata)
{
    struct job *j = userdata;

    j->renew = NULL;
    j->document = json_deep_copy(document);
    loop_exit(j->loop, 0);
}

static void on_claimed(struct manager *m, const struct err *e, void *userdata)
{
    struct job *j = userdata;
    auto_err struct err *unknown = NULL;

    j->claim = NULL;
    j->manager = m;
    j->wanted.no_wait = false; /* nobody else would do it */
    if (m)
        j->renew = renew_start(m, &j->wanted, on_renewed, j, &unknown);
    if (j->renew)
        return;
    if (m)
        set_failure(j, unknown, "self", EXIT_USAGE);
    else
        set_failure(j, e, "self", e->kind == ERR_CONFIG ? EXIT_USAGE : EXIT_UNKNOWN);
    loop_exit(j->loop, 0);
}

static void on_signal(int signo, void *userdata)
{
    struct job *j = userdata;
    auto_err struct err *e = NULL;

    (void)signo;
    err_set(&e, ERR_SYSTEM, "interrupted");
    err_hint(&e, "what was begun is on disk: the next renew, or the agent, goes on with it");
    if (!j->document)
        j->document =
            j->renew ? renew_document(j->renew, e) : renew_failure(e, "self", EXIT_TROUBLE);
    loop_exit(j->loop, 0);
}

/* Everything that matters is on disk at any instant. */
static void on_stop_late(int signo)
{
    (void)signo;
    _exit(EXIT_TROUBLE);
}

/* Under systemd's timer logs go where those of the agent would; by hand they are for a reader, and
 * only what no result says. */
static void init_log(const struct job *j)
{
    enum log_format format = j->config->log_format;

    if (format == LOG_FORMAT_AUTO && !getenv("JOURNAL_STREAM"))
        format = LOG_FORMAT_TEXT;
    log_init(format, j->options->verbose        ? LOG_LEVEL_DEBUG
                     : getenv("JOURNAL_STREAM") ? j->config->log_level
                                                : LOG_LEVEL_WARNING);
}

static bool open_loop(struct job *j, struct err **err)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGPIPE, &ignore, NULL);
    j->loop = loop_new(err);
    return j->loop && loop_on_signal(j->loop, SIGINT, on_signal, j, err) &&
           loop_on_signal(j->loop, SIGTERM, on_signal, j, err);
}

/* The renewals are done, whether or not somebody can watch them. */
static void write_metrics(const struct job *j)
{
    const char *path = j->metrics_file ? j->metrics_file : j->config->metrics_file;
    auto_err struct err *e = NULL;

    if (j->manager && path && !textfile_write(j->manager, path, &e))
        log_failure(LOG_LEVEL_WARNING, e, "metrics not written");
}

static void renew_here(struct job *j)
{
    struct sigaction late = {.sa_handler = on_stop_late};
    auto_err struct err *e = NULL;

    if (!open_loop(j, &e)) {
        set_failure(j, e, "self", EXIT_UNKNOWN);
        return;
    }
    j->claim = claim_start(&(struct claim_settings){
        .manager = {.loop = j->loop,
                    .config = j->config,
                    .activity = progress_note,
                    .userdata = j->progress},
        .patience_ms = PATIENCE_MS,
        .look = look_for_agent,
        .done = on_claimed,
        .userdata = j,
    });
    (void)loop_run(j->loop);
    write_metrics(j);
    sigaction(SIGALRM, &late, NULL);
}

static void job_done(struct job *j)
{
    if (j->loop)
        alarm(STOP_S); /* a key that is being made cannot be stopped: it is left behind */
    claim_free(j->claim);
    renew_free(j->renew);
    manager_free(j->manager);
    config_unref(j->config);
    loop_free(j->loop);
    alarm(0);
    json_decref(j->document);
    strv_done(&j->wanted.names);
}

/* The verb ------------------------------------------------------------------------------------- */

static bool check_names(struct job *j)
{
    auto_err struct err *e = NULL;

    for (size_t i = 0; i < j->wanted.names.n; i++) {
        if (config_find(j->config, j->wanted.names.items[i]))
            continue;
        (void)cmd_unknown_certificate(j->config, j->wanted.names.items[i], &e);
        set_failure(j, e, "self", EXIT_USAGE);
        return false;
    }
    return true;
}

static void work(struct job *j)
{
    auto_err struct err *e = NULL;

    j->config = cmd_load_config(j->options);
    if (!j->config) {
        err_set(&e, ERR_CONFIG, "the configuration has errors");
        err_hint(&e, "everleaf check shows them");
        set_failure(j, e, "self", EXIT_USAGE);
        return;
    }
    if (!check_names(j))
        return;
    cmd_protect();
    init_log(j);
    j->progress = progress_new();
    if (!ask_agent(j))
        renew_here(j);
    progress_free(j->progress);
    j->progress = NULL;
}

static int run_renew(int argc, char **argv, struct cmd_options *options)
{
    bool due = false;
    struct job j = {.options = options, .wanted.by = "self"};
    const struct cmd_flag flags[] = {
        {"--force", &j.wanted.force, NULL},
        {"--due", &due, NULL},
        {"--no-wait", &j.wanted.no_wait, NULL},
        {"--metrics-file", NULL, &j.metrics_file},
        {0},
    };

    if (!cmd_parse(argc, argv, flags, options, SIZE_MAX, &j.wanted.names)) {
        job_done(&j);
        return EXIT_USAGE;
    }
    if (due && j.wanted.force) {
        auto_err struct err *e = NULL;
        err_set(&e, ERR_CONFIG, "--due and --force contradict each other");
        set_failure(&j, e, "self", EXIT_USAGE);
    } else {
        j.wanted.due_only = due || (j.wanted.names.n == 0 && !j.wanted.force);
        work(&j);
    }
    int status = print_document(&j);
    fflush(stdout);
    job_done(&j);
    return status;
}

const struct verb verb_renew = {
    .name = "renew",
    .arguments = "[NAME...]",
    .summary = "renew what is due, or certificates by name",
    .help =
        "Renews certificates through the running agent if there is one, else in this process, and\n"
        "waits until the servers are proven to serve them.\n\n"
        "Without NAME: what is due, respecting back-off (for timers). With NAME: these, if they "
        "are\n"
        "due, although they failed a moment ago.\n\n"
        "  --force     although not due; never before a Retry-After of the CA is over\n"
        "  --due       respect back-off, also with NAME\n"
        "  --no-wait   return as soon as the agent accepted; without an agent this waits\n"
        "  --metrics-file FILE\n"
        "              without an agent: where metrics go for node_exporter's textfile collector;\n"
        "              default agent.metrics_file\n\n"
        "Examples:\n"
        "  everleaf renew                   what is due\n"
        "  everleaf renew www               www, if it is due\n"
        "  everleaf renew www mail --force  both, now\n"
        "  everleaf renew --json            for programs: the document everleaf.renew/1\n"
        "  everleaf renew --due --metrics-file /var/lib/prometheus/node-exporter/everleaf.prom\n",
    .run = run_renew,
};
