/* Generations of a certificate: certificates/NAME/generations/000012/ with privkey.pem cert.pem
 * chain.pem fullchain.pem nginx-stapling.conf bundle.json; made whole in a hidden folder, then
 * renamed. `live` is a symlink to one of them, switched by rename; STATE_DIR/live/NAME ->
 * ../certificates/NAME/live is made once. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pki/cert.h"
#include "store/state.h"

struct generation {
    int64_t number;
    struct chain *chain;
    struct key *key;
    struct secret *key_pem;
    json_t *info; /* bundle.json: number, sha256, serial, names, not_before, not_after, issuer (as
                     configured), directory, key_type, created_at, attempt, ari_id */
};
struct generation *generation_ref(struct generation *g);
void generation_unref(struct generation *g);
const char *generation_sha256(const struct generation *g); /* of the leaf, hex */

/* Numbers present, ascending; `live` 0 when there is no valid live link. Damaged folders (torn, key
 * does not match, unreadable) are not listed; a message about each is added to `damaged` (may be
 * NULL). */
struct generation_list {
    int64_t *numbers;
    size_t n;
    int64_t live;
};
NODISCARD bool generation_list(struct state *s, const char *certificate,
                               struct generation_list *ret, struct err **err);
void generation_list_done(struct generation_list *l);
/* Loads and checks one (files complete, key matches leaf). */
NODISCARD struct generation *generation_load(struct state *s, const char *certificate,
                                             int64_t number, struct err **err);

/* Writes a new generation with the next number (never reusing one; the number survives pruning in
 * bundle.json of the newest). fn gets the generation (a reference of its own) or e. */
struct generation_job;
typedef void generation_fn(struct generation *g, const struct err *e, void *userdata);
struct generation_job *generation_write(struct state *s, const char *certificate,
                                        const struct chain *chain, const struct key *key,
                                        const json_t *info, generation_fn *fn, void *userdata);
void generation_job_free(struct generation_job *j);

/* Switches `live` (symlink by rename, fsync) in a worker; then prunes to the newest `keep` besides
 * those listed in `in_use`. */
struct save *generation_switch(struct state *s, const char *certificate, int64_t number,
                               save_fn *fn, void *userdata);
struct save *generation_prune(struct state *s, const char *certificate, size_t keep,
                              const int64_t *in_use, size_t n_in_use, save_fn *fn, void *userdata);
/* The path a server is given: STATE_DIR/live/NAME. Caller frees. */
char *generation_live_path(const struct state *s, const char *certificate);
