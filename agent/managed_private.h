/* The inside of a managed certificate, for the managed_*.c files only. */
#pragma once

#include "acme/ari.h"
#include "agent/audit.h"
#include "agent/crl_watch.h"
#include "agent/deploy.h"
#include "agent/issuance.h"
#include "agent/managed.h"
#include "agent/recheck.h"
#include "agent/revoking.h"
#include "agent/staple.h"
#include "agent/ticket.h"
#include "agent/trace.h"

/* What one run is about: from the decision to act until tickets are told. */
enum managed_run {
    RUN_NONE,
    RUN_RENEW,    /* issuance and deployment, or the deployment of a generation accepted earlier */
    RUN_REPAIR,   /* outputs that did not hold what is live */
    RUN_STAPLE,   /* another staple of what is live */
    RUN_DEPLOY,   /* the newest generation once more, on request */
    RUN_ROLLBACK, /* an earlier generation, on request */
    RUN_REVOKE,   /* as RUN_RENEW, and the old one is revoked */
};

struct managed {
    const struct managed_host *host;
    struct config *config; /* reference */
    const struct config_certificate *certificate;
    struct config *next_config; /* of a reload while busy, or NULL */
    const struct config_certificate *next_certificate;
    char *name;
    struct rollout **rollouts; /* of certificate->servers, same order */

    /* Facts, made from what is on disk (managed_load.c). Only numbers and dates are kept of a
     * generation; keys and chains are loaded when they are deployed. */
    struct schedule schedule;
    struct deploy_record record;
    struct generation_facts live;   /* number 0: none */
    struct generation_facts newest; /* newest one that can be used; may be the live one */
    bool damaged;                   /* there is a newer one that cannot */
    bool unreadable;                /* the state could not be read: schedule.error says why */
    bool ordering;                  /* an order is on disk that can go on */
    bool audited;                   /* the outputs were looked at, and hold what is live unless: */
    bool outputs_wrong;

    bool started; /* follows its schedule */
    bool retired;

    struct staple *staple; /* of what is live */
    int64_t stapled;       /* the generation that had its chance to get one before it goes live */
    bool unstapled;        /* ... and needs one, but did not get it */
    struct crl_follower *crl;   /* of what is live, or NULL */
    struct crl_query crl_entry; /* revoked: what is live is on its issuer's list */
    bool restaple;              /* another staple is on disk: outputs and servers must follow */

    struct timer *ari_timer;         /* until the next question for renewal information */
    struct turnstile_pass *ari_pass; /* a question waits for its turn, or: */
    struct ari *ari;                 /* it is under way */
    bool ari_first;                  /* somebody waits for the answer: it decides */

    /* Under way */
    bool standing_by; /* for its CA to come back */
    bool queued;
    bool has_slot;
    bool expected; /* rollout_expect() was called for every server */
    struct issuance *issuance;
    struct generation *issued; /* just written, to be deployed; or NULL */
    struct staple_first *first_staple;
    struct deploy *deploy;
    struct audit *audit;
    struct recheck *recheck;
    struct save *recording; /* of a revocation that was asked for */
    struct revoking *revoking;
    bool revoke_asked; /* the CA, since somebody asked for it */
    struct save *save;
    struct timer *wake;
    char *activity;
    struct ticket_list tickets;
    unsigned answers; /* the actions of the tickets that the run under way answers */

    /* The run under way, or the last one */
    enum managed_run run;
    enum renew_reason reason;
    char attempt[17];
    int64_t started_ms;  /* boot clock */
    struct trace *trace; /* NULL: no run, or tracing is off */
    json_t *old;         /* the live certificate before it, for results */
};

/* managed.c ------------------------------------------------------------------------------------ */

void managed_consider(struct managed *m);
/* The state could not be read: it is tried again later. */
void managed_read_again(struct managed *m);

/* managed_work.c ------------------------------------------------------------------------------- */

/* Begin an issuance, for which a slot is there, or a deployment of managed_target(). Their ends
 * come to managed_consider(). */
void managed_issue(struct managed *m);
void managed_deploy(struct managed *m, enum managed_run run);
/* Answers the tickets of these actions. */
void managed_tell(struct managed *m, unsigned actions, const char *result);
void managed_release_slot(struct managed *m);
/* Nothing is coming for the batches of the servers after all. */
void managed_unexpect(struct managed *m);
/* Looks again at endpoints that were not proven, if there are any. */
void managed_watch(struct managed *m);
void managed_stop_watching(struct managed *m);

void managed_begin_run(struct managed *m, enum managed_run run);
void managed_say(struct managed *m, const char *activity);
/* The end of a run; `result` NULL: nobody is told yet. */
void managed_end_run(struct managed *m, const char *result);

/* managed_staple.c ----------------------------------------------------------------------------- */

/* Looks after the staple of what is live now, by the configuration of now. */
void managed_follow_staple(struct managed *m);
bool managed_is_revoked(const struct managed *m); /* what is live */
/* Starts a deployment of another staple if there is one to deploy. */
bool managed_restaple(struct managed *m);
/* Whether `target` gets a staple first; managed_deploy() follows when it is there or cannot be had.
 */
bool managed_wants_staple(struct managed *m, struct generation *target);
/* Adds what is to be known about CAs and must-staple. */
void managed_advise(const struct managed *m, struct err **err);

/* managed_ari.c -------------------------------------------------------------------------------- */

/* Keeps asking for renewal information about the newest certificate, if anybody can be asked. */
void managed_follow_ari(struct managed *m);
void managed_stop_ari(struct managed *m);
/* For those who do not follow a schedule: true when the CA is asked first. */
bool managed_ask_ari(struct managed *m);
/* The certID of the predecessor, when a new order of this issuer may name it; or NULL. */
const char *managed_replaces(const struct managed *m, const struct issuer *issuer);

/* managed_backoff.c ---------------------------------------------------------------------------- */

/* Counts a failure and sets the next try. */
void managed_back_off(struct managed *m, const struct err *e);

/* managed_wish.c ------------------------------------------------------------------------------- */

/* The generation that should be live: the newest one, or the one that is held. 0: there is none. */
int64_t managed_target(const struct managed *m);
bool managed_is_held(const struct managed *m);
time_t managed_hold_end(const struct managed *m); /* 0: nothing is held */
/* Begins with what people asked for beyond renewals; what is impossible is answered. True when
 * something is under way now. */
bool managed_grant_wish(struct managed *m);
/* A rollback that somebody asked for failed: the newest generation is wanted again. */
void managed_give_up_hold(struct managed *m);
/* Answers the (granted) tickets of an action that cannot be done. */
void managed_refuse(struct managed *m, enum ticket_action action, const struct err *e);

/* managed_revoke.c ----------------------------------------------------------------------------- */

/* Records what is to be revoked. True when something is under way now. */
bool managed_request_revocation(struct managed *m, const struct ticket_options *wish);
/* Asks the CA when it is time to, and ends what is over. True when something is under way now. */
bool managed_pursue_revocation(struct managed *m);
/* Whether what is live now is to be revoked once it is replaced. */
bool managed_wants_replacement(const struct managed *m);
/* A replacement is live: the next thing is to ask the CA, or to end it. */
bool managed_revokes_next(const struct managed *m);
bool managed_is_revoked_serial(const struct managed *m, const char *serial);
time_t managed_revoke_at(const struct managed *m); /* the next try; 0: none */

/* managed_load.c ------------------------------------------------------------------------------- */

/* Reads the facts again. False: unreadable, schedule.error says why. */
NODISCARD bool managed_load(struct managed *m);
void managed_forget(struct managed *m); /* frees the facts */
/* Facts of a generation that is in memory; `to` is emptied first. */
void managed_take_facts(struct generation_facts *to, const struct generation *g);
/* Saves without waiting: what is lost by a kill right now is found out again. */
void managed_save_schedule(struct managed *m);
void managed_save_record(struct managed *m);

/* managed_view.c ------------------------------------------------------------------------------- */

int managed_exit_status(const struct managed *m);
enum renew_reason managed_due_reason(const struct managed *m, time_t now);
void managed_facts(const struct managed *m, struct renewal_facts *ret);
time_t managed_renew_at(const struct managed *m); /* 0: unknown */
/* Whether a result of the run is what was wanted. */
bool managed_is_good(const struct managed *m, const char *result);
/* One entry of renew "results". */
json_t *managed_result(const struct managed *m, const char *result);
