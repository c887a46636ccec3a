/* One configured certificate's life: missing or due -> ordering -> issued -> deployed -> proven ->
 * idle, or back-off, or rolled back (product.md section 6). All that must survive is in
 * schedule.json, order.json and deploy.json; what is here can be made from them at any time. */
#pragma once

#include "agent/config.h"
#include "agent/deploy_record.h"
#include "agent/issuer.h"
#include "agent/renewal.h"
#include "agent/rollout.h"
#include "agent/schedule.h"
#include "agent/services.h"
#include "agent/staple.h"
#include "store/generation.h"

struct managed;

/* What a certificate needs of the manager. */
struct managed_host {
    const struct services *services;
    /* The run-time issuer of a configured one; NULL and err when it cannot be had. */
    struct issuer *(*issuer)(const struct config *config, const struct config_issuer *issuer,
                             struct err **err, void *userdata);
    /* The one of a directory URL, for orders of an old configuration; NULL: none is known. */
    struct issuer *(*find_issuer)(const char *directory, void *userdata);
    struct rollout *(*rollout)(struct config *config, const struct config_server *server,
                               void *userdata);
    /* The CA behind a directory. */
    struct authority *(*authority)(const char *directory, void *userdata);
    /* It is due, but its CA is away: managed_wake() when there is a try for it. */
    void (*stand_by)(struct managed *m, struct authority *authority, void *userdata);
    void (*stop_standing_by)(struct managed *m, void *userdata);
    /* Ask for a place among the renewals under way; managed_granted() follows on a later turn. */
    void (*want_slot)(struct managed *m, void *userdata);
    void (*release_slot)(struct managed *m, void *userdata);
    void (*activity)(struct managed *m, const char *text, void *userdata); /* NULL: nothing */
    /* After managed_retire(): nothing is under way any more. It may be freed on a later turn. */
    void (*retired)(struct managed *m, void *userdata);
    void *userdata;
};

/* Reads everything from disk, starts nothing. The host is borrowed, the configuration referenced.
 */
struct managed *managed_new(const struct managed_host *host, struct config *config,
                            const struct config_certificate *certificate);
void managed_free(struct managed *m); /* stops; what is on disk stays good */
/* Another configuration: takes effect when nothing is under way. Undoes managed_retire(). */
void managed_set_config(struct managed *m, struct config *config,
                        const struct config_certificate *certificate);
/* It is not in the configuration any more: what is under way ends, nothing new begins. */
void managed_retire(struct managed *m);
const char *managed_name(const struct managed *m);
/* Whether something is under way. */
bool managed_is_busy(const struct managed *m);
/* End of the newest certificate's life, 0 without one: who needs a renewal most. */
time_t managed_need(const struct managed *m);

/* Looks what is to be done now, does it, or sleeps until the next instant. Not called by one-shot
 * commands: there only tickets make a certificate act. */
void managed_start(struct managed *m);
void managed_granted(struct managed *m);
void managed_wake(struct managed *m); /* look again at what is to be done */

/* Somebody wants something done with it. */
enum ticket_action {
    TICKET_RENEW,
    TICKET_DEPLOY,   /* the newest generation once more, and the end of a hold */
    TICKET_ROLLBACK, /* an earlier generation, held until the next renewal */
    TICKET_REVOKE,   /* replaced by one with a new key, proven, then revoked */
};
struct ticket_options {
    enum ticket_action action;
    bool force;                /* TICKET_RENEW: although not due */
    bool due_only;             /* TICKET_RENEW: respects back-off; what the timer runs */
    int64_t generation;        /* TICKET_ROLLBACK: 0: the one before the live one */
    enum revoke_reason reason; /* TICKET_REVOKE */
    bool now;                  /* TICKET_REVOKE: before it is replaced, and although it cannot be */
};
/* result: one entry of renew "results" (product.md section 10), borrowed; exit: 0 to 4. */
typedef void ticket_fn(const json_t *result, int exit_status, void *userdata);
struct ticket;
struct ticket *managed_request(struct managed *m, const struct ticket_options *options,
                               ticket_fn *fn, void *userdata);
void ticket_free(struct ticket *t); /* the renewal goes on; NULL is fine; gone at the callback */

/* For status and metrics. */
struct managed_view {
    const char *name;
    const struct config_certificate *config;
    const struct generation_facts *live; /* or NULL */
    int64_t newest;                      /* number of the newest generation, 0: none */
    const struct staple_facts *staple;
    bool revoked;           /* what is live */
    time_t crl_next_update; /* of its issuer's list; 0: none is known */
    const struct schedule *schedule;
    const struct deploy_record *record;
    const char *state;        /* "missing", "idle", ... */
    const char *activity;     /* or NULL */
    time_t renew_at;          /* 0: unknown */
    bool renew_by_ari;        /* whose instant that is: the CA's, not the lifetime's */
    enum renew_reason reason; /* why it is or will be due */
    time_t next_try;          /* 0: none */
    int exit_status;          /* 0, 1 or 3 */
};
void managed_view(const struct managed *m, struct managed_view *ret);
/* The certificate of a generation as product.md section 10 "cert"; NULL gives JSON null. */
json_t *managed_cert_json(const struct generation_facts *f);
