/* Opening: find or make the directory, look who else may write in it, lock, make what is missing,
 * sweep what a killed process left. Nothing is changed before the lock is held, except that the
 * directory itself may appear. */
#include "store/state.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/certificate_name.h"
#include "store/folder.h"
#include "store/state_private.h"

/* Life -------------------------------------------------------------------------------------- */

struct state *state_ref(struct state *s)
{
    s->refs++;
    return s;
}

void state_unref(struct state *s)
{
    if (--s->refs > 0)
        return;
    if (s->dirfd >= 0)
        close(s->dirfd);
    if (s->lockfd >= 0) /* ends the lock */
        close(s->lockfd);
    map_free(s->lanes, free);
    free(s->path);
    free(s);
}

/* Whose directory --------------------------------------------------------------------------- */

static bool read_facts(struct state *s, struct err **err)
{
    struct stat st;

    if (fstat(s->dirfd, &st) != 0)
        return err_set_errno(err, errno, "%s", s->path);
    s->owner = st.st_uid;
    s->group = st.st_gid;
    s->device = st.st_dev;
    s->inode = st.st_ino;
    s->shared = (st.st_mode & 0077) == 0050;
    s->for_other = s->owner != geteuid();
    if (st.st_mode & 0022) {
        err_set(err, ERR_SYSTEM, "the state directory %s may be written by others (mode %04o)",
                s->path, (unsigned)(st.st_mode & 07777));
        return err_hint(err,
                        "chmod 0700 %s (or 0750 for servers of its group), after a look at what is "
                        "in it",
                        s->path);
    }
    if (s->access == STATE_OWN && s->owner != geteuid() && geteuid() != 0) {
        err_set(err, ERR_SYSTEM,
                "the state directory %s belongs to user %u, but this process is user %u", s->path,
                (unsigned)s->owner, (unsigned)geteuid());
        return err_hint(err, "run as its owner or as root, or chown -R %u %s", (unsigned)geteuid(),
                        s->path);
    }
    return true;
}

/* The directory itself is private, those above it are as usual. */
static int make_directory(const char *path, struct err **err)
{
    auto_free char *parent = xstrdup(path);
    char *name = strrchr(parent, '/');

    if (!name)
        return file_open_dir(AT_FDCWD, path, true, 0700, err);
    *name++ = '\0';
    auto_close int fd = file_make_path(parent[0] ? parent : "/", 0755, err);
    return fd < 0 ? -1 : file_open_dir(fd, name, true, 0700, err);
}

static bool open_directory(struct state *s, struct err **err)
{
    s->dirfd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0 && errno == ENOENT && s->access == STATE_OWN) {
        s->dirfd = make_directory(s->path, err);
        return s->dirfd >= 0 || err_wrap(err, "creating the state directory %s", s->path);
    }
    if (s->dirfd < 0)
        return err_set_errno(err, errno, "opening the state directory %s", s->path);
    return true;
}

bool state_check_place(const struct state *s, struct err **err)
{
    struct stat st;

    if (stat(s->path, &st) != 0)
        err_set_errno(err, errno, "the state directory %s is gone", s->path);
    else if (st.st_dev != s->device || st.st_ino != s->inode)
        err_set(err, ERR_SYSTEM, "the state directory %s was replaced while running", s->path);
    else
        return true;
    return err_hint(err, "put it back, or restart the agent");
}

/* The lock ---------------------------------------------------------------------------------- */

/* For people only: the lock is what counts, whatever stands in the file. */
static long lock_holder(int fd)
{
    char text[16] = "";
    long pid = 0;

    if (pread(fd, text, sizeof text - 1, 0) <= 0)
        return 0;
    for (const char *at = text; *at >= '0' && *at <= '9'; at++)
        pid = pid * 10 + (*at - '0');
    return pid;
}

static int open_lock(const struct state *s, struct err **err)
{
    auto_close int fd =
        openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set_errno(err, errno, "opening %s/lock", s->path);
        return -1;
    }
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1) { /* a second name may be somebody else's file */
        err_set(err, ERR_SYSTEM, "%s/lock is no regular file of its own", s->path);
        return -1;
    }
    if (st.st_uid != s->owner && fchown(fd, s->owner, s->group) != 0) {
        err_set_errno(err, errno, "setting the owner of %s/lock", s->path);
        return -1;
    }
    int opened = fd;
    fd = -1;
    return opened;
}

static bool lock_failed(const struct state *s, int fd, int errnum, struct err **err)
{
    if (errnum != EAGAIN && errnum != EACCES)
        return err_set_errno(err, errnum, "locking %s/lock", s->path);

    long pid = lock_holder(fd);
    if (pid > 0)
        err_set_errno(err, EWOULDBLOCK, "the state directory %s is in use by process %ld", s->path,
                      pid);
    else
        err_set_errno(err, EWOULDBLOCK, "the state directory %s is in use by another process",
                      s->path);
    return err_hint(err,
                    "one agent works on a state directory at a time; stop the other one, or ask it "
                    "through its control socket");
}

static bool take_lock(struct state *s, struct err **err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char text[16];

    s->lockfd = open_lock(s, err);
    if (s->lockfd < 0)
        return false;
    while (fcntl(s->lockfd, F_OFD_SETLK, &lock) != 0) {
        if (errno != EINTR)
            return lock_failed(s, s->lockfd, errno, err);
    }
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(s->lockfd, 0) != 0 || pwrite(s->lockfd, text, (size_t)len, 0) != len)
        errno = 0; /* a full disk must not keep the agent from running */
    return true;
}

/* What is in it ----------------------------------------------------------------------------- */

static bool make_folders(const struct state *s, struct err **err)
{
    static const struct {
        const char *name;
        enum state_reader reader;
    } folders[] = {
        {"accounts", STATE_PRIVATE}, {"certificates", STATE_SHARED}, {"live", STATE_SHARED}};

    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        auto_close int fd =
            state_folder(s, s->dirfd, folders[i].name, folders[i].reader, true, err);
        if (fd < 0)
            return false;
    }
    return true;
}

/* What is below certificates/NAME is swept when it is visited first (generation_list): ten thousand
 * of them would be a tenth of a second here. */
static void sweep_below(const struct state *s, const char *name, bool below_too)
{
    auto_close int fd = folder_open(s->dirfd, name, NULL);
    auto_strv struct strv names = {0};

    if (fd < 0)
        return;
    state_sweep(fd);
    if (!below_too || !file_list(fd, &names, NULL))
        return;
    for (size_t i = 0; i < names.n; i++) {
        auto_close int below = folder_open(fd, names.items[i], NULL);
        if (below >= 0)
            state_sweep(below);
    }
}

static bool take_possession(struct state *s, struct err **err)
{
    if (!take_lock(s, err) || !make_folders(s, err))
        return false;
    file_remove_temps(s->dirfd); /* not everything hidden: it may be the root of a file system */
    sweep_below(s, "live", false);
    sweep_below(s, "accounts", true);
    sweep_below(s, "certificates", false);
    return true;
}

/* Public ------------------------------------------------------------------------------------ */

struct state *state_open(const char *dir, enum state_access access, struct worker *w,
                         struct err **err)
{
    struct state *s = xcalloc(1, sizeof *s);

    s->refs = 1;
    s->path = xstrdup(dir);
    for (size_t len = strlen(s->path); len > 1 && s->path[len - 1] == '/'; len--)
        s->path[len - 1] = '\0';
    s->dirfd = s->lockfd = -1;
    s->access = access;
    s->worker = w;
    s->lanes = map_new();
    if (open_directory(s, err) && read_facts(s, err) &&
        (access == STATE_READ || take_possession(s, err)))
        return s;
    state_unref(s);
    return NULL;
}

void state_free(struct state *s)
{
    if (s)
        state_unref(s);
}

const char *state_path(const struct state *s)
{
    return s->path;
}

uid_t state_owner(const struct state *s)
{
    return s->owner;
}

gid_t state_group(const struct state *s)
{
    return s->group;
}

int state_dirfd(const struct state *s)
{
    return s->dirfd;
}

struct worker *state_worker(const struct state *s)
{
    return s->worker;
}

int state_certificate_dir(struct state *s, const char *certificate, bool create, struct err **err)
{
    if (!certificate_name_is_valid(certificate)) {
        err_set(err, ERR_BUG, "\"%s\" is no name of a certificate", certificate);
        return -1;
    }
    auto_close int fd = state_folder(s, s->dirfd, "certificates", STATE_SHARED, create, err);
    return fd < 0 ? -1 : state_folder(s, fd, certificate, STATE_SHARED, create, err);
}
