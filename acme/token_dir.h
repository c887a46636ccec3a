/* The directory WEBROOT/.well-known/acme-challenge/ and the token files in it. These calls block:
 * they belong on a pool thread.
 *
 * Each token file is announced by a marker ".everleaf-TOKEN" beside it that names the process
 * (host, pid and its start time), written before the token and removed after it. Markers of
 * processes that are gone are what a killed run left. Everything else in the directory is somebody
 * else's and stays. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* What our markers say; NULL when we cannot be told from other processes (no /proc). Caller frees.
 */
char *token_dir_self(void);

/* Makes the two directories below the webroot (which must exist) as needed, 0755, and the file,
 * 0644, in one step. `self` NULL: without a marker. */
NODISCARD bool token_dir_write(const char *webroot, const char *self, const char *token,
                               const char *text, struct err **err);
/* Best effort; absent is fine. */
void token_dir_remove(const char *webroot, const char *token);
/* Removes what killed runs left. */
void token_dir_clean(const char *webroot, const char *self);
