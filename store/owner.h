/* Whom the files of an output belong to: names from the configuration to numbers, and whether we
 * are allowed to give files to them. */
#pragma once

#include <stdbool.h>

#include "base/file.h"
#include "base/yaml.h"

/* User and group by name or number; NULL: stays ours. Asks the system's databases, which may block:
 * worker threads, or at start-up. */
NODISCARD bool owner_resolve(const char *user, const char *group, struct file_mode *to,
                             struct err **err);
/* For output_type.check: unknown names are errors at their keys "owner" and "group" of the node,
 * those that this process must not give files to are warnings. */
void owner_check(const char *user, const char *group, const struct yaml_node *node,
                 const char *path, struct problems *problems);
