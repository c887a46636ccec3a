/* A CA that has paused names for an account (after years of failures) says so with a link under
 * which the operator can end it, in nothing but the text of the problem. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* The link; NULL when e is something else. Caller frees. */
char *pause_url(const struct err *e);
/* Whether the text names it, as a word. */
bool pause_names(const struct err *e, const char *name);
