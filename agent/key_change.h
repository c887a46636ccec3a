/* Another key for an account, with what must be on disk at each step (acme/rollover.h): the new key
 * is pending in accounts/HOST-HASH/key-next.pem before the CA hears of it; what the CA knows then
 * becomes key.pem, and the pending one goes. */
#pragma once

#include "acme/rollover.h"
#include "agent/services.h"

struct key_change_settings {
    const struct services *services;
    const char *directory;
    struct session *session; /* with the account's present key and URL */
    struct key *pending; /* of a change that was begun: it is found out how that ended; or NULL */
};

/* The session signs with the key that the CA knows, except after ROLLOVER_UNKNOWN: `pending` (a
 * reference of the callee, or NULL) must be resolved before anything is signed. e (borrowed): what
 * failed; with ROLLOVER_NEW that it could not be saved yet. The handle is gone. */
struct key_change;
typedef void key_change_fn(enum rollover_result result, struct key *pending, const struct err *e,
                           void *userdata);
struct key_change *key_change_start(const struct key_change_settings *settings, key_change_fn *fn,
                                    void *userdata);
/* Stops; what is on disk is resolved by the next process. NULL is fine. */
void key_change_free(struct key_change *c);
