/* The agent. Everything happens in callbacks of the loop; what is outside may be broken, now or
 * later. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/alert.h"
#include "agent/claim.h"
#include "agent/cmd.h"
#include "agent/control.h"
#include "agent/listener.h"
#include "agent/responder.h"
#include "base/clock.h"
#include "base/log.h"

#define PATIENCE_MS     60000 /* with a one-shot command that has the state */
#define STOP_S          4     /* of the 5 a stop may take */
#define STATUS_AFTER_MS 1000

struct run {
    const struct cmd_options *options;
    struct config *config; /* of the start: what is in force for state_dir, control, listen */
    struct loop *loop;
    struct claim *claim;
    struct manager *manager;
    struct control *control;
    struct listener *listener;
    struct alerts *alerts;
    struct responder *responder;
    struct timer *status;
    int64_t started_ms;
};

/* What systemd shows --------------------------------------------------------------------------- */

struct summary {
    size_t all, busy, unwell;
    time_t next;
    const char *next_name;
};

static void summarise(const struct manager *m, struct summary *ret)
{
    *ret = (struct summary){.all = manager_count(m)};
    for (size_t i = 0; i < ret->all; i++) {
        struct managed_view v;
        managed_view(manager_at(m, i), &v);
        ret->busy += managed_is_busy(manager_at(m, i));
        ret->unwell += v.exit_status != 0;
        if (v.renew_at > 0 && (ret->next == 0 || v.renew_at < ret->next)) {
            ret->next = v.renew_at;
            ret->next_name = v.name;
        }
    }
}

static char *status_text(const struct manager *m)
{
    struct summary s;
    char next[CLOCK_TEXT_MAX];
    auto_strv struct strv parts = {0};

    summarise(m, &s);
    if (s.all == 0)
        return xstrdup("no certificates are configured");
    strv_addf(&parts, "%zu certificate%s", s.all, s.all == 1 ? "" : "s");
    if (s.busy > 0)
        strv_addf(&parts, "%zu under way", s.busy);
    if (s.unwell > 0)
        strv_addf(&parts, "%zu in trouble", s.unwell);
    if (s.next_name)
        strv_addf(&parts, "next renewal %s (%s)", clock_rfc3339(s.next, next), s.next_name);
    if (manager_reload_error(m))
        strv_add(&parts, "the configuration has errors, the last good one is in force");
    return strv_join(&parts, "; ");
}

static void notify_ready(struct run *r)
{
    auto_free char *text = status_text(r->manager);
    auto_free char *state = xasprintf("READY=1\nSTATUS=%s", text);

    loop_notify(state);
}

static void on_status(void *userdata)
{
    struct run *r = userdata;
    auto_free char *text = status_text(r->manager);
    auto_free char *state = xasprintf("STATUS=%s", text);

    timer_free(r->status);
    r->status = NULL;
    loop_notify(state);
}

static void on_activity(const char *certificate, const char *text, void *userdata)
{
    struct run *r = userdata;

    if (r->control)
        control_activity(r->control, certificate, text);
    if (r->alerts && !text) /* something ended */
        alerts_poke(r->alerts);
    if (!r->status && getenv("NOTIFY_SOCKET"))
        r->status = timer_after(r->loop, STATUS_AFTER_MS, on_status, r);
}

/* Reloading ------------------------------------------------------------------------------------ */

static void log_problem(const struct problem *p)
{
    auto_free char *where =
        p->line > 0 ? xasprintf("%s:%d:%d", p->file, p->line, p->column) : xstrdup(p->file);
    const char *event = p->warning ? "configuration warning" : "configuration error";

    log_event(p->warning ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, __FILE__, __LINE__, event, "where",
              where, "path", p->path, "text", p->message, "suggestion", p->suggestion, NULL);
}

/* The first error stands for all of them. */
static void refuse(struct run *r, const struct problems *problems)
{
    auto_err struct err *e = NULL;

    err_set(&e, ERR_CONFIG, "the new configuration was refused");
    for (size_t i = 0; i < problems->n; i++) {
        const struct problem *p = &problems->items[i];
        if (p->warning)
            continue;
        err_set(&e, ERR_CONFIG, "the new configuration was refused: %s", p->message);
        if (p->line > 0)
            set_string(&e->where, xasprintf("%s:%d:%d", p->file, p->line, p->column));
        break;
    }
    err_hint(&e, "everleaf check shows all of it; the last good configuration stays in force");
    log_failure(LOG_LEVEL_ERROR, e, "configuration not loaded", "where", e->where);
    manager_reload_failed(r->manager, e);
}

static void report_restart_keys(const struct run *r, const struct config *new)
{
    const struct config *old = r->config;

    if (strcmp(old->state_dir, new->state_dir) != 0)
        log_warning("takes effect after a restart", "key", "agent.state_dir");
    if (strcmp(old->control, new->control) != 0)
        log_warning("takes effect after a restart", "key", "agent.control");
    if (!strv_equal(&old->listen, &new->listen))
        log_warning("takes effect after a restart", "key", "agent.listen");
    if (!strv_equal(&old->ocsp_listen, &new->ocsp_listen))
        log_warning("takes effect after a restart", "key", "agent.ocsp_listen");
}

static void init_log(const struct run *r, const struct config *c)
{
    log_init(c->log_format, r->options->verbose ? LOG_LEVEL_DEBUG : c->log_level);
}

static void reload(void *userdata)
{
    struct run *r = userdata;
    struct problems problems = {0};
    auto_free char *file = config_path(r->options->config_file);
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    auto_free char *reloading =
        xasprintf("RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                  (int64_t)now.tv_sec * 1000000 + (int64_t)now.tv_nsec / 1000);
    loop_notify(reloading);
    struct config *c = file ? config_load(file, &problems) : config_from_environment(&problems);
    for (size_t i = 0; i < problems.n; i++)
        log_problem(&problems.items[i]);
    if (c) {
        init_log(r, c);
        report_restart_keys(r, c);
        manager_reload(r->manager, c);
        log_info("configuration loaded", "file", c->file);
        config_unref(c);
    } else {
        refuse(r, &problems);
    }
    problems_done(&problems);
    alerts_poke(r->alerts);
    notify_ready(r);
}

/* Start and stop ------------------------------------------------------------------------------- */

static void open_control(struct run *r)
{
    auto_err struct err *e = NULL;
    struct control_settings settings = {
        .manager = r->manager,
        .path = r->config->control,
        .reload = reload,
        .userdata = r,
    };

    r->control = control_new(&settings, &e);
    if (!r->control)
        log_failure(LOG_LEVEL_WARNING, e,
                    "no control socket: status and renew cannot ask this agent");
}

static void give_up(struct run *r, const struct err *e)
{
    r->claim = NULL;
    log_failure(LOG_LEVEL_ERROR, e, "the agent cannot start");
    loop_exit(r->loop, e->kind == ERR_CONFIG ? EXIT_USAGE : EXIT_UNKNOWN);
}

/* A one-shot command is worth waiting for, another agent is not. */
static bool look_for_agent(const struct err *e, void *userdata)
{
    struct run *r = userdata;

    if (!control_is_there(r->config->control))
        return false;
    give_up(r, e);
    return true;
}

static void on_claimed(struct manager *m, const struct err *e, void *userdata)
{
    struct run *r = userdata;

    if (!m) {
        give_up(r, e);
        return;
    }
    r->claim = NULL;
    r->manager = m;
    open_control(r);
    r->listener = listener_new(m);
    r->alerts = alerts_new(m);
    r->responder = responder_new(m);
    notify_ready(r);
    auto_free char *n = xasprintf("%zu", manager_count(m));
    auto_free char *took = xasprintf("%" PRId64, clock_boot_ms() - r->started_ms);
    log_info("ready", "version", EVERLEAF_VERSION, "certificates", n, "took_ms", took);
    if (manager_count(m) == 0)
        log_warning("no certificates are configured", "file", r->config->file);
    manager_start(m);
}

static void on_signal(int signo, void *userdata)
{
    struct run *r = userdata;

    if (signo == SIGHUP && r->manager) {
        reload(r);
    } else if (signo != SIGHUP) {
        log_info("stopping", "signal", signo == SIGTERM ? "SIGTERM" : "SIGINT");
        loop_notify("STOPPING=1");
        loop_exit(r->loop, EXIT_DONE);
    }
}

/* Everything that matters is on disk at any instant. */
static void on_stop_late(int signo)
{
    (void)signo;
    _exit(EXIT_DONE);
}

/* A key that is being made cannot be stopped: it is left behind. */
static void stop(struct run *r)
{
    struct sigaction late = {.sa_handler = on_stop_late};

    sigaction(SIGALRM, &late, NULL);
    alarm(STOP_S);
    claim_free(r->claim);
    timer_free(r->status);
    control_free(r->control);
    listener_free(r->listener);
    alerts_free(r->alerts);
    responder_free(r->responder);
    manager_free(r->manager);
    config_unref(r->config);
    loop_free(r->loop);
    alarm(0);
}

static bool open_loop(struct run *r, struct err **err)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGPIPE, &ignore, NULL);
    r->loop = loop_new(err);
    for (size_t i = 0; r->loop && i < ARRAY_LEN(signals); i++) {
        if (!loop_on_signal(r->loop, signals[i], on_signal, r, err))
            return false;
    }
    return r->loop;
}

static int run_agent(int argc, char **argv, struct cmd_options *options)
{
    static const struct cmd_flag flags[] = {{0}};
    struct run r = {.options = options, .started_ms = clock_boot_ms()};
    auto_strv struct strv args = {0};
    auto_err struct err *e = NULL;

    if (!cmd_parse(argc, argv, flags, options, 0, &args))
        return EXIT_USAGE;
    r.config = cmd_load_config(options);
    if (!r.config)
        return EXIT_USAGE;
    cmd_protect();
    init_log(&r, r.config);
    if (!open_loop(&r, &e)) {
        cmd_report(e);
        stop(&r);
        return EXIT_UNKNOWN;
    }
    loop_watchdog(r.loop);
    r.claim = claim_start(&(struct claim_settings){
        .manager = {.loop = r.loop, .config = r.config, .activity = on_activity, .userdata = &r},
        .patience_ms = PATIENCE_MS,
        .look = look_for_agent,
        .done = on_claimed,
        .userdata = &r,
    });
    int status = loop_run(r.loop);
    stop(&r);
    return status;
}

const struct verb verb_run = {
    .name = "run",
    .arguments = "",
    .summary = "the agent, in the foreground",
    .help =
        "Runs the agent in the foreground, as a systemd service (Type=notify) or the entry point\n"
        "of a container: gets what is missing, renews what is due, deploys and proves it, and\n"
        "answers status and renew through its control socket. Keeps going whatever is broken\n"
        "outside.\n\n"
        "Signals: SIGTERM and SIGINT stop it; SIGHUP loads the configuration again, and keeps the\n"
        "old one when the new one has errors.\n\n"
        "Examples:\n"
        "  everleaf run\n"
        "  everleaf run -c ./everleaf.yaml -v\n",
    .run = run_agent,
};
