/* Every change goes through a name nobody looks at and one rename: what a reader opens is whole,
 * and what a crash leaves behind is a hidden file. Order matters: data, owner, mode, fsync, rename,
 * fsync of the directory. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/backoff.h"

#define SUFFIX_LEN 6
#define TRIES      16 /* for a temporary name that is still free */
#define DEPTH_MAX  32 /* of a tree that is removed: each level holds a descriptor */

/* Places --------------------------------------------------------------------------------------- */

/* The directory a path ends in, as a descriptor, and its last component. Symlinks in the directory
 * part are followed: it is the part an administrator wrote. */
static int open_parent(int dirfd, const char *path, const char **ret_base, struct err **err)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    auto_free char *parent = slash ? xstrndup(path, (size_t)(base - path)) : xstrdup(".");

    if (!*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        err_set_errno(err, EINVAL, "\"%s\"", path);
        return -1;
    }
    int fd = openat(dirfd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        err_set_errno(err, errno, "opening the folder of %s", path);
    *ret_base = base;
    return fd;
}

/* ".NAME.XXXXXX" with digits and capitals in turn: no name a person or an editor would choose, so
 * that file_remove_temps() takes nothing else. A long NAME is cut, between characters, to fit
 * NAME_MAX. */
static char *temp_name(const char *base)
{
    size_t len = strnlen(base, NAME_MAX - SUFFIX_LEN - 2);
    uint32_t random = random_u32();
    char suffix[SUFFIX_LEN + 1];

    while (base[len] && ((unsigned char)base[len] & 0xc0) == 0x80 && len > 0)
        len--;
    for (size_t i = 0; i < SUFFIX_LEN; i++) {
        uint32_t kinds = i % 2 == 0 ? 10 : 26;
        suffix[i] = (char)((i % 2 == 0 ? '0' : 'A') + (int)(random % kinds));
        random /= kinds;
    }
    suffix[SUFFIX_LEN] = '\0';
    return xasprintf(".%.*s.%s", (int)len, base, suffix);
}

static bool is_temp_name(const char *name)
{
    size_t len = strlen(name);

    if (name[0] != '.' || len < SUFFIX_LEN + 3 || name[len - SUFFIX_LEN - 1] != '.')
        return false;
    for (size_t i = 0; i < SUFFIX_LEN; i++) {
        char c = name[len - SUFFIX_LEN + i];
        if (i % 2 == 0 ? c < '0' || c > '9' : c < 'A' || c > 'Z')
            return false;
    }
    return true;
}

bool err_is_absent(const struct err *e)
{
    return e && e->kind == ERR_SYSTEM && e->code == ENOENT;
}

bool file_sync_dir(int dirfd, struct err **err)
{
    /* EINVAL: a file system whose directories need or know no fsync */
    if (fsync(dirfd) != 0 && errno != EINVAL)
        return err_set_errno(err, errno, "syncing the folder");
    return true;
}

/* Writing -------------------------------------------------------------------------------------- */

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n < 0 ? errno : EIO;
            return false;
        }
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* The owner first: with the mode first, the old owner's group could read for an instant, and chown
 * takes bits of the mode away. */
static bool set_mode(int fd, struct file_mode mode, const char *name, struct err **err)
{
    bool keep = mode.uid == FILE_KEEP_OWNER && mode.gid == (gid_t)-1;

    if (!keep && fchown(fd, mode.uid, mode.gid) != 0)
        return err_set_errno(err, errno, "setting the owner of %s", name);
    if (fchmod(fd, mode.mode) != 0)
        return err_set_errno(err, errno, "setting the mode of %s", name);
    return true;
}

/* Content, owner, mode and fsync of a new file; closes it. A failed fsync means that the data is
 * lost, also when a second one says otherwise: it is not repeated. */
static bool fill_and_close(int fd, const void *data, size_t len, struct file_mode mode,
                           const char *name, struct err **err)
{
    bool good = write_all(fd, data, len) || err_set_errno(err, errno, "writing %s", name);

    good = good && set_mode(fd, mode, name, err);
    if (good && fsync(fd) != 0)
        good = err_set_errno(err, errno, "syncing %s", name);
    if (close(fd) != 0 && errno != EINTR && good) /* after EINTR it is closed, and synced before */
        good = err_set_errno(err, errno, "closing %s", name);
    return good;
}

static int create_new(int dirfd, const char *name)
{
    return openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* The hidden file takes the name's place, or goes. */
static bool move_in(int dirfd, const char *temp, const char *base, const char *name, bool good,
                    struct err **err)
{
    if (good && renameat(dirfd, temp, dirfd, base) != 0)
        good = err_set_errno(err, errno, "replacing %s", name);
    if (!good) {
        unlinkat(dirfd, temp, 0);
        return false;
    }
    return file_sync_dir(dirfd, err) || err_wrap(err, "replacing %s", name);
}

bool file_write(int dirfd, const char *name, const void *data, size_t len, struct file_mode mode,
                struct err **err)
{
    const char *base;
    auto_close int parent = open_parent(dirfd, name, &base, err);
    auto_free char *temp = NULL;
    int fd = -1;

    if (parent < 0)
        return false;
    for (int i = 0; i < TRIES && (i == 0 || errno == EEXIST) && fd < 0; i++) {
        set_string(&temp, temp_name(base));
        fd = create_new(parent, temp);
    }
    if (fd < 0)
        return err_set_errno(err, errno, "creating a file beside %s", name);
    bool good = fill_and_close(fd, data, len, mode, name, err);
    return move_in(parent, temp, base, name, good, err);
}

bool file_create(int dirfd, const char *name, const void *data, size_t len, struct file_mode mode,
                 struct err **err)
{
    int fd = create_new(dirfd, name);

    if (fd < 0)
        return err_set_errno(err, errno, "creating %s", name);
    if (fill_and_close(fd, data, len, mode, name, err))
        return true;
    unlinkat(dirfd, name, 0);
    return false;
}

bool file_symlink(int dirfd, const char *target, const char *name, struct err **err)
{
    const char *base;
    auto_close int parent = open_parent(dirfd, name, &base, err);
    auto_free char *temp = NULL;
    int failed = -1;

    if (parent < 0)
        return false;
    for (int i = 0; i < TRIES && (i == 0 || errno == EEXIST) && failed; i++) {
        set_string(&temp, temp_name(base));
        failed = symlinkat(target, parent, temp);
    }
    if (failed)
        return err_set_errno(err, errno, "creating a symlink beside %s", name);
    return move_in(parent, temp, base, name, true, err);
}

bool file_rename(int dirfd, const char *from, const char *to, struct err **err)
{
    if (renameat(dirfd, from, dirfd, to) != 0)
        return err_set_errno(err, errno, "renaming %s to %s", from, to);
    return true;
}

/* Reading -------------------------------------------------------------------------------------- */

static bool read_all(int fd, struct buf *ret)
{
    char chunk[16384];
    ssize_t n;

    while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || !buf_add(ret, chunk, (size_t)n))
            break;
    }
    if (ret->wipe)
        explicit_bzero(chunk, sizeof(chunk));
    return n == 0;
}

bool file_read(int dirfd, const char *name, size_t max, bool follow, struct buf *ret,
               struct err **err)
{
    /* O_NONBLOCK: opening somebody's FIFO must not wait for a writer */
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (follow ? 0 : O_NOFOLLOW);
    auto_close int fd = openat(dirfd, name, flags);
    struct stat st;

    if (fd < 0 && errno == ELOOP && !follow)
        return err_set_errno(err, errno, "reading %s: is it a symlink?", name);
    if (fd < 0 || fstat(fd, &st) != 0)
        return err_set_errno(err, errno, "reading %s", name);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_SYSTEM, "%s is not a regular file", name);

    buf_clear(ret);
    ret->max = max;
    if (read_all(fd, ret))
        return true;
    if (ret->overflow)
        return err_set(err, ERR_SYSTEM, "%s is larger than %zu bytes", name, max);
    return err_set_errno(err, errno, "reading %s", name);
}

char *file_readlink(int dirfd, const char *name, struct err **err)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(dirfd, name, target, sizeof(target));

    if (n < 0 || (size_t)n == sizeof(target)) {
        err_set_errno(err, n < 0 ? errno : ENAMETOOLONG, "reading the symlink %s", name);
        return NULL;
    }
    return xstrndup(target, (size_t)n);
}

/* Directories ---------------------------------------------------------------------------------- */

/* The new entry must be as durable as what is put into it. */
static bool sync_parent(int dirfd, const char *path, struct err **err)
{
    auto_free char *plain = xstrdup(path);
    const char *base;

    for (size_t len = strlen(plain); len > 1 && plain[len - 1] == '/'; len--)
        plain[len - 1] = '\0';
    auto_close int fd = open_parent(dirfd, plain, &base, err);
    return fd >= 0 && (file_sync_dir(fd, err) || err_wrap(err, "creating the folder %s", path));
}

/* *ret_made: it was not there before. */
static bool make_dir(int dirfd, const char *path, mode_t mode, bool *ret_made, struct err **err)
{
    *ret_made = mkdirat(dirfd, path, mode) == 0;
    if (!*ret_made && errno != EEXIST)
        return err_set_errno(err, errno, "creating the folder %s", path);
    return !*ret_made || sync_parent(dirfd, path, err);
}

static int open_dir(int dirfd, const char *path, int flags, struct err **err)
{
    int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);

    if (fd < 0)
        err_set_errno(err, errno, "opening the folder %s", path);
    return fd;
}

/* As far as the umask allows is not what was asked for. */
static int open_made(int dirfd, const char *path, int flags, bool made, mode_t mode,
                     struct err **err)
{
    int fd = open_dir(dirfd, path, flags, err);

    if (fd >= 0 && made && fchmod(fd, mode) != 0) {
        err_set_errno(err, errno, "setting the mode of %s", path);
        close(fd);
        return -1;
    }
    return fd;
}

int file_open_dir(int dirfd, const char *name, bool create, mode_t mode, struct err **err)
{
    bool made = false;

    if (create && !make_dir(dirfd, name, mode, &made, err))
        return -1;
    return open_made(dirfd, name, O_NOFOLLOW, made, mode, err);
}

int file_make_path(const char *path, mode_t mode, struct err **err)
{
    auto_free char *part = xstrdup(path);
    bool made = false;

    /* Also "", which is an error below. What is on the way need not be readable, only what is made.
     */
    for (char *slash = part; *slash && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        if (!make_dir(AT_FDCWD, part, mode, &made, err))
            return -1;
        auto_close int fd = made ? open_made(AT_FDCWD, part, 0, made, mode, err) : -1;
        if (made && fd < 0)
            return -1;
        *slash = '/';
    }
    if (!make_dir(AT_FDCWD, part, mode, &made, err))
        return -1;
    return open_made(AT_FDCWD, part, 0, made, mode, err);
}

static bool list_names(DIR *dir, struct strv *ret, struct err **err)
{
    const struct dirent *entry;

    for (;;) {
        errno = 0; /* the only way to tell the end from a failure */
        entry = readdir(dir);
        if (!entry)
            break;
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            strv_add(ret, entry->d_name);
    }
    if (errno)
        return err_set_errno(err, errno, "reading a folder");
    strv_sort_unique(ret);
    return true;
}

bool file_list(int dirfd, struct strv *ret, struct err **err)
{
    strv_done(ret);

    int fd = open_dir(dirfd, ".", 0, err); /* dirfd keeps its position */
    if (fd < 0)
        return false;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        err_set_errno(err, errno, "reading a folder");
        close(fd);
        return false;
    }
    bool good = list_names(dir, ret, err);
    closedir(dir);
    if (!good)
        strv_done(ret);
    return good;
}

static bool remove_tree(int dirfd, const char *name, int depth, struct err **err)
{
    auto_strv struct strv names = {0};

    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM) /* EPERM: what POSIX says about directories */
        return err_set_errno(err, errno, "removing %s", name);
    if (depth == 0)
        return err_set_errno(err, ELOOP, "removing %s", name);

    int unlink_errno = errno;
    auto_close int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno == ENOTDIR ? unlink_errno : errno, "removing %s", name);
    if (!file_list(fd, &names, err))
        return err_wrap(err, "removing %s", name);
    for (size_t i = 0; i < names.n; i++)
        if (!remove_tree(fd, names.items[i], depth - 1, err))
            return err_wrap(err, "removing %s", name);
    if (unlinkat(dirfd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return err_set_errno(err, errno, "removing %s", name);
    return true;
}

bool file_remove(int dirfd, const char *name, struct err **err)
{
    return remove_tree(dirfd, name, DEPTH_MAX, err);
}

void file_remove_temps(int dirfd)
{
    auto_strv struct strv names = {0};

    if (!file_list(dirfd, &names, NULL))
        return;
    for (size_t i = 0; i < names.n; i++)
        if (is_temp_name(names.items[i]))
            unlinkat(dirfd, names.items[i], 0); /* takes no directory away */
}
