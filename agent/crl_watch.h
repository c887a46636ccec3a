/* Revocation lists: one fetch for all certificates that name the same distribution point, at most
 * every six hours, conditional, kept over restarts. A list that cannot be had is a warning and
 * nothing else. */
#pragma once

#include "agent/services.h"
#include "pki/cert.h"
#include "pki/crl.h"

struct crl_watch;
struct crl_watch *crl_watch_new(const struct services *services);
void crl_watch_free(struct crl_watch *w); /* after all of its followers */

/* Somebody who wants to know of one serial. fn: it is on the list; called once, on a later turn.
 * The first of `urls` is followed: each certificate names its own shard. */
struct crl_follower;
typedef void crl_follow_fn(const struct crl_query *found, void *userdata);
struct crl_follower *crl_follow(struct crl_watch *w, const struct strv *urls,
                                const struct cert *issuer, const char *serial_hex,
                                crl_follow_fn *fn, void *userdata);
void crl_unfollow(struct crl_follower *f); /* NULL is fine */
/* nextUpdate of the list; 0: none was seen. */
time_t crl_follower_next_update(const struct crl_follower *f);
