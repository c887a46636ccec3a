#include "store/versioned.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA     "..data"
#define PREFIX   "..everleaf-"
#define FILE_MAX (2 * 1024 * 1024) /* of a file that is taken over */

/* What is there ------------------------------------------------------------------------------- */

char *versioned_link(const char *name)
{
    return xasprintf(DATA "/%s", name);
}

static bool is_our_folder(const char *name)
{
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && !strchr(name, '/');
}

/* The hidden folder in use; NULL when there is none (err: ENOENT) or `..data` is not ours. */
static char *current_folder(int dirfd, struct err **err)
{
    auto_free char *target = file_readlink(dirfd, DATA, err);

    if (target && is_our_folder(target))
        return take(target);
    if (target) {
        err_set(err, ERR_SYSTEM, DATA " points to %s, which we have not made", target);
        err_hint(err, "another program keeps files here; write to another folder");
    }
    return NULL;
}

static bool is_linked(int dirfd, const char *name)
{
    auto_free char *want = versioned_link(name);
    auto_free char *have = file_readlink(dirfd, name, NULL);

    return have && strcmp(have, want) == 0;
}

static bool all_linked(int dirfd, const char *const *names, size_t n, struct err **err)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_linked(dirfd, names[i]))
            return err_set(err, ERR_SYSTEM, "%s does not point through " DATA, names[i]);
    }
    return true;
}

int versioned_open(int dirfd, const char *const *names, size_t n, struct err **err)
{
    auto_free char *folder = current_folder(dirfd, err);

    if (!folder || !all_linked(dirfd, names, n, err))
        return -1;
    return folder_open(dirfd, folder, err);
}

static bool folder_is_whole(int dirfd, const char *folder, const struct folder_file *files,
                            size_t n, struct file_mode mode)
{
    auto_close int fd = folder_open(dirfd, folder, NULL);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || (st.st_mode & 07777) != mode.mode ||
        (mode.uid != FILE_KEEP_OWNER && mode.uid != st.st_uid) ||
        (mode.gid != (gid_t)-1 && mode.gid != st.st_gid))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!folder_has(fd, &files[i]))
            return false;
    }
    return true;
}

bool versioned_has(int dirfd, const struct folder_file *files, size_t n,
                   struct file_mode folder_mode)
{
    auto_free char *folder = current_folder(dirfd, NULL);

    if (!folder || !folder_is_whole(dirfd, folder, files, n, folder_mode))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!is_linked(dirfd, files[i].name))
            return false;
    }
    return true;
}

static bool may_write(int dirfd, const struct folder_file *files, size_t n, struct err **err)
{
    auto_err struct err *e = NULL;
    auto_free char *folder = current_folder(dirfd, &e);

    if (!folder && !err_is_absent(e))
        return err_move(err, &e);
    for (size_t i = 0; i < n; i++) {
        auto_free char *link = versioned_link(files[i].name);
        if (!folder_may_replace(dirfd, files[i].name, link, err))
            return false;
    }
    return true;
}

/* Taking over real files ---------------------------------------------------------------------- */

static bool is_regular(int dirfd, const char *name)
{
    struct stat st;

    return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
}

/* What is visible now, copied into a folder of ours with `..data` pointing to it: from then on each
 * name can become a link without a change of what is read through it. */
static bool adopt(int dirfd, const struct folder_file *files, size_t n, struct file_mode mode,
                  struct err **err)
{
    auto_free struct folder_file *found = xcalloc(n, sizeof *found);
    auto_free struct buf *texts = xcalloc(n, sizeof *texts);
    auto_free char *folder = folder_random_name(PREFIX);
    size_t n_found = 0;
    bool good = true;

    for (size_t i = 0; good && i < n; i++) {
        if (!is_regular(dirfd, files[i].name))
            continue;
        struct buf *text = &texts[n_found];
        buf_init(text, FILE_MAX);
        text->wipe = true;
        good = file_read(dirfd, files[i].name, FILE_MAX, false, text, err);
        found[n_found++] =
            (struct folder_file){files[i].name, text->data, text->len, files[i].mode};
    }
    if (good && n_found > 0)
        good = folder_write(dirfd, folder, found, n_found, mode, err) &&
               file_sync_dir(dirfd, err) && folder_link(dirfd, folder, DATA, mode, err);
    for (size_t i = 0; i < n_found; i++)
        buf_done(&texts[i]);
    return good;
}

/* Real files that say the same as the file behind `..data` become links. */
static bool link_equal(int dirfd, const char *folder, const struct folder_file *files, size_t n,
                       struct file_mode mode, struct err **err)
{
    auto_close int fd = folder_open(dirfd, folder, NULL);

    for (size_t i = 0; fd >= 0 && i < n; i++) {
        const char *name = files[i].name;
        auto_free char *link = versioned_link(name);
        auto_buf struct buf visible = {0}, hidden = {0};
        buf_init(&visible, FILE_MAX);
        buf_init(&hidden, FILE_MAX);
        visible.wipe = hidden.wipe = true;
        if (!is_regular(dirfd, name) || !file_read(dirfd, name, FILE_MAX, false, &visible, NULL) ||
            !file_read(fd, name, FILE_MAX, false, &hidden, NULL) || visible.len != hidden.len ||
            memcmp(visible.data, hidden.data, hidden.len) != 0)
            continue;
        if (!folder_link(dirfd, link, name, mode, err))
            return false;
    }
    return true;
}

/* Writing ------------------------------------------------------------------------------------- */

static bool link_all(int dirfd, const struct folder_file *files, size_t n, struct file_mode mode,
                     struct err **err)
{
    for (size_t i = 0; i < n; i++) {
        auto_free char *link = versioned_link(files[i].name);
        if (!is_linked(dirfd, files[i].name) && !folder_link(dirfd, link, files[i].name, mode, err))
            return false;
    }
    return true;
}

/* Our hidden folders but those two, and what a killed writer left. */
static void sweep(int dirfd, const struct folder_file *files, size_t n, const char *keep,
                  const char *keep_too)
{
    auto_strv struct strv names = {0};
    auto_free const char **targets = xcalloc(n + 1, sizeof *targets);

    targets[0] = DATA;
    for (size_t i = 0; i < n; i++)
        targets[i + 1] = files[i].name;
    folder_sweep(dirfd, targets, n + 1);
    if (!file_list(dirfd, &names, NULL))
        return;
    for (size_t i = 0; i < names.n; i++) {
        const char *name = names.items[i];
        if (is_our_folder(name) && (!keep || strcmp(name, keep) != 0) &&
            (!keep_too || strcmp(name, keep_too) != 0))
            (void)!file_remove(dirfd, name, NULL);
    }
}

/* The folder to be in use: the current one if it is right, else a new one, durable. */
static char *whole_folder(int dirfd, const char *current, const struct folder_file *files, size_t n,
                          struct file_mode mode, struct err **err)
{
    if (current && folder_is_whole(dirfd, current, files, n, mode))
        return xstrdup(current);
    auto_free char *folder = folder_random_name(PREFIX);
    if (!folder_write(dirfd, folder, files, n, mode, err))
        return NULL;
    if (file_sync_dir(dirfd, err)) /* before anything points to it */
        return take(folder);
    (void)!file_remove(dirfd, folder, NULL);
    return NULL;
}

bool versioned_write(int dirfd, const struct folder_file *files, size_t n,
                     struct file_mode folder_mode, struct err **err)
{
    if (versioned_has(dirfd, files, n, folder_mode))
        return true;
    if (!may_write(dirfd, files, n, err))
        return false;

    auto_free char *old = current_folder(dirfd, NULL);
    if (!old) {
        if (!adopt(dirfd, files, n, folder_mode, err))
            return false;
        old = current_folder(dirfd, NULL);
    }
    if (old && !link_equal(dirfd, old, files, n, folder_mode, err))
        return false;

    auto_free char *folder = whole_folder(dirfd, old, files, n, folder_mode, err);
    if (!folder)
        return false;
    bool same = old && strcmp(folder, old) == 0;
    if (!same && !folder_link(dirfd, folder, DATA, folder_mode, err)) {
        (void)!file_remove(dirfd, folder, NULL);
        return false;
    }
    if (!link_all(dirfd, files, n, folder_mode, err) || !file_sync_dir(dirfd, err))
        return false;
    sweep(dirfd, files, n, folder, old);
    return true;
}

void versioned_remove(int dirfd)
{
    auto_free char *folder = current_folder(dirfd, NULL);

    if (folder && unlinkat(dirfd, DATA, 0) != 0)
        return;
    sweep(dirfd, NULL, 0, NULL, NULL);
}
