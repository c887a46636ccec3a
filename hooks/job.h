/* Building blocks for server types: a child process or a signal as a hook_job. */
#pragma once

#include <signal.h>

#include "base/proc.h"
#include "hooks/server.h"

/* Runs argv with the clean environment plus EVERLEAF_HOOK_* of the event; fn gets RELOAD_DONE for
 * exit status 0, else RELOAD_FAILED. */
struct hook_job *hook_run(struct loop *l, const struct strv *argv, const struct hook_event *event,
                          int64_t timeout_s, reload_fn *fn, void *userdata);
/* The same for a program that says by an exit status of its own that the server does not run. */
struct hook_job *hook_run_unless_absent(struct loop *l, const struct strv *argv,
                                        const struct hook_event *event, int64_t timeout_s,
                                        int absent_status, reload_fn *fn, void *userdata);
/* Reports a result known already, on a later turn; e is copied. */
struct hook_job *hook_result(struct loop *l, enum reload_result result, const struct err *e,
                             reload_fn *fn, void *userdata);

/* A reload of several steps: `task` is what they need, freed by `drop` when the job ends or is
 * cancelled. It ends by hook_end, which may be called in the callback of any step: fn is called on
 * a later turn, and no step may be under way then. */
struct hook_job *hook_task(struct loop *l, void *task, void (*drop)(void *task), reload_fn *fn,
                           void *userdata);
void hook_end(struct hook_job *j, enum reload_result result, const struct err *e); /* e is copied */

/* Sends a signal to a process (hooks/process.h), by pidfd so that a recycled pid is never hit:
 * nothing there -> RELOAD_NOT_RUNNING. EPERM says who we are and what would help. */
struct process_target;
struct hook_job *hook_signal(struct loop *l, const struct process_target *target, int signo,
                             reload_fn *fn, void *userdata);
