/* The state directory: opened once, locked against a second agent. Saves are worker jobs (atomic,
 * fsync); loads are synchronous (start-up). What is in it: store/document.h, store/order_key.h,
 * store/account_record.h, store/history.h (all offered here) and store/generation.h.
 *
 *     0700, or 0750 when servers of its group may read certificates and keys; the folders on the
 * way to them are then 0750 and their files 0640 with that group, everything else stays 0600. Any
 *     other mode (0755: what mkdir makes when nobody thought about it) gives nobody else access. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/worker.h"
#include "store/account_record.h"
#include "store/document.h"
#include "store/history.h"
#include "store/order_key.h"
#include "store/save.h"

struct state;

enum state_access {
    STATE_READ, /* no lock, nothing is created or repaired */
    STATE_OWN,  /* creates what is missing, takes the lock */
};

/* STATE_OWN: another owner -> ERR_SYSTEM, code EWOULDBLOCK, text names its pid. The lock is an OFD
 * lock on STATE_DIR/lock; it dies with the process and its content is never trusted for more than
 * the text. Refuses a directory that is group- or world-writable or owned by somebody else (root
 * may open it: files are then created as the directory's owner). Left-over temporary files are
 * removed. `w` may be NULL for STATE_READ. */
NODISCARD struct state *state_open(const char *dir, enum state_access access, struct worker *w,
                                   struct err **err);
/* Saves under way are still carried out; the lock is held until the last of them is over. */
void state_free(struct state *s);
const char *state_path(const struct state *s);
uid_t state_owner(const struct state *s);
gid_t state_group(const struct state *s);
int state_dirfd(const struct state *s);
struct worker *state_worker(const struct state *s);

/* Directory certificates/NAME (created on demand in STATE_OWN); -1 when absent (err_is_absent) or
 * on error. Close it. */
NODISCARD int state_certificate_dir(struct state *s, const char *certificate, bool create,
                                    struct err **err);
