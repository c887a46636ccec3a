#include "store/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/backoff.h"

char *folder_random_name(const char *prefix)
{
    return xasprintf("%s%08" PRIx32 "%08" PRIx32, prefix, random_u32(), random_u32());
}

int folder_open(int dirfd, const char *name, struct err **err)
{
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        err_set_errno(err, errno, "opening the folder %s", name);
    return fd;
}

bool folder_owner_hint(struct err **err)
{
    if (err && *err && (*err)->code == EPERM)
        err_hint(err, "giving files to another user needs root or the capabilities CAP_CHOWN and "
                      "CAP_FOWNER; giving them to a group needs the agent's user to be its member");
    return false;
}

/* Before the name is visible: the owner first, for chown may take mode bits away. */
static bool set_mode(int fd, const char *name, struct file_mode mode, struct err **err)
{
    bool keep = mode.uid == FILE_KEEP_OWNER && mode.gid == (gid_t)-1;

    if (!keep && fchown(fd, mode.uid, mode.gid) != 0) {
        err_set_errno(err, errno, "setting the owner of %s", name);
        return folder_owner_hint(err);
    }
    if (fchmod(fd, mode.mode) != 0)
        return err_set_errno(err, errno, "setting the mode of %s", name);
    return true;
}

static bool write_all(int fd, const char *name, const char *data, size_t len, struct err **err)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : EIO, "writing %s", name);
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static int create_file(int dirfd, const struct folder_file *f, struct err **err)
{
    int fd = openat(dirfd, f->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        err_set_errno(err, errno, "creating %s", f->name);
        return -1;
    }
    if (!write_all(fd, f->name, f->data, f->len, err) || !set_mode(fd, f->name, f->mode, err)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A failed fsync means the data is lost, also when a second one says otherwise: it is never
 * repeated. */
static bool sync_and_close(const struct folder_file *files, const int *fds, size_t n,
                           struct err **err)
{
    bool good = true;

    for (size_t i = 0; i < n; i++) {
        if (good && fsync(fds[i]) != 0)
            good = err_set_errno(err, errno, "syncing %s", files[i].name);
        if (close(fds[i]) != 0 && good)
            good = err_set_errno(err, errno, "closing %s", files[i].name);
    }
    return good;
}

static bool fill(int fd, const struct folder_file *files, size_t n, struct err **err)
{
    auto_free int *fds = xmalloc((n + 1) * sizeof *fds);
    size_t made = 0;

    /* All are written before the first sync: one commit of the journal takes them along. */
    while (made < n && (fds[made] = create_file(fd, &files[made], err)) >= 0)
        made++;
    if (made == n)
        return sync_and_close(files, fds, n, err);
    for (size_t i = 0; i < made; i++)
        close(fds[i]);
    return false;
}

/* Replacing ----------------------------------------------------------------------------------- */

#define TEMP_MARK ".everleaf-"

/* ".NAME.everleaf-HEX": hidden from those who load whole folders (HAProxy), and known as ours. */
static char *temp_name(const char *name)
{
    auto_free char *prefix = xasprintf(".%s" TEMP_MARK, name);

    return folder_random_name(prefix);
}

static bool is_temp_of(const char *entry, const char *name)
{
    size_t len = strlen(name);

    return entry[0] == '.' && strncmp(entry + 1, name, len) == 0 &&
           strncmp(entry + 1 + len, TEMP_MARK, strlen(TEMP_MARK)) == 0;
}

void folder_sweep(int dirfd, const char *const *names, size_t n)
{
    auto_strv struct strv entries = {0};

    if (!file_list(dirfd, &entries, NULL))
        return;
    for (size_t i = 0; i < entries.n; i++) {
        for (size_t k = 0; k < n; k++) {
            if (is_temp_of(entries.items[i], names[k]))
                (void)!unlinkat(dirfd, entries.items[i], 0);
        }
    }
}

static bool same_content(int fd, const struct folder_file *f)
{
    const char *want = f->data;
    char part[16 * 1024];
    size_t done = 0;
    ssize_t n;

    while ((n = read(fd, part, sizeof part)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || (size_t)n > f->len - done || memcmp(part, want + done, (size_t)n) != 0)
            return false;
        done += (size_t)n;
    }
    return done == f->len;
}

static bool same_owner(const struct stat *st, struct file_mode mode)
{
    return (mode.uid == FILE_KEEP_OWNER || mode.uid == st->st_uid) &&
           (mode.gid == (gid_t)-1 || mode.gid == st->st_gid);
}

bool folder_has(int dirfd, const struct folder_file *f)
{
    auto_close int fd = openat(dirfd, f->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           (st.st_mode & 07777) == f->mode.mode && same_owner(&st, f->mode) &&
           st.st_size == (off_t)f->len && same_content(fd, f);
}

bool folder_may_replace(int dirfd, const char *name, const char *link, struct err **err)
{
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT || err_set_errno(err, errno, "%s", name);
    if (S_ISREG(st.st_mode))
        return true;
    if (!S_ISLNK(st.st_mode)) {
        err_set(err, ERR_SYSTEM, "%s is there and is no file", name);
        return err_hint(err, "move it away, or write to another place");
    }
    auto_free char *target = file_readlink(dirfd, name, err);
    if (!target)
        return false;
    if (link && strcmp(target, link) == 0)
        return true;
    err_set(err, ERR_SYSTEM, "%s is a symlink to %s that we have not made", name, target);
    return err_hint(err,
                    "if another tool keeps certificates here, write to another place; else remove "
                    "the link");
}

bool folder_link(int dirfd, const char *target, const char *name, struct file_mode mode,
                 struct err **err)
{
    auto_free char *temp = temp_name(name);
    bool keep = mode.uid == FILE_KEEP_OWNER && mode.gid == (gid_t)-1;

    if (symlinkat(target, dirfd, temp) != 0)
        return err_set_errno(err, errno, "creating the link %s", name);
    if (!keep && fchownat(dirfd, temp, mode.uid, mode.gid, AT_SYMLINK_NOFOLLOW) != 0) {
        err_set_errno(err, errno, "setting the owner of the link %s", name);
        folder_owner_hint(err);
    } else if (renameat(dirfd, temp, dirfd, name) == 0) {
        return true;
    } else {
        err_set_errno(err, errno, "replacing %s", name);
    }
    (void)!unlinkat(dirfd, temp, 0);
    return false;
}

/* Writes all and renames all; `temps` are the hidden names, n of them. */
static bool replace_all(int dirfd, const struct folder_file *files, const struct folder_file *temps,
                        size_t n, struct err **err)
{
    if (!fill(dirfd, temps, n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (renameat(dirfd, temps[i].name, dirfd, files[i].name) != 0)
            return err_set_errno(err, errno, "replacing %s", files[i].name);
    }
    return file_sync_dir(dirfd, err);
}

bool folder_replace(int dirfd, const struct folder_file *files, size_t n, struct err **err)
{
    auto_strv struct strv names = {0};
    auto_free struct folder_file *temps = xcalloc(n, sizeof *temps);

    for (size_t i = 0; i < n; i++) {
        strv_add_owned(&names, temp_name(files[i].name));
        temps[i] = files[i];
        temps[i].name = names.items[i];
    }
    if (replace_all(dirfd, files, temps, n, err))
        return true;
    for (size_t i = 0; i < n; i++)
        (void)!unlinkat(dirfd, temps[i].name, 0); /* those that were renamed are absent */
    return false;
}

/* A whole folder ------------------------------------------------------------------------------ */

/* Somebody who may write in the parent could have put a folder of his own in place of ours. */
static bool is_ours(int fd, const char *name, struct err **err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set_errno(err, errno, "%s", name);
    if (st.st_uid != geteuid())
        return err_set(err, ERR_SYSTEM, "%s was replaced while it was made", name);
    return true;
}

bool folder_write(int dirfd, const char *name, const struct folder_file *files, size_t n,
                  struct file_mode mode, struct err **err)
{
    if (mkdirat(dirfd, name, 0700) != 0)
        return err_set_errno(err, errno, "creating the folder %s", name);

    auto_close int fd = folder_open(dirfd, name, err);
    if (fd >= 0 && is_ours(fd, name, err) && fill(fd, files, n, err) &&
        set_mode(fd, name, mode, err) && file_sync_dir(fd, err))
        return true;
    (void)!file_remove(dirfd, name, NULL); /* what stays is hidden and swept by the next writer */
    return err_wrap(err, "writing the folder %s", name);
}
