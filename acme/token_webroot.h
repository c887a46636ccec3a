/* http-01 through another server's document root: token files (acme/token_dir.h) as worker jobs. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/worker.h"

struct token_webroot;
/* Starts to remove what killed runs left. The directory may be absent until a token comes. */
struct token_webroot *token_webroot_new(struct worker *w, const char *path);
void token_webroot_free(struct token_webroot *r);

/* A token file: written by start, removed by free (also while it is being written). The handle
 * lives until it is freed; fn is called once, on a later turn. */
struct token_file;
typedef void token_file_fn(const struct err *e, void *userdata);
struct token_file *token_file_start(struct token_webroot *r, const char *token, const char *text,
                                    token_file_fn *fn, void *userdata);
void token_file_free(struct token_file *f);
