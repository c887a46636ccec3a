/* A new key for the account (RFC 8555 7.3.5), safe against a lost reply:
 *
 *     1. the owner makes the new key and saves it as pending
 *     2. rollover_start
 *     3. ROLLOVER_NEW: the owner makes the pending key the account's, then forgets the old one
 *        ROLLOVER_OLD: the owner forgets the pending key
 *        ROLLOVER_UNKNOWN: both stay; nothing may be signed until rollover_resolve has said which
 *
 * Whoever finds a pending key at start calls rollover_resolve before any other request. While a
 * rollover runs no challenge of the account may be pending: its key authorization would be of the
 * other key. */
#pragma once

#include "acme/session.h"

enum rollover_result { ROLLOVER_UNKNOWN, ROLLOVER_OLD, ROLLOVER_NEW };

/* e (borrowed): why it is not the new key, or why it is unknown; NULL with ROLLOVER_NEW, and with
 * ROLLOVER_OLD when nothing but the question was asked. Afterwards the session signs with the key
 * that the CA knows. The handle ends with the callback; freeing it there is harmless, later not.
 * Ends before the session does. */
struct rollover;
typedef void rollover_fn(enum rollover_result result, const struct err *e, void *userdata);
/* From the session's key to new_key. The CA is asked for it once: when the answer leaves a doubt,
 * rollover_resolve follows by itself. */
struct rollover *rollover_start(struct session *s, struct key *new_key, rollover_fn *fn,
                                void *userdata);
/* Which of the two the CA knows as the key of the account (the session's account URL). */
struct rollover *rollover_resolve(struct session *s, struct key *old_key, struct key *new_key,
                                  rollover_fn *fn, void *userdata);
/* Stops; the CA may have heard of it: resolve later. NULL is fine. */
void rollover_free(struct rollover *r);
