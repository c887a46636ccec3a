/* Folders and files below the state directory: with whose rights they are made, and which are
 * trusted. */
#include "store/state_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/folder.h"

/* Rights ------------------------------------------------------------------------------------ */

static struct file_mode mode_for(const struct state *s, bool shared, mode_t mode)
{
    return (struct file_mode){.mode = mode,
                              .uid = s->for_other ? s->owner : FILE_KEEP_OWNER,
                              .gid = s->for_other || shared ? s->group : (gid_t)-1};
}

struct file_mode state_file_mode(const struct state *s, enum state_reader reader)
{
    bool shared = s->shared && reader == STATE_SHARED;

    return mode_for(s, shared, shared ? 0640 : 0600);
}

struct file_mode state_folder_mode(const struct state *s, enum state_reader reader)
{
    bool shared = s->shared && reader == STATE_SHARED;

    return mode_for(s, shared, shared ? 0750 : 0700);
}

static bool trusted(const struct state *s, const char *name, const struct stat *st,
                    struct err **err)
{
    if (st->st_uid != s->owner && st->st_uid != 0) {
        err_set(err, ERR_SYSTEM, "%s in %s belongs to user %u instead of %u", name, s->path,
                (unsigned)st->st_uid, (unsigned)s->owner);
        return err_hint(err, "chown %u it if its content can be trusted", (unsigned)s->owner);
    }
    if (st->st_mode & 0022) {
        err_set(err, ERR_SYSTEM, "%s in %s may be written by others (mode %04o)", name, s->path,
                (unsigned)(st->st_mode & 07777));
        return err_hint(err, "chmod go-w it if its content can be trusted");
    }
    return true;
}

/* Folders ----------------------------------------------------------------------------------- */

/* A state directory opened to its group later (0700 -> 0750) opens the way for it. */
static bool follow_sharing(const struct state *s, int fd, const char *name, const struct stat *st,
                           struct err **err)
{
    struct file_mode mode = state_folder_mode(s, STATE_SHARED);

    if (!s->shared || ((st->st_mode & 0050) == 0050 && st->st_gid == s->group))
        return true;
    if (fchown(fd, (uid_t)-1, mode.gid) != 0 || fchmod(fd, mode.mode) != 0) {
        err_set_errno(err, errno, "opening %s to the group of the state directory", name);
        return folder_owner_hint(err);
    }
    return true;
}

static bool make_folder(const struct state *s, int dirfd, const char *name,
                        enum state_reader reader, struct err **err)
{
    auto_free char *prefix = xasprintf(".%s.", name);
    auto_free char *temp = folder_random_name(prefix);

    if (!folder_write(dirfd, temp, NULL, 0, state_folder_mode(s, reader), err))
        return false;
    /* Tasks of two lanes may make the same folder at the same time: the first one stays. EINVAL: a
     * file system without RENAME_NOREPLACE; there an empty folder is replaced by an empty folder.
     */
    if (renameat2(dirfd, temp, dirfd, name, RENAME_NOREPLACE) == 0 ||
        (errno == EINVAL && renameat(dirfd, temp, dirfd, name) == 0))
        return file_sync_dir(dirfd, err);
    int errnum = errno;
    (void)!file_remove(dirfd, temp, NULL);
    return errnum == EEXIST || errnum == ENOTEMPTY ||
           err_set_errno(err, errnum, "creating the folder %s", name);
}

int state_folder(const struct state *s, int dirfd, const char *name, enum state_reader reader,
                 bool create, struct err **err)
{
    bool change = create && s->access == STATE_OWN;
    auto_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    auto_err struct err *e = NULL;
    struct stat st;

    if (fd < 0 && errno == ENOENT && change) {
        if (!make_folder(s, dirfd, name, reader, err))
            return -1;
        fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set_errno(err, errno, "opening the folder %s in %s", name, s->path);
        return -1;
    }
    if (!trusted(s, name, &st, err))
        return -1;
    if (s->access == STATE_OWN && reader == STATE_SHARED && !follow_sharing(s, fd, name, &st, &e)) {
        if (create) {
            err_move(err, &e);
            return -1;
        }
        log_failure(LOG_LEVEL_WARNING, e, "not opened to the group of the state directory");
    }
    int opened = fd;
    fd = -1;
    return opened;
}

bool state_each_name(int dirfd, bool (*fn)(const char *name, void *userdata), void *userdata,
                     struct err **err)
{
    _Alignas(struct dirent64) char entries[4096];
    ssize_t n = lseek(dirfd, 0, SEEK_SET);

    while (n >= 0 && (n = getdents64(dirfd, entries, sizeof entries)) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            const char *name = entry->d_name;
            at += entry->d_reclen;
            if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !fn(name, userdata))
                return true;
        }
    }
    return n == 0 || err_set_errno(err, errno, "reading a folder");
}

static bool is_visible(const char *name, void *userdata)
{
    bool *hidden = userdata;

    *hidden = name[0] == '.';
    return !*hidden;
}

void state_sweep(int dirfd)
{
    auto_strv struct strv names = {0};
    bool hidden = false;

    if (!state_each_name(dirfd, is_visible, &hidden, NULL) || !hidden ||
        !file_list(dirfd, &names, NULL))
        return;
    for (size_t i = 0; i < names.n; i++) {
        if (names.items[i][0] == '.')
            (void)!file_remove(dirfd, names.items[i], NULL); /* tried again next time */
    }
}

/* Files ------------------------------------------------------------------------------------- */

/* As many octets as were there when it was looked at. A file that grows (the history) gives its
 * beginning; others are replaced, never changed. */
static bool read_whole(int fd, const char *name, size_t size, struct buf *ret, struct err **err)
{
    bool wipe = ret->wipe;

    buf_done(ret);
    *ret = (struct buf){.data = xcalloc(1, size + 1), .cap = size + 1, .max = size, .wipe = wipe};
    while (ret->len < size) {
        ssize_t n = read(fd, ret->data + ret->len, size - ret->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : EIO, "reading %s", name);
        ret->len += (size_t)n;
    }
    return true;
}

bool state_read(const struct state *s, int dirfd, const char *name, size_t max, struct buf *ret,
                struct err **err)
{
    auto_close int fd =
        openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        bool link = fd < 0 && errno == ELOOP;
        return err_set_errno(err, errno, "reading %s%s", name, link ? ": is it a symlink?" : "");
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_SYSTEM, "%s is not a regular file", name);
    if (!trusted(s, name, &st, err))
        return false;
    if (st.st_size > (off_t)max)
        return err_set(err, ERR_SYSTEM, "%s is larger than %zu bytes", name, max);
    return read_whole(fd, name, (size_t)st.st_size, ret, err);
}

/* "20261124T100000Z" */
static void compact_time(char out[CLOCK_TEXT_MAX])
{
    char text[CLOCK_TEXT_MAX];
    size_t n = 0;

    clock_rfc3339(clock_now(), text);
    for (const char *at = text; *at; at++) {
        if (*at != '-' && *at != ':')
            out[n++] = *at;
    }
    out[n] = '\0';
}

void state_set_aside(const struct state *s, int dirfd, const char *name, const struct err *why)
{
    char now[CLOCK_TEXT_MAX];
    auto_err struct err *e = NULL;

    if (s->access != STATE_OWN) {
        log_failure(LOG_LEVEL_WARNING, why, "damaged state, ignoring it", "file", name);
        return;
    }
    compact_time(now);
    auto_free char *aside = xasprintf("%s.damaged-%s", name, now);
    if (!file_rename(dirfd, name, aside, &e))
        log_failure(LOG_LEVEL_WARNING, e, "damaged state could not be set aside", "file", name);
    log_failure(LOG_LEVEL_WARNING, why, "damaged state, set aside", "file", aside);
}
