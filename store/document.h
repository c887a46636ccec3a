/* The JSON documents of a certificate: "order", "schedule", "deploy". Every one carries "version":
 * 1 on disk. */
#pragma once

#include "base/json.h"
#include "store/save.h"

/* The newest version, even when its save is still under way. Absent: NULL and *err untouched. A
 * newer version of the format: NULL and ERR_SYSTEM. A damaged one is renamed to
 * DOCUMENT.json.damaged-TIME (not in STATE_READ), told in the log, and treated as absent. */
json_t *state_load(struct state *s, const char *certificate, const char *document,
                   struct err **err);

/* Saves of the same document are serialised in order of their start. NULL json removes. */
struct save *state_save(struct state *s, const char *certificate, const char *document,
                        const json_t *json, save_fn *fn, void *userdata);
