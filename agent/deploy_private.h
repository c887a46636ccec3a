/* The inside of a deployment, for the deploy_*.c files only. */
#pragma once

#include "agent/audit.h"
#include "agent/deploy.h"
#include "agent/proof.h"
#include "agent/switchover.h"

/* What is under way for one server. */
struct leg {
    struct deploy *deploy;
    const struct config_server *server;
    struct rollout *rollout;
    struct rollout_pass *pass;
    bool granted;
    bool expected; /* other certificates' batches wait for us */
    struct rollout_call *call;
    struct proof *proof;
    struct err *check_error;  /* of the baseline */
    struct err *reload_error; /* of the way forward */
    int64_t reloaded_ms;      /* boot clock; 0: not reloaded on this way */
    bool shared;              /* ... and other certificates may be to blame */
};

struct deploy {
    struct deploy_settings settings;
    struct deploy_events events;
    char *attempt;
    struct deploy_record *record; /* = settings.record */
    struct leg *legs; /* sorted by server name: passes are taken in one order everywhere */
    size_t n_legs;
    size_t open; /* things the current step waits for */
    struct save *save;
    struct switchover *switchover;
    struct audit *audit;
    struct timer *turn;
};

/* deploy.c ------------------------------------------------------------------------------------- */

/* The only place where a deployment changes its step. The next one is asked on a later turn, or
 * when the record is on disk. */
void deploy_step(struct deploy *d, enum deploy_stage stage);
/* The end; `error` is taken, NULL for a good one. */
void deploy_finish(struct deploy *d, enum deploy_outcome outcome, struct err *error);
/* A step of the way forward failed: turns round, or goes on with what could be done when there is
 * no fit generation to go back to. `error` is taken. */
void deploy_turn_round(struct deploy *d, struct err *error);
/* The generation that is to be served in the current stage. */
struct generation *deploy_generation(const struct deploy *d);
struct server_row *leg_row(const struct leg *leg);
void leg_unexpect(struct leg *leg);
/* Events for hooks. The strings live as long as `texts`. */
struct hook_event deploy_event(const struct deploy *d, struct strv *texts);
void deploy_say(struct deploy *d, const char *text);

/* deploy_steps.c ------------------------------------------------------------------------------- */

/* The steps of the table; each ends, on a later turn or at once, with one of the functions above.
 */
void deploy_ask_baseline(struct deploy *d);
void deploy_ask_switch(struct deploy *d); /* and the way back */
void deploy_ask_reload(struct deploy *d); /* and the way back */
void deploy_ask_proof(struct deploy *d);  /* and the way back */
