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
/* Opens a folder without following a symlink. -1 on error. */
NODISCARD int folder_open(int dirfd, const char *name, struct err **err);

/* Adds what it takes to give files away, when that is what failed. Returns false. */
bool folder_owner_hint(struct err **err);
