#include "acme/token_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/enc.h"
#include "base/file.h"

#define MARKER_PREFIX  ".everleaf-"
#define MARKER_MAX     512
#define PROC_STAT_MAX  4096
#define STARTTIME_WORD 20 /* of /proc/PID/stat, counted behind the name; proc(5) field 22 */

/* Who is alive --------------------------------------------------------------------------------- */

/* Start time of a process in clock ticks since boot: with it a recycled pid is told apart. "" when
 * there is no such process (or no /proc). Caller frees. */
static char *start_time(const char *pid)
{
    auto_free char *path = xasprintf("/proc/%s/stat", pid);
    auto_buf struct buf text;
    auto_err struct err *e = NULL;

    buf_init(&text, PROC_STAT_MAX);
    if (!file_read(AT_FDCWD, path, PROC_STAT_MAX, false, &text, &e))
        return xstrdup("");
    const char *at = strrchr(text.data, ')'); /* the name before it may hold anything */
    for (int word = 0; at && word < STARTTIME_WORD; word++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return xstrndup(at ? at : "", at ? strcspn(at, " ") : 0);
}

char *token_dir_self(void)
{
    char host[256] = "";
    auto_free char *pid = xasprintf("%d", (int)getpid());
    auto_free char *start = start_time(pid);

    if (gethostname(host, sizeof(host) - 1) != 0 || !*start)
        return NULL;
    return xasprintf("%s %s %s\n", host, pid, start);
}

/* A marker of this host whose process is gone. What cannot be judged is not stale, except for a
 * marker without its line end: the write of that one was cut by a kill. */
static bool is_stale(const char *marker, const char *self)
{
    size_t host_len = strcspn(self, " ");

    if (!strchr(marker, '\n'))
        return true;
    if (strncmp(marker, self, host_len + 1) != 0)
        return false;

    const char *pid = marker + host_len + 1;
    size_t digits = strspn(pid, "0123456789");
    if (digits == 0 || digits > 9 || pid[digits] != ' ')
        return false;

    auto_free char *number = xstrndup(pid, digits);
    auto_free char *start = start_time(number);
    if (!*start)
        return kill((pid_t)strtol(number, NULL, 10), 0) != 0 && errno == ESRCH;
    const char *marked = pid + digits + 1;
    return strcspn(marked, "\n") != strlen(start) || strncmp(marked, start, strlen(start)) != 0;
}

/* The directory -------------------------------------------------------------------------------- */

/* The web server must be able to enter it whatever our umask is; one that is there is left alone.
 */
static int enter(int dirfd, const char *name, bool create, struct err **err)
{
    if (create && mkdirat(dirfd, name, 0755) == 0) {
        if (fchmodat(dirfd, name, 0755, 0) != 0) {
            err_set_errno(err, errno, "mode of %s", name);
            return -1;
        }
    } else if (create && errno != EEXIST) {
        err_set_errno(err, errno, "making %s", name);
        return -1;
    }
    return file_open_dir(dirfd, name, false, 0755, err);
}

/* The operator's path may go over symlinks; below it they could lead out of the document root. */
static int open_directory(const char *webroot, bool create, struct err **err)
{
    auto_close int root = open(webroot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root < 0) {
        err_set_errno(err, errno, "webroot %s", webroot);
        err_hint(err,
                 "`webroot` is the document root of the server that answers on port 80; it must "
                 "exist and be writable by us");
        return -1;
    }
    auto_close int well_known = enter(root, ".well-known", create, err);
    int fd = well_known >= 0 ? enter(well_known, "acme-challenge", create, err) : -1;
    if (fd < 0)
        err_wrap(err, "webroot %s", webroot);
    return fd;
}

static char *marker_name(const char *token)
{
    return xasprintf(MARKER_PREFIX "%s", token);
}

static void remove_token(int dirfd, const char *token)
{
    auto_free char *marker = marker_name(token);

    unlinkat(dirfd, token, 0);
    unlinkat(dirfd, marker, 0); /* last: while there is a token there is a marker */
}

bool token_dir_write(const char *webroot, const char *self, const char *token, const char *text,
                     struct err **err)
{
    auto_close int dirfd = open_directory(webroot, true, err);
    struct file_mode marker_mode = {0600, FILE_KEEP_OWNER, (gid_t)-1};
    struct file_mode mode = {0644, FILE_KEEP_OWNER, (gid_t)-1};
    auto_free char *marker = marker_name(token);

    if (dirfd < 0)
        return false;
    if (self) {
        unlinkat(dirfd, marker, 0);
        if (!file_create(dirfd, marker, self, strlen(self), marker_mode, err))
            return err_wrap(err, "webroot %s", webroot);
    }
    if (!file_write(dirfd, token, text, strlen(text), mode, err)) {
        unlinkat(dirfd, marker, 0);
        return err_wrap(err, "webroot %s", webroot);
    }
    return true;
}

void token_dir_remove(const char *webroot, const char *token)
{
    auto_err struct err *e = NULL;
    auto_close int dirfd = open_directory(webroot, false, &e);

    if (dirfd >= 0)
        remove_token(dirfd, token);
}

/* A write that was killed left ".TOKEN.XXXXXX" (file_write). */
static void remove_temps_of(int dirfd, const struct strv *names, const char *token)
{
    auto_free char *prefix = xasprintf(".%s.", token);
    size_t len = strlen(prefix);

    for (size_t i = 0; i < names->n; i++) {
        if (strncmp(names->items[i], prefix, len) == 0 && strlen(names->items[i]) == len + 6)
            unlinkat(dirfd, names->items[i], 0);
    }
}

static bool is_stale_marker(int dirfd, const char *name, const char *self)
{
    auto_buf struct buf text;
    auto_err struct err *e = NULL;

    buf_init(&text, MARKER_MAX);
    return strncmp(name, MARKER_PREFIX, sizeof(MARKER_PREFIX) - 1) == 0 &&
           enc_is_base64url(name + sizeof(MARKER_PREFIX) - 1, NAME_MAX) &&
           file_read(dirfd, name, MARKER_MAX, false, &text, &e) && is_stale(text.data, self);
}

void token_dir_clean(const char *webroot, const char *self)
{
    auto_strv struct strv names = {0};
    auto_err struct err *e = NULL;
    auto_close int dirfd = open_directory(webroot, false, &e);

    if (dirfd < 0 || !file_list(dirfd, &names, &e))
        return;
    for (size_t i = 0; i < names.n; i++) {
        if (is_stale_marker(dirfd, names.items[i], self)) {
            const char *token = names.items[i] + sizeof(MARKER_PREFIX) - 1;
            remove_temps_of(dirfd, &names, token);
            remove_token(dirfd, token);
        }
    }
}
