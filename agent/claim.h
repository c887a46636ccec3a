/* Takes possession of the state directory. While another process has it this waits: one-shot
 * commands work for seconds, and a second agent must not fail because of one. */
#pragma once

#include "agent/manager.h"

struct claim_settings {
    struct manager_settings manager;
    int64_t patience_ms;
    /* Called after a try that failed because of it, with the reason; true: waiting is of no use,
     * the claim is given up and its owner will not hear of it. May be NULL. */
    bool (*look)(const struct err *e, void *userdata);
    /* One of m (the callee's) and e (borrowed). The handle is gone. */
    void (*done)(struct manager *m, const struct err *e, void *userdata);
    void *userdata;
};

struct claim;
/* Begins on a later turn. */
struct claim *claim_start(const struct claim_settings *settings);
void claim_free(struct claim *c); /* NULL is fine */
