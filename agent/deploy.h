/* One generation's way to the servers: baseline, switch, reload, proof, and back when it fails
 * (product.md section 6). A step table whose state is deploy.json: every step can be repeated, so a
 * start goes on with the recorded step. */
#pragma once

#include "agent/config.h"
#include "agent/deploy_record.h"
#include "agent/rollout.h"
#include "agent/services.h"
#include "store/generation.h"

struct deploy_settings {
    const struct services *services;
    struct config *config; /* of the certificate; referenced */
    const struct config_certificate *certificate;
    struct rollout **rollouts;    /* of certificate->servers, same order; borrowed */
    struct deploy_record *record; /* updated in place; the owner keeps it alive */
    struct generation *target;    /* the new generation */
    struct generation *previous;  /* live so far; NULL: none, or the same */
    bool no_way_back;             /* the previous one is revoked */
    bool first;                   /* nothing is live yet */
    const char *reason;           /* for hooks: "renewed", "deploy" */
    const char *attempt;
    bool expected; /* rollout_expect was called for every server */
};

struct deploy_events {
    void (*activity)(const char *text, void *userdata);
    /* `live` points to this generation now. */
    void (*switched)(struct generation *g, void *userdata);
    /* The record is IDLE again, saved, with its outcome, error, failures and next try. The handle
     * is gone. */
    void (*done)(void *userdata);
    void *userdata;
};

struct deploy;
/* Goes on where the record stopped when that was on the way to this target; else starts anew. */
struct deploy *deploy_start(const struct deploy_settings *settings,
                            const struct deploy_events *events);
void deploy_free(struct deploy *d); /* stops where it is; the record on disk stays good */
