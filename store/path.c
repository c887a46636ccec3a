/* One component after the other below a descriptor, with O_NOFOLLOW: what is a symlink is looked at
 * and put in front of the rest of the path. openat2(RESOLVE_NO_SYMLINKS) would be shorter but
 * refuses /var/run and the like. */
#include "store/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/folder.h"

#define LINKS_MAX 40

struct walk {
    const char *path; /* as configured, for messages */
    int fd;           /* the folder reached */
    char *rest;       /* what is to be walked */
    unsigned links;
    bool create;
    struct file_mode mode; /* of the last folder */
};

static bool is_last(const struct walk *w)
{
    return w->rest[strspn(w->rest, "/")] == '\0';
}

/* Always the same name, so that a killed attempt leaves at most one empty folder, which the next
 * one takes away. Where somebody else holds it, one that nobody could have prepared. */
static char *temp_folder(int dirfd, const char *name)
{
    auto_free char *temp = xasprintf(".%.200s.everleaf-new", name);

    if (unlinkat(dirfd, temp, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return folder_random_name(".new.everleaf-");
    return take(temp);
}

/* Made under its name: an empty folder that nobody reads yet. */
static int make_folder(struct walk *w, const char *name, struct err **err)
{
    struct file_mode mode = {.mode = 0755, .uid = FILE_KEEP_OWNER, .gid = (gid_t)-1};

    if (is_last(w))
        mode = w->mode;
    auto_free char *temp = temp_folder(w->fd, name);
    if (!folder_write(w->fd, temp, NULL, 0, mode, err))
        return -1;
    if (renameat2(w->fd, temp, w->fd, name, RENAME_NOREPLACE) != 0 &&
        (errno != EINVAL || renameat(w->fd, temp, w->fd, name) != 0) && errno != EEXIST &&
        errno != ENOENT) { /* another job makes the same one: its folder is as good */
        err_set_errno(err, errno, "creating the folder %s of %s", name, w->path);
        (void)!unlinkat(w->fd, temp, AT_REMOVEDIR);
        return -1;
    }
    (void)!unlinkat(w->fd, temp, AT_REMOVEDIR); /* somebody else was faster */
    if (!file_sync_dir(w->fd, err))
        return -1;
    int fd = openat(w->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        err_set_errno(err, errno, "opening the folder %s of %s", name, w->path);
    return fd;
}

static bool follow_link(struct walk *w, const char *name, struct err **err)
{
    struct stat st;

    if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_set_errno(err, errno, "%s of %s", name, w->path);
    if (!S_ISLNK(st.st_mode))
        return err_set_errno(err, ENOTDIR, "%s of %s", name, w->path);
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        err_set(err, ERR_SYSTEM, "%s of %s is a symlink of user %u, who could point it anywhere",
                name, w->path, (unsigned)st.st_uid);
        return err_hint(err, "chown -h root it, or write the path it points to");
    }
    if (++w->links > LINKS_MAX)
        return err_set_errno(err, ELOOP, "%s", w->path);
    auto_free char *target = file_readlink(w->fd, name, err);
    if (!target)
        return false;
    if (target[0] == '/') {
        int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root < 0)
            return err_set_errno(err, errno, "/");
        close(w->fd);
        w->fd = root;
    }
    set_string(&w->rest, xasprintf("%s/%s", target, w->rest));
    return true;
}

static bool step(struct walk *w, struct err **err)
{
    size_t from = strspn(w->rest, "/"), len = strcspn(w->rest + from, "/");
    auto_free char *name = xstrndup(w->rest + from, len);

    set_string(&w->rest, xstrdup(w->rest + from + len));
    int fd = openat(w->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* ENOTDIR is what a symlink gives with both flags. */
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return follow_link(w, name, err);
    if (fd < 0 && errno == ENOENT && w->create) {
        fd = make_folder(w, name, err);
        if (fd < 0 && err && *err)
            return false;
    }
    if (fd < 0)
        return err_set_errno(err, errno, "opening the folder %s of %s", name, w->path);
    close(w->fd);
    w->fd = fd;
    return true;
}

int path_open_folder(const char *path, bool create, struct file_mode mode, struct err **err)
{
    struct walk w = {.path = path, .create = create, .mode = mode};
    bool good = true;

    if (path[0] != '/') {
        err_set(err, ERR_CONFIG, "%s is no absolute path", path);
        return -1;
    }
    w.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w.fd < 0) {
        err_set_errno(err, errno, "/");
        return -1;
    }
    w.rest = xstrdup(path);
    while (good && !is_last(&w))
        good = step(&w, err);
    free(w.rest);
    if (good)
        return w.fd;
    close(w.fd);
    return -1;
}

int path_open_parent(const char *path, bool create, const char **ret_name, struct err **err)
{
    struct file_mode mode = {.mode = 0755, .uid = FILE_KEEP_OWNER, .gid = (gid_t)-1};
    const char *slash = strrchr(path, '/');

    if (!slash || slash[1] == '\0') {
        err_set(err, ERR_CONFIG, "%s is no path of a file", path);
        return -1;
    }
    auto_free char *parent = xstrndup(path, (size_t)(slash - path) + 1);
    *ret_name = slash + 1;
    return path_open_folder(parent, create, mode, err);
}
