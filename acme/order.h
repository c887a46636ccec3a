/* One order from newOrder to a checked chain (RFC 8555 7.4): a step table whose state is on disk
 * before the step that needs it, so that any stop resumes the same order.
 *
 * Steps: account -> new-order -> authorize -> finalize -> poll -> fetch -> alternates; the CA's
 * status of the order may skip any of them. The order's URL is saved before any challenge is
 * answered; the key is on disk (the owner's duty) before order_start. Resuming starts at "poll". */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "acme/account.h"
#include "acme/challenge.h"
#include "acme/session.h"
#include "pki/cert.h"

struct order_settings {
    struct session *session;
    struct account_settings account;
    const char *label;   /* certificate's name, for logs */
    const char *attempt; /* attempt id, for logs */
    struct strv names;   /* canonical */
    struct key *key;     /* certificate key, on disk already */
    struct solver *solver;
    const char *profile; /* or NULL */
    bool profile_required;
    const char *preferred_chain; /* or NULL */
    const char *replaces; /* ARI certID or NULL; dropped when the CA has no ARI or refuses it */
    bool must_staple;
    int64_t deadline_s; /* whole order; 0: 3600 */
};

struct order;

struct order_events {
    /* Save `state` durably, then call order_saved(o) (on a later turn) or order_save_failed. Only
     * one save is under way at a time. `state` is borrowed. */
    void (*save)(struct order *o, const json_t *state, void *userdata);
    /* The account was found or made: keep `json` durably (fire and forget is not enough: the order
     * waits for order_saved as above). */
    void (*save_account)(struct order *o, const json_t *json, void *userdata);
    /* "waiting for the CA to validate www.example.org" ; borrowed. */
    void (*activity)(struct order *o, const char *text, void *userdata);
    /* What the CA counts; each of these may be NULL and frees nothing. `replaces`: ARI's is sent.
     * Before newOrder: false and err keep it from being placed. */
    bool (*may_place)(struct order *o, bool replaces, struct err **err, void *userdata);
    void (*placed)(struct order *o, bool replaces, void *userdata); /* a new one, not one reused */
    void (*refused)(struct order *o, const struct err *e, void *userdata); /* newOrder was */
    void (*validated)(struct order *o, const char *name, bool good, void *userdata);
    /* Finished, once: chain (owned by the callee) accepted by chain_accept, or e (borrowed). After
     * an error `resumable` says whether the saved state may be used again (network trouble) or must
     * be discarded (order invalid, expired, unknown to the CA). The order may be freed in the
     * callback. */
    void (*done)(struct order *o, struct chain *chain, const struct err *e, bool resumable,
                 void *userdata);
    void *userdata;
};

struct order;
/* `saved`: what save() got earlier for the same certificate, names, key and directory; NULL: new.
 * The caller discards states whose names, directory or key differ. Settings are copied. */
struct order *order_start(const struct order_settings *settings, const struct order_events *events,
                          const json_t *saved);
void order_saved(struct order *o);
void order_save_failed(struct order *o, const struct err *e);
const char *order_step_name(const struct order *o);
/* Stops where it is; presented challenges are withdrawn locally; the saved state stays good. */
void order_free(struct order *o); /* NULL is fine */

/* Best effort for an order that will not be continued: deactivates its pending authorizations
 * (RFC 8555 7.5.2). fn is called once when done or given up after 30 s. */
struct abandon;
struct abandon *order_abandon(struct session *s, const json_t *saved, void (*fn)(void *userdata),
                              void *userdata);
void abandon_free(struct abandon *a);
