/* One attempt to get a new generation for a certificate: account key, certificate key, order,
 * acceptance, generation on disk. Everything it needs after a kill is on disk before it is needed:
 * the key and the order's URL; an attempt that finds them goes on with the same order. */
#pragma once

#include "agent/config.h"
#include "agent/issuer.h"
#include "agent/services.h"
#include "store/generation.h"

struct issuance_settings {
    const struct services *services;
    const struct config_certificate *certificate;
    struct issuer *issuer;
    /* The issuer of a directory URL, for orders of an old configuration; NULL: none is known. */
    struct issuer *(*find_issuer)(const char *directory, void *userdata);
    int64_t newest;       /* the newest generation on disk, or 0 */
    const char *replaces; /* ARI's certID of the predecessor at this CA and account, or NULL */
    bool same_names;      /* it renews a certificate of this CA with exactly these names */
    time_t due_at;        /* it is due by the clock alone, since then; 0: for other reasons */
    bool force;           /* somebody asked for it now */
    bool new_key;         /* although keys are used again: the newest one's is not to be trusted */
    const char *attempt;
    void *userdata; /* of find_issuer */
};

struct issuance_events {
    void (*activity)(const char *text, void *userdata);
    /* One of g (owned by the callee) and e (borrowed). The handle is gone. */
    void (*done)(struct generation *g, const struct err *e, void *userdata);
    void *userdata;
};

struct issuance;
struct issuance *issuance_start(const struct issuance_settings *settings,
                                const struct issuance_events *events);
void issuance_free(struct issuance *i); /* stops; what is on disk stays good */

/* Whether an order is on disk that an issuance could go on with. One whose key is that of the
 * newest generation (0: none) is done, only not removed yet. */
bool issuance_is_pending(const struct services *services, const char *certificate, int64_t newest);
