/* The state directory: opened once, locked against a second agent, with the JSON documents of
 * product.md section 5. Saves are worker jobs (atomic, fsync); loads are synchronous (start-up).
 *
 * Every document carries "version": 1. A newer version is refused (ERR_SYSTEM, hint: downgrade); a
 * damaged one is renamed to NAME.damaged-TIME, reported, and treated as absent. */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "base/worker.h"
#include "pki/key.h"

struct state;

enum state_access {
    STATE_READ, /* no lock, nothing is created or repaired */
    STATE_OWN,  /* creates what is missing, takes the lock */
};

/* STATE_OWN: another owner -> ERR_SYSTEM, code EWOULDBLOCK, text names its pid. The lock is an OFD lock
 * on STATE_DIR/lock; it dies with the process and its content is never trusted for more than the text.
 * Refuses a directory that is group- or world-writable or owned by somebody else (root may open it:
 * files are then created as the directory's owner). Left-over temporary files are removed. */
NODISCARD struct state *state_open(const char *dir, enum state_access access, struct worker *w,
                                   struct err **err);
void state_free(struct state *s);
const char *state_path(const struct state *s);
uid_t state_owner(const struct state *s);
gid_t state_group(const struct state *s);
int state_dirfd(const struct state *s);
struct worker *state_worker(const struct state *s);

/* Directory certificates/NAME (created on demand in STATE_OWN); -1 when absent or on error. Close it. */
NODISCARD int state_certificate_dir(struct state *s, const char *certificate, bool create,
                                    struct err **err);

/* Documents of a certificate: "order", "schedule", "deploy". Absent: NULL and *err untouched. */
json_t *state_load(struct state *s, const char *certificate, const char *document, struct err **err);

/* A save under way. `fn` gets NULL or the error. Saves of the same document are serialised in order of
 * their start; freeing the handle forgets the callback, the write still happens. NULL json removes. */
struct save;
typedef void save_fn(const struct err *e, void *userdata);
struct save *state_save(struct state *s, const char *certificate, const char *document,
                        const json_t *json, save_fn *fn, void *userdata);
void save_free(struct save *s);

/* The key of the order under way: certificates/NAME/order-key.pem, 0600, kept until it is in a
 * generation. A second type of a pair has its type's name as `slot`; NULL: "order-key". */
struct save *state_save_order_key(struct state *s, const char *certificate, const struct key *key,
                                  save_fn *fn, void *userdata);
struct key *state_load_order_key(struct state *s, const char *certificate, struct err **err);

/* history.jsonl: one line appended (fsync is not awaited), cut to the newest 500 lines now and then. */
void state_history_add(struct state *s, const char *certificate, const char *event,
                       const char *attempt, const char *text);
/* [{"at","event","attempt","text"}], oldest first; never NULL. */
json_t *state_history(struct state *s, const char *certificate);

/* Accounts, keyed by directory URL: accounts/HOST-HASH16/{key.pem,account.json}. */
struct account_record {
    struct key *key;   /* NULL: none yet */
    json_t *json;      /* NULL: key without a known account (registration may have reached the CA) */
};
NODISCARD bool state_load_account(struct state *s, const char *directory_url,
                                  struct account_record *ret, struct err **err);
void account_record_done(struct account_record *a);
struct save *state_save_account_key(struct state *s, const char *directory_url, const struct key *key,
                                    save_fn *fn, void *userdata);
struct save *state_save_account(struct state *s, const char *directory_url, const json_t *json,
                                save_fn *fn, void *userdata);
