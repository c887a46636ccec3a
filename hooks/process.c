#include "hooks/process.h"

#include <ctype.h>
#include <dirent.h>
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
#define NAME_LEN    15 /* of a thread */
#define FOUND_MAX   64 /* processes of one program and user */

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
static long parse(const char *text, size_t len, bool first_line)
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
    if (first_line && text[at] == '\n')
        at = len;
    else
        at += strspn(text + at, " \t\r\n");
    return at == len && pid > 1 ? pid : -1; /* 1: init, whose signals mean other things */
}

static enum process_result read_pid(const struct process_target *target, pid_t *ret_pid,
                                    uid_t *ret_owner, struct err **err)
{
    const char *path = target->pid_file;
    auto_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    char text[TEXT_MAX + 1] = "";
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return PROCESS_NONE;
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set_errno(err, errno, "opening the pid file %s", path);
        return PROCESS_BAD;
    }
    if (!check_file(path, &st, err))
        return PROCESS_BAD;
    ssize_t n = read(fd, text, TEXT_MAX);
    if (n < 0) {
        err_set_errno(err, errno, "reading the pid file %s", path);
        return PROCESS_BAD;
    }
    long pid = parse(text, (size_t)n, target->first_line);
    if (pid < 0) {
        err_set(err, ERR_SYSTEM, "the pid file %s holds \"%.20s\" instead of a pid", path, text);
        return PROCESS_BAD;
    }
    *ret_pid = (pid_t)pid;
    *ret_owner = st.st_uid;
    return pid > 0 ? PROCESS_FOUND : PROCESS_NONE;
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

/* Path of the running program; NULL: we are not allowed to see it. */
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
    return xstrdup(target);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Whether it runs exe, a base name or an absolute path; ret_program: what it runs, new string. */
static bool runs(pid_t pid, const char *exe, char **ret_program)
{
    char *program = program_of(pid);
    bool right;

    if (program) {
        right = strcmp(exe[0] == '/' ? program : base_name(program), exe) == 0;
    } else { /* another user's: the name of its main thread is what all may see */
        program = status_line(pid, "Name");
        if (program)
            program[strcspn(program, "\n")] = '\0';
        right = program && strncmp(program, base_name(exe), NAME_LEN) == 0;
    }
    *ret_program = program;
    return right;
}

static bool check_program(const char *path, pid_t pid, const char *exe, struct err **err)
{
    auto_free char *program = NULL;

    if (runs(pid, exe, &program))
        return true;
    err_set(err, ERR_SYSTEM, "the pid file %s names process %ld, which runs %s instead of %s", path,
            (long)pid, program ? base_name(program) : "something unknown", exe);
    return err_hint(err, "the file may be left over from a process that was killed: restart %s",
                    exe);
}

/* (uid_t)-1: unknown. */
static uid_t real_uid(pid_t pid)
{
    auto_free char *line = status_line(pid, "Uid"); /* real, effective, saved, file system */

    return line ? (uid_t)strtoul(line, NULL, 10) : (uid_t)-1;
}

/* Whoever may write the file chooses the process: only among his own, unless he is root or us. */
static bool check_owner(const char *path, pid_t pid, uid_t file_owner, struct err **err)
{
    uid_t uid = real_uid(pid);

    if (file_owner == 0 || file_owner == geteuid() || uid == (uid_t)-1 || uid == file_owner)
        return true;
    return err_set(err, ERR_SYSTEM,
                   "the pid file %s of user %u names process %ld, which belongs to user %u", path,
                   (unsigned)file_owner, (long)pid, (unsigned)uid);
}

static enum process_result open_pid(pid_t pid, int *ret_fd, struct err **err)
{
    *ret_fd = pidfd_open(pid, 0);
    if (*ret_fd >= 0)
        return PROCESS_FOUND;
    if (errno == ESRCH || errno == EINVAL) /* the latter: a thread's id */
        return PROCESS_NONE;
    err_set_errno(err, errno, "opening process %ld", (long)pid);
    return PROCESS_BAD;
}

static enum process_result open_by_pid_file(const struct process_target *target,
                                            struct process *ret, struct err **err)
{
    const char *path = target->pid_file;
    pid_t pid = 0;
    uid_t owner = 0;
    auto_close int fd = -1;
    enum process_result r = read_pid(target, &pid, &owner, err);

    if (r == PROCESS_FOUND)
        r = open_pid(pid, &fd, err);
    if (r == PROCESS_BAD && pid > 0)
        err_wrap(err, "the pid file %s", path);
    if (r != PROCESS_FOUND)
        return r;
    /* Looked at after the pidfd was opened: if the pid was recycled before, this sees the new
     * process; if after, the signal goes nowhere. */
    if (pid == getpid()) {
        err_set(err, ERR_SYSTEM, "the pid file %s names this process (%ld)", path, (long)pid);
        return PROCESS_BAD;
    }
    if (!check_owner(path, pid, owner, err) ||
        (target->exe && !check_program(path, pid, target->exe, err)))
        return PROCESS_BAD;
    *ret = (struct process){.pid = pid, .pidfd = fd};
    fd = -1;
    return PROCESS_FOUND;
}

/* Found by program and user -------------------------------------------------------------------- */

static bool is_it(pid_t pid, const struct process_target *target)
{
    auto_free char *program = NULL;

    return runs(pid, target->exe, &program) && real_uid(pid) == target->uid;
}

static size_t find_all(const struct process_target *target, pid_t *pids)
{
    DIR *dir = opendir("/proc");
    size_t n = 0;

    for (const struct dirent *d; dir && n < FOUND_MAX && (d = readdir(dir));) {
        pid_t pid = isdigit((unsigned char)d->d_name[0]) ? (pid_t)strtol(d->d_name, NULL, 10) : 0;
        if (pid > 1 && pid != getpid() && is_it(pid, target))
            pids[n++] = pid;
    }
    if (dir)
        closedir(dir);
    return n;
}

static bool is_child_of_one(pid_t pid, const pid_t *pids, size_t n)
{
    auto_free char *line = status_line(pid, "PPid");
    long parent = line ? strtol(line, NULL, 10) : 0;

    for (size_t i = 0; i < n; i++) {
        if (pids[i] == parent)
            return true;
    }
    return false;
}

static enum process_result open_by_program(const struct process_target *target, struct process *ret,
                                           struct err **err)
{
    pid_t pids[FOUND_MAX], found = 0;
    size_t n = find_all(target, pids);
    auto_close int fd = -1;

    for (size_t i = 0; i < n; i++) {
        if (is_child_of_one(pids[i], pids, n))
            continue;
        if (found) {
            err_set(err, ERR_SYSTEM, "several processes of user %u run %s, %ld and %ld among them",
                    (unsigned)target->uid, target->exe, (long)found, (long)pids[i]);
            err_hint(err, "name the right one by pid_file");
            return PROCESS_BAD;
        }
        found = pids[i];
    }
    enum process_result r = found ? open_pid(found, &fd, err) : PROCESS_NONE;
    if (r != PROCESS_FOUND || !is_it(found, target)) /* again: it may be another one by now */
        return r == PROCESS_FOUND ? PROCESS_NONE : r;
    *ret = (struct process){.pid = found, .pidfd = fd};
    fd = -1;
    return PROCESS_FOUND;
}

enum process_result process_open(const struct process_target *target, struct process *ret,
                                 struct err **err)
{
    return target->pid_file ? open_by_pid_file(target, ret, err)
                            : open_by_program(target, ret, err);
}

/* Signals -------------------------------------------------------------------------------------- */

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

static enum process_result send_signal(const struct process *p, int signo, const char *name,
                                       struct err **err)
{
    if (pidfd_send_signal(p->pidfd, signo, NULL, 0) == 0)
        return PROCESS_FOUND;
    if (errno == ESRCH)
        return PROCESS_NONE;
    bool forbidden = errno == EPERM;
    err_set_errno(err, errno, "sending SIG%s to process %ld as user %u", name, (long)p->pid,
                  (unsigned)geteuid());
    if (forbidden)
        err_hint(err,
                 "run the agent as root or as the user of that process, or reload by a command "
                 "that is allowed to");
    return PROCESS_BAD;
}

enum process_result process_signal(const struct process *p, int signo, struct err **err)
{
    const char *known = sigabbrev_np(signo);
    const char *name = known ? known : "RT";
    enum process_result r = send_signal(p, 0, name, err); /* may we at all? */

    if (r != PROCESS_FOUND)
        return r;
    if (is_expected(p->pid, signo))
        return send_signal(p, signo, name, err);
    err_set(err, ERR_SYSTEM, "process %ld has no handler for SIG%s: it would end", (long)p->pid,
            name);
    err_hint(err, "is it the right process, and the signal it reloads by?");
    return PROCESS_DEAF;
}
