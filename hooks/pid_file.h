/* The process that a pid file names. The file is anybody's: it may be stale, garbage, or name a
 * process that has nothing to do with the server (a recycled pid). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct pid_process {
    pid_t pid;
    int pidfd; /* still this process when its pid has been given to another */
};

enum pid_result {
    PID_FOUND,
    PID_NONE, /* no file, an empty one (what `nginx -t` makes when nginx is down), or no such
                 process */
    PID_BAD,  /* err is set */
    PID_DEAF, /* err is set: no handler for the signal at this instant; worth another look */
};

/* `exe`: base name that the process's program must have (a deleted binary counts), or NULL. A file
 * that is not root's or ours can name processes of its owner only. Close ret->pidfd. */
NODISCARD enum pid_result pid_file_read(const char *path, const char *exe, struct pid_process *ret,
                                        struct err **err);
/* Sends it, unless that would end a process that has no handler for it: asking for a reload must
 * never do that, and a server would have one. PID_NONE: it has ended meanwhile. */
NODISCARD enum pid_result pid_process_signal(const struct pid_process *p, int signo,
                                             struct err **err);
