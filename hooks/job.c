#include "hooks/job.h"

#include <string.h>

#include "hooks/job_private.h"
#include "hooks/process.h"

#define OUTPUT_MAX (64 * 1024)
#define LOOKS_MAX  10 /* at a process that has no handler yet */
#define LOOK_MS    20

struct hook_job {
    struct loop *loop;
    struct proc *proc; /* running, or the timer */
    char *program;
    int absent_status;    /* 0: none */
    struct timer *timer;  /* to tell, or to look again */
    char *pid_file, *exe; /* of a signal */
    struct process_target target;
    int signo;
    unsigned looks;
    void *task; /* of several steps */
    void (*drop)(void *task);
    enum reload_result result;
    struct err *err;
    reload_fn *reload; /* one of these */
    check_fn *check;
    void *userdata;
    bool called; /* inside the callback: hook_job_free does nothing, the job ends anyway */
};

static void job_finish(struct hook_job *j, enum reload_result result, const struct err *e)
{
    j->called = true;
    if (j->check)
        j->check(e, j->userdata);
    else
        j->reload(result, e, j->userdata);
    j->called = false;
    hook_job_free(j);
}

static void on_turn(void *userdata)
{
    struct hook_job *j = userdata;

    job_finish(j, j->result, j->err);
}

static void on_exit_of(const struct proc_result *r, void *userdata)
{
    struct hook_job *j = userdata;
    auto_err struct err *e = NULL;

    j->proc = NULL;
    if (proc_result_ok(r, j->program, &e))
        job_finish(j, RELOAD_DONE, NULL);
    else if (j->absent_status && r->status == j->absent_status && !r->timed_out)
        job_finish(j, RELOAD_NOT_RUNNING, NULL);
    else
        job_finish(j, RELOAD_FAILED, e);
}

void hook_job_free(struct hook_job *j)
{
    if (!j || j->called)
        return;
    if (j->drop)
        j->drop(j->task);
    proc_free(j->proc);
    timer_free(j->timer);
    err_free(j->err);
    free(j->program);
    free(j->pid_file);
    free(j->exe);
    free(j);
}

/* The environment ----------------------------------------------------------------------------- */

/* Always set, so that scripts may run with `set -u`. Values come from the configuration and from
 * certificates; a line break would be a second line to whoever parses lines. */
static bool add(struct strv *env, const char *name, const char *value, struct err **err)
{
    for (const char *at = value; at && *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return err_set(err, ERR_REFUSED, "EVERLEAF_HOOK_%s would hold control characters: %s",
                           name, value);
    }
    strv_addf(env, "EVERLEAF_HOOK_%s=%s", name, value ? value : "");
    return true;
}

static bool make_environment(const struct hook_event *event, struct strv *env, struct err **err)
{
    const struct {
        const char *name, *value;
    } values[] = {
        {"CERTIFICATE", event->certificate},
        {"CERTIFICATES", event->certificates ? event->certificates : event->certificate},
        {"NAMES", event->names},
        {"REASON", event->reason},
        {"ATTEMPT", event->attempt},
        {"DIR", event->dir},
        {"FULLCHAIN", event->fullchain},
        {"KEY", event->key},
        {"STAPLE", event->staple},
        {"SERIAL", event->serial},
        {"OLD_SERIAL", event->old_serial},
        {"SERVER", event->server},
    };

    strv_add(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    strv_add(env, "LANG=C.UTF-8");
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (!add(env, values[i].name, values[i].value, err))
            return false;
    }
    return true;
}

/* Jobs ---------------------------------------------------------------------------------------- */

static struct hook_job *job_new(struct loop *l, reload_fn *reload, check_fn *check, void *userdata)
{
    struct hook_job *j = xcalloc(1, sizeof *j);

    j->loop = l;
    j->reload = reload;
    j->check = check;
    j->userdata = userdata;
    return j;
}

/* e: moved here. */
static void tell_later(struct hook_job *j, enum reload_result result, struct err *e)
{
    j->result = result;
    j->err = e;
    timer_free(j->timer);
    j->timer = timer_after(j->loop, 0, on_turn, j);
}

static void start(struct hook_job *j, const struct strv *argv, const struct hook_event *event,
                  int64_t timeout_s)
{
    static const struct hook_event nothing;
    auto_strv struct strv env = {0};
    struct err *e = NULL;
    struct proc_spec spec = {
        .argv = (const char *const *)argv->items,
        .timeout_ms = timeout_s * 1000,
        .output_max = OUTPUT_MAX,
    };

    j->program = xstrdup(argv->items[0]);
    if (make_environment(event ? event : &nothing, &env, &e)) {
        spec.env = (const char *const *)env.items;
        j->proc = proc_start(j->loop, &spec, on_exit_of, j, &e);
    }
    if (!j->proc)
        tell_later(j, RELOAD_FAILED, e);
}

struct hook_job *hook_run(struct loop *l, const struct strv *argv, const struct hook_event *event,
                          int64_t timeout_s, reload_fn *fn, void *userdata)
{
    struct hook_job *j = job_new(l, fn, NULL, userdata);

    start(j, argv, event, timeout_s);
    return j;
}

struct hook_job *hook_run_unless_absent(struct loop *l, const struct strv *argv,
                                        const struct hook_event *event, int64_t timeout_s,
                                        int absent_status, reload_fn *fn, void *userdata)
{
    struct hook_job *j = hook_run(l, argv, event, timeout_s, fn, userdata);

    j->absent_status = absent_status;
    return j;
}

struct hook_job *hook_check(struct loop *l, const struct strv *argv, const struct hook_event *event,
                            int64_t timeout_s, check_fn *fn, void *userdata)
{
    struct hook_job *j = job_new(l, NULL, fn, userdata);

    if (argv->n > 0)
        start(j, argv, event, timeout_s);
    else
        tell_later(j, RELOAD_NOTHING, NULL);
    return j;
}

struct hook_job *hook_result(struct loop *l, enum reload_result result, const struct err *e,
                             reload_fn *fn, void *userdata)
{
    struct hook_job *j = job_new(l, fn, NULL, userdata);

    tell_later(j, result, err_copy(e));
    return j;
}

struct hook_job *hook_task(struct loop *l, void *task, void (*drop)(void *task), reload_fn *fn,
                           void *userdata)
{
    struct hook_job *j = job_new(l, fn, NULL, userdata);

    j->task = task;
    j->drop = drop;
    return j;
}

void hook_end(struct hook_job *j, enum reload_result result, const struct err *e)
{
    tell_later(j, result, err_copy(e));
}

/* The process is looked for anew each time: the server may be starting. */
static void look(void *userdata)
{
    static const enum reload_result results[] = {[PROCESS_FOUND] = RELOAD_DONE,
                                                 [PROCESS_NONE] = RELOAD_NOT_RUNNING,
                                                 [PROCESS_BAD] = RELOAD_FAILED,
                                                 [PROCESS_DEAF] = RELOAD_FAILED};
    struct hook_job *j = userdata;
    struct process p;
    struct err *e = NULL;
    enum process_result r = process_open(&j->target, &p, &e);

    if (r == PROCESS_FOUND) {
        r = process_signal(&p, j->signo, &e);
        close(p.pidfd);
    }
    if (r == PROCESS_DEAF && ++j->looks < LOOKS_MAX) {
        err_free(e);
        timer_free(j->timer);
        j->timer = timer_after(j->loop, LOOK_MS, look, j);
    } else {
        tell_later(j, results[r], e);
    }
}

struct hook_job *hook_signal(struct loop *l, const struct process_target *target, int signo,
                             reload_fn *fn, void *userdata)
{
    struct hook_job *j = job_new(l, fn, NULL, userdata);

    j->target = *target;
    j->target.pid_file = j->pid_file = xstrdup(target->pid_file);
    j->target.exe = j->exe = xstrdup(target->exe);
    j->signo = signo;
    look(j);
    return j;
}
