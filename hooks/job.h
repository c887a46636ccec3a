/* Building blocks for server types: a child process or a signal as a hook_job. */
#pragma once

#include <signal.h>

#include "base/proc.h"
#include "hooks/server.h"

/* Runs argv with the clean environment plus EVERLEAF_HOOK_* of the event; fn gets RELOAD_DONE for
 * exit status 0, else RELOAD_FAILED. */
struct hook_job *hook_run(struct loop *l, const struct strv *argv, const struct hook_event *event,
                          int64_t timeout_s, reload_fn *fn, void *userdata);
/* Reports a result known already, on a later turn; e is copied. */
struct hook_job *hook_result(struct loop *l, enum reload_result result, const struct err *e,
                             reload_fn *fn, void *userdata);

/* Sends a signal to the process named by a pid file, by pidfd so that a recycled pid is never hit:
 * absent file or no such process -> RELOAD_NOT_RUNNING. `exe`: when not NULL the process's
 * executable must have that base name (a deleted binary counts), else RELOAD_FAILED naming what
 * runs there. The pid file must hold one number > 1. EPERM says who we are and what would help. */
struct hook_job *hook_signal(struct loop *l, const char *pid_file, const char *exe, int signo,
                             reload_fn *fn, void *userdata);
