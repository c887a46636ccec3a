/* The child stays unreaped until we are through with it: a zombie keeps its number, and with it the
 * number of its process group, so that kill(-pid) never meets a stranger. */
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define TERM_TO_KILL_MS 2000
#define GRACE_MS        200
/* After KILL. A process that hangs in the kernel does not die; we do not wait for it for ever. */
#define DEATH_MS 2000

struct proc {
    struct loop *loop;
    proc_fn *fn;
    void *userdata;
    pid_t pid;
    int pidfd;
    struct io *exit_io, *out_io, *in_io;
    int out_fd, in_fd;
    char *input;
    size_t input_at;
    struct buf output;
    struct timer *deadline; /* for TERM, then for KILL */
    struct timer *grace;
    int64_t begun_ms;
    bool timed_out, exited, called;
    siginfo_t info;
};

static void close_fd(int *fd)
{
    close_p(fd);
    *fd = -1;
}

static void close_output(struct proc *p)
{
    io_free(take(p->out_io));
    close_fd(&p->out_fd);
}

static void close_input(struct proc *p)
{
    io_free(take(p->in_io));
    close_fd(&p->in_fd);
}

/* What belongs to the loop; the child is reaped now or, if it is still alive, when it dies. */
static void proc_detach(struct proc *p)
{
    siginfo_t info;

    timer_free(take(p->deadline));
    timer_free(take(p->grace));
    close_input(p);
    close_output(p);
    io_free(take(p->exit_io));
    if (p->pidfd < 0)
        return;
    if (p->exited) {
        waitid(P_PIDFD, (id_t)p->pidfd, &info, WEXITED | WNOHANG);
        close_fd(&p->pidfd);
    } else {
        loop_reap(p->loop, p->pidfd);
        p->pidfd = -1;
    }
}

static void proc_end(struct proc *p)
{
    proc_detach(p);
    buf_done(&p->output);
    free(p->input);
    free(p);
}

void proc_free(struct proc *p)
{
    if (!p || p->called)
        return;
    kill(-p->pid, SIGKILL);
    proc_end(p);
}

/* The callback may free what it likes, the loop included. */
static void proc_finish(struct proc *p)
{
    bool by_itself = p->exited && p->info.si_code == CLD_EXITED;

    if (p->timed_out)
        kill(-p->pid, SIGKILL);
    proc_detach(p);
    struct proc_result result = {
        .timed_out = p->timed_out,
        .status = by_itself ? p->info.si_status : -1,
        .signal = by_itself   ? 0
                  : p->exited ? p->info.si_status
                              : SIGKILL,
        .output = p->output.data,
        .output_len = p->output.len,
        .truncated = p->output.overflow,
        .took_ms = clock_boot_ms() - p->begun_ms,
    };
    p->called = true;
    p->fn(&result, p->userdata);
    proc_end(p);
}

static void on_grace(void *userdata)
{
    proc_finish(userdata);
}

static void set_grace(struct proc *p, int64_t ms)
{
    timer_free(p->grace);
    p->grace = timer_after(p->loop, ms, on_grace, p);
}

/* After TERM the rest of the group has its 2 s as well; they are over when the pipe is closed. */
static void proc_look(struct proc *p)
{
    if (!p->exited)
        return;
    if (p->out_fd < 0)
        proc_finish(p);
    else if (!p->timed_out || !p->deadline)
        set_grace(p, GRACE_MS);
}

static void on_kill(void *userdata)
{
    struct proc *p = userdata;

    timer_free(take(p->deadline));
    kill(-p->pid, SIGKILL);
    set_grace(p, p->exited ? GRACE_MS : DEATH_MS);
}

static void on_timeout(void *userdata)
{
    struct proc *p = userdata;

    timer_free(p->deadline);
    p->timed_out = true;
    kill(-p->pid, SIGTERM);
    kill(-p->pid, SIGCONT); /* a stopped process hears TERM only now */
    p->deadline = timer_after(p->loop, TERM_TO_KILL_MS, on_kill, p);
}

static void on_exit_seen(struct io *io, uint32_t events, void *userdata)
{
    struct proc *p = userdata;

    (void)io, (void)events;
    if (waitid(P_PIDFD, (id_t)p->pidfd, &p->info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        p->info.si_pid == 0)
        return;
    p->exited = true;
    io_free(take(p->exit_io));
    close_input(p);
    if (!p->timed_out)
        timer_free(take(p->deadline));
    proc_look(p);
}

static void on_output(struct io *io, uint32_t events, void *userdata)
{
    struct proc *p = userdata;
    char data[16384];

    (void)io, (void)events;
    ssize_t n = read(p->out_fd, data, sizeof(data));
    if (n > 0)
        buf_add(&p->output, data, (size_t)n); /* what does not fit is dropped */
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    close_output(p);
    if (p->exited)
        proc_finish(p);
}

static void on_input(struct io *io, uint32_t events, void *userdata)
{
    struct proc *p = userdata;
    size_t left = strlen(p->input + p->input_at);
    ssize_t n = write(p->in_fd, p->input + p->input_at, left);

    (void)io, (void)events;
    if (n > 0)
        p->input_at += (size_t)n;
    if (n == (ssize_t)left || (n < 0 && errno != EAGAIN && errno != EINTR))
        close_input(p);
}

/* Start
 * -------------------------------------------------------------------------------------------- */

/* Above the child's 0, 1 and 2: whoever started us may have closed ours. */
static bool make_pipe(int ret[2], int ours)
{
    bool ok = pipe2(ret, O_CLOEXEC) == 0;

    if (!ok)
        ret[0] = ret[1] = -1;
    for (size_t i = 0; i < 2 && ok; i++) {
        if (ret[i] > STDERR_FILENO)
            continue;
        int low = ret[i];
        ret[i] = fcntl(low, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        ok = ret[i] >= 0;
        close(low);
    }
    return ok && fcntl(ret[ours], F_SETFL, O_NONBLOCK) == 0;
}

/* posix_spawn wants its lists with less const than they are. */
static void copy_list(struct strv *to, const char *const *from)
{
    for (size_t i = 0; from[i]; i++)
        strv_add(to, from[i]);
}

static int spawn_with(const struct proc_spec *spec, const char *path, posix_spawnattr_t *attr,
                      posix_spawn_file_actions_t *actions, int in, int out, pid_t *ret)
{
    static const char *const path_only[] = {"PATH=" PROC_PATH, NULL};
    static char *const nothing[] = {NULL};
    auto_strv struct strv argv = {0}, env = {0};
    sigset_t set;
    int r = in < 0 ? posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0)
                   : posix_spawn_file_actions_adddup2(actions, in, 0);

    r = r ? r : posix_spawn_file_actions_adddup2(actions, out, 1);
    r = r ? r : posix_spawn_file_actions_adddup2(actions, out, 2);
    r = r ? r : posix_spawn_file_actions_addchdir_np(actions, "/");
    r = r ? r : posix_spawn_file_actions_addclosefrom_np(actions, 3);
    if (r != 0)
        return r;
    sigfillset(&set);
    posix_spawnattr_setsigdefault(attr, &set);
    sigemptyset(&set);
    posix_spawnattr_setsigmask(attr, &set);
    posix_spawnattr_setpgroup(attr, 0);
    posix_spawnattr_setflags(attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF |
                                       POSIX_SPAWN_SETSIGMASK);
    copy_list(&argv, spec->argv);
    copy_list(&env, spec->env ? spec->env : path_only);
    return posix_spawn(ret, path, actions, attr, argv.items, env.items ? env.items : nothing);
}

static int spawn(const struct proc_spec *spec, const char *path, int in, int out, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;

    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    int r = spawn_with(spec, path, &attr, &actions, in, out, ret);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

/* The first executable file of that name on the path; NULL if there is none. */
static char *find_program(const char *name)
{
    const char *dir = PROC_PATH;

    if (strchr(name, '/'))
        return xstrdup(name);
    while (*dir) {
        size_t len = strcspn(dir, ":");
        char *path = xasprintf("%.*s/%s", (int)len, dir, name);
        struct stat st;

        if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
            return path;
        free(path);
        dir += len + (dir[len] == ':');
    }
    return NULL;
}

static bool not_started(const char *name, int errnum, struct err **err)
{
    bool by_path = strchr(name, '/');

    err_set_errno(err, errnum, "%s cannot be started", name);
    switch (errnum) {
    case ENOENT:
        if (by_path)
            err_hint(err, "the program, or the interpreter in its first line, does not exist");
        else
            err_hint(err, "it was looked for in " PROC_PATH "; install it or give its full path");
        break;
    case EACCES:
    case EPERM:
        err_hint(err, "it must be an executable file (chmod +x) that the agent's user may run");
        break;
    case ENOEXEC:
        err_hint(err, "a script must begin with a line like #!/bin/sh");
        break;
    case EAGAIN:
    case ENOMEM:
        err_hint(err, "the machine or a limit (ulimit -u, TasksMax=) allows no more processes");
        break;
    default:
        break;
    }
    return false;
}

/* From here on the child lives. */
static bool proc_watch(struct proc *p, const struct proc_spec *spec, struct err **err)
{
    p->pidfd = pidfd_open(p->pid, 0);
    if (p->pidfd < 0)
        return err_set_errno(err, errno, "%s cannot be watched", spec->argv[0]);
    p->exit_io = io_new(p->loop, p->pidfd, EPOLLIN, on_exit_seen, p, err);
    if (!p->exit_io)
        return false;
    p->out_io = io_new(p->loop, p->out_fd, EPOLLIN, on_output, p, err);
    if (!p->out_io)
        return false;
    if (p->in_fd >= 0) {
        p->in_io = io_new(p->loop, p->in_fd, EPOLLOUT, on_input, p, err);
        if (!p->in_io)
            return false;
    }
    p->deadline = timer_after(p->loop, spec->timeout_ms, on_timeout, p);
    return true;
}

static bool proc_spawn(struct proc *p, const struct proc_spec *spec, struct err **err)
{
    auto_free char *path = find_program(spec->argv[0]);
    int out[2] = {-1, -1}, in[2] = {-1, -1};

    if (!path)
        return not_started(spec->argv[0], ENOENT, err);
    bool ok = make_pipe(out, 0) && (!spec->input || make_pipe(in, 1));
    int r = ok ? spawn(spec, path, in[0], out[1], &p->pid) : errno;
    close_p(&out[1]);
    close_p(&in[0]);
    p->out_fd = out[0];
    p->in_fd = in[1];
    return r == 0 || not_started(spec->argv[0], r, err);
}

struct proc *proc_start(struct loop *l, const struct proc_spec *spec, proc_fn *fn, void *userdata,
                        struct err **err)
{
    struct proc *p = xcalloc(1, sizeof(*p));

    *p = (struct proc){.loop = l, .fn = fn, .userdata = userdata, .pidfd = -1};
    p->begun_ms = clock_boot_ms();
    p->input = xstrdup(spec->input);
    buf_init(&p->output, spec->output_max);
    if (!proc_spawn(p, spec, err)) {
        proc_end(p);
        return NULL;
    }
    if (!proc_watch(p, spec, err)) {
        kill(-p->pid, SIGKILL);
        if (p->pidfd < 0)
            waitpid(p->pid, NULL, 0); /* dies at once: it was only just made */
        proc_end(p);
        return NULL;
    }
    return p;
}

/* The result in words
 * ------------------------------------------------------------------------------ */

#define LAST_LINES 3
#define LAST_BYTES 600

/* The last lines that have any text, in one; NULL when there is none. */
static char *last_lines(const char *output, size_t len)
{
    char *text = NULL;

    for (size_t lines = 0; lines < LAST_LINES && len > 0;) {
        const char *newline = memrchr(output, '\n', len);
        const char *line = newline ? newline + 1 : output;
        size_t n = (size_t)(output + len - line);

        len = newline ? (size_t)(newline - output) : 0;
        while (n > 0 && strchr(" \t\r", line[n - 1]))
            n--;
        if (n == 0)
            continue;
        const char *cut = n > LAST_BYTES ? "..." : "";
        n = n > LAST_BYTES ? LAST_BYTES : n;
        char *longer =
            xasprintf("%.*s%s%s%s", (int)n, line, cut, text ? "; " : "", text ? text : "");
        set_string(&text, longer);
        lines++;
    }
    return text;
}

bool proc_result_ok(const struct proc_result *result, const char *program, struct err **err)
{
    if (!result->timed_out && result->status == 0)
        return true;

    auto_free char *lines = last_lines(result->output, result->output_len);
    const char *colon = lines ? ": " : "", *text = lines ? lines : "";
    if (result->timed_out)
        return err_set(err, ERR_SYSTEM, "%s did not end in time and was stopped after %.1f s%s%s",
                       program, (double)result->took_ms / 1000, colon, text);
    if (result->signal)
        return err_set(err, ERR_SYSTEM, "%s was ended by signal %d (%s)%s%s", program,
                       result->signal, strsignal(result->signal), colon, text);
    return err_set(err, ERR_SYSTEM, "%s exited with status %d%s%s", program, result->status, colon,
                   text);
}
