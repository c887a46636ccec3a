/* A folder of files that is made whole under a hidden name, and only then gets the name readers
 * know (by rename, or by a symlink switched to it). kill -9 before that leaves a hidden folder
 * which the next writer removes; nobody reads it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/file.h"

struct folder_file {
    const char *name;
    const void *data;
    size_t len;
    struct file_mode mode;
};

/* Makes the folder `name` (which must not exist) with its files, owners and modes. The files are
 * written first and then synced together; the folder itself is synced, its parent is the caller's
 * to sync. Nothing is left on failure. Blocks: worker threads only. */
NODISCARD bool folder_write(int dirfd, const char *name, const struct folder_file *files, size_t n,
                            struct file_mode mode, struct err **err);
/* PREFIX and 16 random hex digits: no name that anybody could have prepared. Caller frees. */
char *folder_random_name(const char *prefix);
/* Whether exactly this file is there: a regular one with that content, mode and (where given)
 * owner. */
bool folder_has(int dirfd, const struct folder_file *f);
/* A symlink name -> target with the owner of `mode`, in place of what has that name (no folder).
 * Not synced. */
NODISCARD bool folder_link(int dirfd, const char *target, const char *name, struct file_mode mode,
                           struct err **err);
/* Replaces files in a folder of anybody's: all are written and synced under hidden random names
 * first, then renamed in the given order, then the folder is synced. Failing before the first
 * rename changes nothing. Symlinks are replaced, not followed. Removes what a killed writer of the
 * same names left. */
NODISCARD bool folder_replace(int dirfd, const struct folder_file *files, size_t n,
                              struct err **err);
/* Removes temporary files and links for these names that a killed writer left. */
void folder_sweep(int dirfd, const char *const *names, size_t n);
/* Whether `name` may be replaced by us: absent, a regular file, or a symlink to exactly `link`
 * (NULL: no symlink at all). Somebody else's link is a decision of his. */
NODISCARD bool folder_may_replace(int dirfd, const char *name, const char *link, struct err **err);
/* Opens a folder without following a symlink. -1 on error. */
NODISCARD int folder_open(int dirfd, const char *name, struct err **err);

/* Adds what it takes to give files away, when that is what failed. Returns false. */
bool folder_owner_hint(struct err **err);
