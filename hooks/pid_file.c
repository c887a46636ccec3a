#include "hooks/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define TEXT_MAX    64 /* of a pid file */
#define THREADS_MAX 64 /* that are looked at */

/* The file ------------------------------------------------------------------------------------ */

static bool check_file(const char *path, const struct stat *st, struct err **err)
{
    if (!S_ISREG(st->st_mode))
        return err_set(err, ERR_SYSTEM, "the pid file %s is no regular file", path);
    if (st->st_mode & S_IWOTH) {
        err_set(err, ERR_SYSTEM, "the pid file %s may be written by everybody", path);
        return err_hint(err, "chmod o-w %s", path);
    }
    return true;
}

/* One number and white space. 0: nothing there; -1: anything else. */
static long parse(const char *text, size_t len)
{
    size_t at = strspn(text, " \t\r\n");
    long pid = 0;

    if (at == len)
        return 0;
    for (; text[at] >= '0' && text[at] <= '9'; at++) {
        pid = pid * 10 + (text[at] - '0');
        if (pid > INT_MAX)
            return -1;
    }
    at += strspn(text + at, " \t\r\n");
    return at == len && pid > 1 ? pid : -1; /* 1: init, whose signals mean other things */
}

static enum pid_result read_pid(const char *path, pid_t *ret_pid, uid_t *ret_owner,
                                struct err **err)
{
    auto_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    char text[TEXT_MAX + 1] = "";
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return PID_NONE;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set_errno(err, errno, "opening the pid file %s", path);
        return PID_BAD;
    }
    if (!check_file(path, &st, err))
        return PID_BAD;
    ssize_t n = read(fd, text, TEXT_MAX);
    if (n < 0) {
        err_set_errno(err, errno, "reading the pid file %s", path);
        return PID_BAD;
    }
    long pid = parse(text, (size_t)n);
    if (pid < 0) {
        err_set(err, ERR_SYSTEM, "the pid file %s holds \"%.20s\" instead of a pid", path, text);
        return PID_BAD;
    }
    *ret_pid = (pid_t)pid;
    *ret_owner = st.st_uid;
    return pid > 0 ? PID_FOUND : PID_NONE;
}

/* The process --------------------------------------------------------------------------------- */

/* The value of a line "NAME:\tVALUE" of the status file in `dir` ("/proc/PID"); NULL: unknown. */
static char *status_in(const char *dir, const char *name)
{
    auto_free char *path = xasprintf("%s/status", dir);
    char line[512];
    size_t len = strlen(name);
    char *value = NULL;
    FILE *f = fopen(path, "re");

    while (f && !value && fgets(line, sizeof line, f)) {
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            value = xstrdup(line + len + 1 + strspn(line + len + 1, " \t"));
    }
    if (f)
        (void)fclose(f);
    return value;
}

static char *status_line(pid_t pid, const char *name)
{
    auto_free char *dir = xasprintf("/proc/%ld", (long)pid);

    return status_in(dir, name);
}

/* Base name of the running program; NULL: we are not allowed to see it. */
static char *program_of(pid_t pid)
{
    static const char deleted[] = " (deleted)";
    char path[64], target[PATH_MAX];

    snprintf(path, sizeof path, "/proc/%ld/exe", (long)pid);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n <= 0)
        return NULL;
    target[n] = '\0';
    size_t len = (size_t)n, tail = strlen(deleted);
    if (len > tail && strcmp(target + len - tail, deleted) == 0) /* an upgrade replaced it */
        target[len - tail] = '\0';
    const char *slash = strrchr(target, '/');
    return xstrdup(slash ? slash + 1 : target);
}

static bool check_program(const char *path, pid_t pid, const char *exe, struct err **err)
{
    auto_free char *program = program_of(pid);
    size_t len = SIZE_MAX;

    if (!program) { /* another user's: the name of its main thread is what all may see */
        program = status_line(pid, "Name");
        len = 15;
        if (program)
            program[strcspn(program, "\n")] = '\0';
    }
    if (program && strncmp(program, exe, len) == 0)
        return true;
    err_set(err, ERR_SYSTEM, "the pid file %s names process %ld, which runs %s instead of %s", path,
            (long)pid, program ? program : "something unknown", exe);
    return err_hint(err, "the file may be left over from a process that was killed: restart %s",
                    exe);
}

/* Whoever may write the file chooses the process: only among his own, unless he is root or us. */
static bool check_owner(const char *path, pid_t pid, uid_t file_owner, struct err **err)
{
    auto_free char *line = status_line(pid, "Uid"); /* real, effective, saved, file system */
    char *end = NULL;

    if (file_owner == 0 || file_owner == geteuid() || !line)
        return true;
    unsigned long real = strtoul(line, &end, 10);
    if (end != line && real == file_owner)
        return true;
    return err_set(err, ERR_SYSTEM,
                   "the pid file %s of user %u names process %ld, which belongs to user %lu", path,
                   (unsigned)file_owner, (long)pid, real);
}

static enum pid_result open_process(pid_t pid, const char *path, int *ret_fd, struct err **err)
{
    *ret_fd = pidfd_open(pid, 0);
    if (*ret_fd >= 0)
        return PID_FOUND;
    if (errno == ESRCH || errno == EINVAL) /* the latter: a thread's id */
        return PID_NONE;
    err_set_errno(err, errno, "opening process %ld of the pid file %s", (long)pid, path);
    return PID_BAD;
}

/* Public -------------------------------------------------------------------------------------- */

enum pid_result pid_file_read(const char *path, const char *exe, struct pid_process *ret,
                              struct err **err)
{
    pid_t pid = 0;
    uid_t owner = 0;
    auto_close int fd = -1;
    enum pid_result r = read_pid(path, &pid, &owner, err);

    if (r == PID_FOUND)
        r = open_process(pid, path, &fd, err);
    if (r != PID_FOUND)
        return r;
    /* Looked at after the pidfd was opened: if the pid was recycled before, this sees the new
     * process; if after, the signal goes nowhere. */
    if (pid == getpid()) {
        err_set(err, ERR_SYSTEM, "the pid file %s names this process (%ld)", path, (long)pid);
        return PID_BAD;
    }
    if (!check_owner(path, pid, owner, err) || (exe && !check_program(path, pid, exe, err)))
        return PID_BAD;
    *ret = (struct pid_process){.pid = pid, .pidfd = fd};
    fd = -1;
    return PID_FOUND;
}

static bool has_signal(const char *dir, const char *mask_name, int signo)
{
    auto_free char *mask = status_in(dir, mask_name);

    return mask && (strtoull(mask, NULL, 16) >> (signo - 1) & 1);
}

/* A thread that is inside sigwait() does not block what it waits for. */
static bool is_in_sigwait(const char *dir)
{
    auto_free char *path = xasprintf("%s/wchan", dir);
    char text[64] = "";
    FILE *f = fopen(path, "re");

    if (!f)
        return false;
    bool found = fgets(text, sizeof text, f) && strstr(text, "sigtimedwait");
    (void)fclose(f);
    return found;
}

/* Blocked by some thread, so that signalfd or sigwait may read it. */
static bool is_read_by_a_thread(pid_t pid, int signo)
{
    auto_free char *tasks = xasprintf("/proc/%ld/task", (long)pid);
    auto_close int fd = open(tasks, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    auto_strv struct strv names = {0};

    if (fd < 0 || !file_list(fd, &names, NULL))
        return false;
    for (size_t i = 0; i < names.n && i < THREADS_MAX; i++) {
        auto_free char *dir = xasprintf("%s/%s", tasks, names.items[i]);
        if (has_signal(dir, "SigBlk", signo) || is_in_sigwait(dir))
            return true;
    }
    return false;
}

static bool is_harmless(int signo)
{
    return signo == SIGCHLD || signo == SIGURG || signo == SIGWINCH || signo == SIGCONT;
}

static bool is_expected(pid_t pid, int signo)
{
    auto_free char *dir = xasprintf("/proc/%ld", (long)pid);
    auto_free char *known = status_in(dir, "SigCgt");

    return !known || is_harmless(signo) || has_signal(dir, "SigCgt", signo) ||
           has_signal(dir, "SigIgn", signo) || is_read_by_a_thread(pid, signo);
}

static enum pid_result send_signal(const struct pid_process *p, int signo, const char *name,
                                   struct err **err)
{
    if (pidfd_send_signal(p->pidfd, signo, NULL, 0) == 0)
        return PID_FOUND;
    if (errno == ESRCH)
        return PID_NONE;
    bool forbidden = errno == EPERM;
    err_set_errno(err, errno, "sending SIG%s to process %ld as user %u", name, (long)p->pid,
                  (unsigned)geteuid());
    if (forbidden)
        err_hint(err,
                 "run the agent as root or as the user of that process, or reload by a command "
                 "that is allowed to");
    return PID_BAD;
}

enum pid_result pid_process_signal(const struct pid_process *p, int signo, struct err **err)
{
    const char *known = sigabbrev_np(signo);
    const char *name = known ? known : "RT";
    enum pid_result r = send_signal(p, 0, name, err); /* may we at all? */

    if (r != PID_FOUND)
        return r;
    if (is_expected(p->pid, signo))
        return send_signal(p, signo, name, err);
    err_set(err, ERR_SYSTEM, "process %ld has no handler for SIG%s: it would end", (long)p->pid,
            name);
    err_hint(err, "is it the right process, and the signal it reloads by?");
    return PID_DEAF;
}
