/* Threads for CPU work, key operations and fsync; completion on the loop. */
#pragma once

#include "base/loop.h"

struct worker;
/* Threads are started on first use. Idle threads sleep; they block every signal. */
NODISCARD struct worker *worker_new(struct loop *l, unsigned threads, struct err **err);
void worker_free(struct worker *w); /* waits for jobs that run; their `drop` is called */

/* `run` is called on a pool thread and may touch only the task; `done` is called on the loop, the
 * handle is gone by then. A job that runs cannot be stopped: after job_free it ends unheard and `drop`
 * (may be NULL) is called with the task on the loop's thread. Either done or drop is called, once. */
struct job;
typedef void job_fn(void *task);
struct job *job_start(struct worker *w, job_fn *run, job_fn *done, job_fn *drop, void *task);
void job_free(struct job *j); /* NULL is fine */
