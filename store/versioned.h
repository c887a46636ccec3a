/* Files that change together, as the kubelet lays them out: real files in a hidden folder, `..data`
 * pointing to it, visible names pointing through `..data`. One rename switches all of them.
 *
 *     ..everleaf-1f0c.../privkey.pem      ..data -> ..everleaf-1f0c...
 *     privkey.pem -> ..data/privkey.pem
 *
 * A reader that opens `..data` once and the files through it never sees a mixed set; the set that
 * was there before stays until the next one comes, so that it can finish. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "store/folder.h"

/* Makes it so; nothing is touched when it is already. Real files under the visible names (of the
 * plain layout, or of another tool) are never missing and never mixed with new ones on the way. A
 * link that is not ours is refused. Blocks: worker threads only. */
NODISCARD bool versioned_write(int dirfd, const struct folder_file *files, size_t n,
                               struct file_mode folder_mode, struct err **err);
/* Whether exactly these files are there in that form. */
bool versioned_has(int dirfd, const struct folder_file *files, size_t n,
                   struct file_mode folder_mode);
/* Opens the folder behind `..data` if it is one of ours and every visible name points through it.
 * -1 and err else (ENOENT: no `..data`). */
NODISCARD int versioned_open(int dirfd, const char *const *names, size_t n, struct err **err);
/* Removes `..data` and our hidden folders, after the visible names became something else. */
void versioned_remove(int dirfd);
/* The target of our link with that visible name; caller frees. */
char *versioned_link(const char *name);
