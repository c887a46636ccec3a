/* Child processes: posix_spawn in a process group of their own, clean environment, default signals,
 * no inherited descriptors (0 is /dev/null, 1 and 2 a pipe to us), working directory "/", bounded
 * captured output, time-out: TERM to the whole group, 2 s later KILL. The child is over when it
 * exited, even if a descendant keeps the pipe open (then the output is cut after a grace of 200
 * ms). What a child leaves running on purpose (a daemon) stays, except after a time-out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/strv.h"

struct proc_spec {
    const char *const *argv; /* absolute path first, or a name looked up in PROC_PATH */
    const char *const *env;  /* whole environment, NULL: only PATH */
    const char *input;       /* standard input, or NULL */
    int64_t timeout_ms;
    size_t output_max; /* kept; the rest is drained and dropped */
};
#define PROC_PATH "/usr/sbin:/usr/bin:/sbin:/bin"

struct proc_result {
    bool timed_out;
    int status;   /* exit status, or -1 when killed by a signal */
    int signal;   /* or 0 */
    char *output; /* stdout and stderr as they came, NUL-terminated */
    size_t output_len;
    bool truncated;
    int64_t took_ms;
};

struct proc;
/* The handle is gone when it returns; proc_free in it is harmless. */
typedef void proc_fn(const struct proc_result *result, void *userdata);
/* NULL and err when it could not be started. Borrowed spec. */
NODISCARD struct proc *proc_start(struct loop *l, const struct proc_spec *spec, proc_fn *fn,
                                  void *userdata, struct err **err);
void proc_free(struct proc *p); /* NULL is fine; kills the group and reaps without waiting */
/* true when it exited 0; else an ERR_SYSTEM that names the program, what happened and its last
 * lines. */
bool proc_result_ok(const struct proc_result *result, const char *program, struct err **err);
