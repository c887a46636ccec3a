/* The process of a server, named by a pid file or found by its program and user. A pid file is
 * anybody's: it may be stale, garbage, or name a process that has nothing to do with the server (a
 * recycled pid). */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct process_target {
    const char *pid_file; /* NULL: found by exe and uid */
    bool first_line;      /* of the pid file: more follows (PostgreSQL); else one number alone */
    /* What the process must run: a base name, or an absolute path when it is looked for; a deleted
     * binary counts. NULL (with a pid file only): whatever. */
    const char *exe;
    uid_t uid; /* without a pid file */
};

struct process {
    pid_t pid;
    int pidfd; /* still this process when its pid has been given to another */
};

enum process_result {
    PROCESS_FOUND,
    PROCESS_NONE, /* no pid file, an empty one (what `nginx -t` makes when nginx is down), or no
                     such process */
    PROCESS_BAD,  /* err is set */
    PROCESS_DEAF, /* err is set: no handler for the signal at this instant; worth another look */
};

/* A pid file that is not root's or ours can name processes of its owner only. Without one: the
 * process that runs exe as that user and whose parent does not; several of them are PROCESS_BAD.
 * Close ret->pidfd. */
NODISCARD enum process_result process_open(const struct process_target *target, struct process *ret,
                                           struct err **err);
/* Sends it, unless that would end a process that has no handler for it: asking for a reload must
 * never do that, and a server would have one. PROCESS_NONE: it has ended meanwhile. */
NODISCARD enum process_result process_signal(const struct process *p, int signo, struct err **err);
