/* Folders outside the state directory, by paths from the configuration. Somebody else may be able
 * to write in one of them: a symlink on the way is followed only when root or we have made it. */
#pragma once

#include <stdbool.h>

#include "base/file.h"

/* Opens an absolute path as a folder. `create`: missing folders are made and synced, those on the
 * way with 0755, the last one with `mode`; one that is there stays as it is. -1 on error (ENOENT:
 * absent). Blocks: worker threads, or at start-up. */
NODISCARD int path_open_folder(const char *path, bool create, struct file_mode mode,
                               struct err **err);
/* The folder of a file, as above (mode 0755), and the file's name in it (points into path). */
NODISCARD int path_open_parent(const char *path, bool create, const char **ret_name,
                               struct err **err);
