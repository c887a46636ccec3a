/* Users of this machine. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* By name or number. Asks NSS, which may block where users come from a network. */
NODISCARD bool user_find(const char *name, uid_t *ret, struct err **err);
