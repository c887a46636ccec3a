/* JSON documents wherever they are in the state, for the files of store/ only. */
#pragma once

#include "store/document.h"
#include "store/stored_file.h"

#define DOCUMENT_VERSION 1

/* As state_load and state_save. */
json_t *document_load(struct state *s, const struct stored_file *f, struct err **err);
struct save *document_save(struct state *s, const struct stored_file *f, const json_t *json,
                           save_fn *fn, void *userdata);
