/* A single file of the state (a document or a key): where it is, and how it is loaded, saved,
 * removed. For the files of store/ only. */
#pragma once

#include "store/state_private.h"

#define STORED_FILE_MAX (4 * 1024 * 1024) /* what we read; far more than we write */

struct stored_file {
    const char *folder; /* "certificates", "accounts" */
    const char *owner;  /* the folder in it: the certificate's or the account's */
    const char *name;   /* "order.json" */
};

enum stored_result {
    STORED_FAILED, /* err is set */
    STORED_ABSENT, /* err is untouched */
    STORED_FOUND,
};
/* The newest content, even when its save is still under way. `ret` is initialised here (buf_done).
 */
NODISCARD enum stored_result stored_file_load(struct state *s, const struct stored_file *f,
                                              struct buf *ret, struct err **err);
/* content: moved here; NULL removes the file. */
struct save *stored_file_save(struct state *s, const struct stored_file *f, struct secret *content,
                              save_fn *fn, void *userdata);
/* See state_set_aside. */
void stored_file_set_aside(struct state *s, const struct stored_file *f, const struct err *why);
