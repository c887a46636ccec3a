/* Generations of a certificate: certificates/NAME/generations/000012/ with privkey.pem cert.pem
 * chain.pem fullchain.pem nginx-stapling.conf bundle.json; made whole in a hidden folder, then
 * renamed. `live` is a symlink to one of them, switched by rename; STATE_DIR/live/NAME ->
 * ../certificates/NAME/live is made with it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "pki/cert.h"
#include "store/bundle.h"
#include "store/state.h"

/* References are counted on the loop only; all else never changes, so that jobs may read it. */
struct generation {
    unsigned refs;
    int64_t number;
    struct chain *chain;
    struct key *key;
    struct secret *key_pem;
    json_t *info; /* bundle.json: version, number, sha256, serial, names, not_before, not_after,
                     issuer_cn, issuer (as configured), directory, account, key_type, created_at,
                     attempt, ari_id, digest (of the files) */
};
struct generation *generation_ref(struct generation *g);
void generation_unref(struct generation *g);               /* NULL is fine */
const char *generation_sha256(const struct generation *g); /* of the leaf, hex */

/* Numbers present, ascending, by the names of the folders only: whether one is whole is found when
 * it is loaded. `live` 0 when there is no live link to one of them. Also removes what a killed
 * process left in the certificate's folders: call it once at the start. */
struct generation_list {
    int64_t *numbers;
    size_t n;
    int64_t live;
};
NODISCARD bool generation_list(struct state *s, const char *certificate,
                               struct generation_list *ret, struct err **err);
void generation_list_done(struct generation_list *l);
/* Loads and checks one (files complete and ours, key matches leaf, chain links). */
NODISCARD struct generation *generation_load(struct state *s, const char *certificate,
                                             int64_t number, struct err **err);

/* What is known of a generation without keeping or parsing its key and certificates: some 100
 * octets and 50 microseconds instead of kilobytes and a millisecond. All its files are there and
 * are, by their digest, those that were checked when they were written. */
struct generation_facts {
    int64_t number;
    char *sha256, *serial, *issuer_cn, *key_type; /* of the leaf; as in struct cert */
    struct strv names;
    time_t not_before, not_after, created_at;
    char *issuer, *directory; /* where it came from */
    char *account;            /* who ordered it: a URL, or NULL */
    char *ari_id;             /* or NULL */
};
/* ret_bundle (may be NULL): the files, for output_type.holds; initialised here, empty on failure.
 */
NODISCARD bool generation_facts(struct state *s, const char *certificate, int64_t number,
                                struct generation_facts *ret, struct bundle *ret_bundle,
                                struct err **err);
void generation_facts_done(struct generation_facts *f);
/* Both of the above in one visit, for a start with thousands of certificates: the list, and the
 * facts of the live one (number 0 when there is none, or, with a text in ret_damage, no good one).
 */
NODISCARD bool generation_survey(struct state *s, const char *certificate,
                                 struct generation_list *ret, struct generation_facts *ret_live,
                                 struct bundle *ret_bundle, struct err **ret_damage,
                                 struct err **err);

/* Writes a new generation with the next number (never reusing one: the newest is never pruned). fn
 * gets the generation (a reference of its own) or e. Freeing the handle only forgets the callback.
 */
struct generation_job;
typedef void generation_fn(struct generation *g, const struct err *e, void *userdata);
struct generation_job *generation_write(struct state *s, const char *certificate,
                                        const struct chain *chain, const struct key *key,
                                        const json_t *info, generation_fn *fn, void *userdata);
void generation_job_free(struct generation_job *j);

/* Switches `live` (symlink by rename, fsync) in a worker. */
struct save *generation_switch(struct state *s, const char *certificate, int64_t number,
                               save_fn *fn, void *userdata);
/* Removes all but the newest `keep`, the live one, and those listed in `in_use`. */
struct save *generation_prune(struct state *s, const char *certificate, size_t keep,
                              const int64_t *in_use, size_t n_in_use, save_fn *fn, void *userdata);
/* The path a server is given: STATE_DIR/live/NAME. Caller frees. */
char *generation_live_path(const struct state *s, const char *certificate);
