#include "hooks/daemon.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bus.h"

const char *const daemon_reload_names[] = {"auto", "systemd", "signal", "off", NULL};
const char *const daemon_socket_reload_names[] = {"auto", "systemd", "signal",
                                                  "off",  "socket",  NULL};

struct task {
    struct hook_job *job;
    struct loop *loop;
    struct bus_job *bus;   /* one of these */
    struct hook_job *step; /* the signal, or the command in its place */
    bool is_auto;
    char *pid_file, *exe;
    struct process_target target;
    int signo;
    struct strv command;
    int64_t timeout_s;
    struct err *denied; /* by systemd */
};

bool daemon_may_check(const struct daemon *d)
{
    struct stat st;

    return geteuid() == 0 || (d->pid_file && stat(d->pid_file, &st) == 0 && st.st_uid == geteuid());
}

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    bus_job_free(t->bus);
    hook_job_free(t->step);
    err_free(t->denied);
    strv_done(&t->command);
    free(t->pid_file);
    free(t->exe);
    free(t);
}

static void on_step(enum reload_result result, const struct err *e, void *userdata)
{
    struct task *t = userdata;

    t->step = NULL;
    if (t->denied && result != RELOAD_DONE) /* its unit does run: that is what must be mended */
        hook_end(t->job, RELOAD_FAILED, t->denied);
    else
        hook_end(t->job, result, e);
}

static void start_step(struct task *t)
{
    struct process p;
    enum process_result r = t->command.n > 0 ? process_open(&t->target, &p, NULL) : PROCESS_NONE;

    if (r == PROCESS_FOUND)
        close(p.pidfd);
    if (t->command.n > 0 && r != PROCESS_NONE) /* whether it is the right one, the command knows */
        t->step = hook_run(t->loop, &t->command, NULL, t->timeout_s, on_step, t);
    else
        t->step = hook_signal(t->loop, &t->target, t->signo, on_step, t);
}

static void on_unit(enum bus_outcome outcome, const struct err *e, void *userdata)
{
    struct task *t = userdata;

    t->bus = NULL;
    if (outcome == BUS_DONE) {
        hook_end(t->job, RELOAD_DONE, NULL);
    } else if (t->is_auto && outcome != BUS_FAILED) {
        if (outcome == BUS_DENIED)
            t->denied = err_copy(e);
        start_step(t);
    } else {
        hook_end(t->job, e ? RELOAD_FAILED : RELOAD_NOT_RUNNING, e);
    }
}

/* The process shows the end of all symlinks; one in another container is not found here. */
static char *exe_of(const struct daemon *d, const struct daemon_way *way)
{
    char binary[PATH_MAX];

    if (way->any_exe || way->exe || !d->binary)
        return xstrdup(way->exe);
    const char *path = realpath(d->binary, binary) ? binary : d->binary;
    return xstrdup(strrchr(path, '/') + 1);
}

/* Of the process that the pid file names; 0: none, then the unit is all we know. */
static pid_t main_pid(const struct process_target *target)
{
    struct process p;

    if (process_open(target, &p, NULL) != PROCESS_FOUND)
        return 0;
    close(p.pidfd);
    return p.pid;
}

struct hook_job *daemon_reload(const struct server *s, const struct daemon *d,
                               const struct daemon_way *way, struct loop *l, reload_fn *fn,
                               void *userdata)
{
    if (d->reload == DAEMON_OFF)
        return hook_result(l, RELOAD_NOTHING, NULL, fn, userdata);

    struct task *t = xcalloc(1, sizeof(*t));

    *t = (struct task){.loop = l, .is_auto = d->reload == DAEMON_AUTO, .signo = way->signo};
    t->timeout_s = s->timeout_s;
    if (way->command)
        strv_copy(&t->command, way->command);
    t->pid_file = xstrdup(d->pid_file);
    t->exe = exe_of(d, way);
    t->target = (struct process_target){
        .pid_file = t->pid_file, .exe = t->exe, .first_line = way->first_line};
    t->job = hook_task(l, t, task_drop, fn, userdata);
    if (d->reload == DAEMON_SYSTEMD || (t->is_auto && d->unit && bus_is_likely()))
        t->bus = bus_job_start(l, BUS_RELOAD, d->unit, t->is_auto ? main_pid(&t->target) : 0,
                               s->timeout_s * 1000, on_unit, t);
    else
        start_step(t);
    return t->job;
}
