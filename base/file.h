/* Files so that a crash at any instant leaves the old or the new, never a mix. All paths are
 * relative to a directory descriptor where one is given (AT_FDCWD allowed); nothing here follows a
 * symlink in the last component unless it says so. These calls block: on the loop only at start-up
 * and for reads of small local files; writes belong into worker tasks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/strv.h"

#define FILE_KEEP_OWNER ((uid_t)-1)

struct file_mode {
    mode_t mode;
    uid_t uid; /* FILE_KEEP_OWNER: leave */
    gid_t gid; /* (gid_t)-1: leave */
};

/* Temporary file (O_EXCL, random hidden name ".NAME.XXXXXX") in the same directory, owner and mode
 * set before it becomes visible, fsync, rename, fsync of the directory. */
NODISCARD bool file_write(int dirfd, const char *name, const void *data, size_t len,
                          struct file_mode mode, struct err **err);
/* Creates a file that must not exist yet (O_EXCL), fsync; for fresh directories, which the caller
 * syncs. */
NODISCARD bool file_create(int dirfd, const char *name, const void *data, size_t len,
                           struct file_mode mode, struct err **err);
/* Reads at most max bytes (more: ERR_SYSTEM); `follow`: a symlink may be followed. Only regular
 * files. `ret` is initialised or {0}; it is emptied, keeps `wipe`, and its maximum becomes max. */
NODISCARD bool file_read(int dirfd, const char *name, size_t max, bool follow, struct buf *ret,
                         struct err **err);
/* Whether it failed because the file is not there: e->code == ENOENT. */
bool err_is_absent(const struct err *e);

/* A symlink name -> target, replaced by rename; fsync of the directory. */
NODISCARD bool file_symlink(int dirfd, const char *target, const char *name, struct err **err);
/* Target of a symlink, new string; NULL and err when it is none. */
NODISCARD char *file_readlink(int dirfd, const char *name, struct err **err);
/* With `create` mkdir first (an existing directory is fine and keeps its mode; a new one gets
 * exactly `mode` and is durable), then open O_DIRECTORY|O_NOFOLLOW. -1 on error. */
NODISCARD int file_open_dir(int dirfd, const char *name, bool create, mode_t mode,
                            struct err **err);
/* mkdir -p of an absolute or relative path (symlinks followed in it), then open. Modes as above. */
NODISCARD int file_make_path(const char *path, mode_t mode, struct err **err);
/* fsync; fine on file systems that have none for directories. */
NODISCARD bool file_sync_dir(int dirfd, struct err **err);
/* Not durable before file_sync_dir(). */
NODISCARD bool file_rename(int dirfd, const char *from, const char *to, struct err **err);
/* Removes a file or a tree; absent is fine. Symlinks are removed, not followed. */
NODISCARD bool file_remove(int dirfd, const char *name, struct err **err);
/* Names in a directory, sorted, without "." and "..". */
NODISCARD bool file_list(int dirfd, struct strv *ret, struct err **err);
/* Removes left-over temporary files (".NAME.XXXXXX" of file_write) of a directory; errors are
 * ignored. Nothing else is taken: the suffix has digits and capitals in turn. */
void file_remove_temps(int dirfd);
