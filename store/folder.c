#include "store/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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

    while (made < n && (fds[made] = create_file(fd, &files[made], err)) >= 0)
        made++;
    if (made == n)
        return sync_and_close(files, fds, n, err);
    for (size_t i = 0; i < made; i++)
        close(fds[i]);
    return false;
}

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
