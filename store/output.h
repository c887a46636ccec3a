/* A place where a generation is written in some form. One file per type in store/outputs/. The
 * generation folder itself (`live`) is not an output of this kind. */
#pragma once

#include <stdbool.h>

#include "base/schema.h"
#include "store/generation.h"

/* A configured output of one certificate. */
struct output {
    const struct output_type *type;
    char *where;    /* "file:line:column" or NULL */
    void *settings; /* the type's own struct */
    char *path;     /* identifies it in status; the first of the type's paths() */
};

struct output_type {
    const char *name; /* "files" */
    const char *help;
    size_t settings_size;
    const struct field *fields; /* without FIELD_CUSTOM that owns memory: settings are copied */
    /* Cross-field checks; reports at node. May be NULL. */
    void (*check)(void *settings, const struct yaml_node *node, const char *path,
                  struct problems *problems);
    /* Every path it writes (for conflict checks); the first is the output's `path`. */
    void (*paths)(const void *settings, struct strv *ret);
    /* Writes the generation whole or not at all. Runs on a worker thread; blocking is fine.
     * Idempotent: what is already there in the right form, owner and mode is left untouched (no new
     * mtime). */
    NODISCARD bool (*write)(const void *settings, const struct bundle *b, struct err **err);
    /* Whether write() would have nothing to do. Compares only: cheap enough for start-up. */
    bool (*holds)(const void *settings, const struct bundle *b);
    /* SHA-256 (hex) of the leaf that is there now, whole and readable with its key; NULL and err
     * (ENOENT: nothing there). Runs on a worker thread or at start-up. Caller frees. */
    char *(*current)(const void *settings, struct err **err);
};

extern const struct output_type *const output_type_all[];
const struct output_type *output_type_find(const char *name);
void output_done(struct output *o); /* frees settings by the type's fields */

/* write() on the worker, with that staple (NULL or empty: none). It has copies of all it needs:
 * once started it is carried out, whatever becomes of the output or the handle. */
struct output_job;
struct output_job *output_write(struct worker *w, const struct output *o, struct generation *g,
                                const struct buf *staple, save_fn *fn, void *userdata);
void output_job_free(struct output_job *j);
