/* Jobs that are checks, for hooks/server.c. */
#pragma once

#include "hooks/job.h"

/* Runs argv as hook_run does; nothing to run (an empty argv) is good. */
struct hook_job *hook_check(struct loop *l, const struct strv *argv, const struct hook_event *event,
                            int64_t timeout_s, check_fn *fn, void *userdata);
