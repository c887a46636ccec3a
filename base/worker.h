/* Threads for CPU work, key operations and fsync; completion on the loop. */
#pragma once

#include "base/loop.h"

struct worker;
/* Threads are started on first use. Idle threads sleep; they block every signal. */
NODISCARD struct worker *worker_new(struct loop *l, unsigned threads, struct err **err);
/* Waits for jobs that run, starts no other, and drops all of them. The handles of the jobs end. */
void worker_free(struct worker *w);

/* `run` is called on a pool thread and may touch only the task; `done` is called on the loop, the
 * handle is gone when it returns. A job that runs cannot be stopped: after job_free it ends unheard
 * and `drop` (may be NULL) is called with the task on the loop's thread, never inside job_free.
 * Either done or drop is called, once. Jobs are run in the order they were started, and heard of in
 * the order they ended, one per turn of the loop. */
struct job;
typedef void job_fn(void *task);
struct job *job_start(struct worker *w, job_fn *run, job_fn *done, job_fn *drop, void *task);
void job_free(struct job *j); /* NULL is fine */
