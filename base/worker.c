/* Two queues under one mutex: jobs that wait for a thread, and jobs that wait for the loop. An
 * eventfd wakes the loop; it is readable exactly while the second queue has something. */
#include "base/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/log.h"

/* Not the limit of the shell that started us, which may be tiny or unlimited. */
#define STACK_SIZE (1024UL * 1024)
#define RETRY_MS   200

enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_OVER };

struct job {
    struct worker *worker;
    job_fn *run, *done, *drop;
    void *task;
    enum job_state state; /* under the mutex */
    bool abandoned, told; /* the loop's thread only */
    struct job *next;
};

struct queue {
    struct job *first, **end;
};

struct worker {
    struct loop *loop;
    int event_fd;
    struct io *io;
    struct timer *retry; /* no thread could be started */
    pthread_t *threads;
    unsigned threads_max, n_threads;

    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct queue queued, over;
    unsigned idle, waiting; /* threads that sleep; jobs in `queued` */
    bool stopping;
};

static void queue_add(struct queue *q, struct job *j)
{
    j->next = NULL;
    *q->end = j;
    q->end = &j->next;
}

static struct job *queue_pop(struct queue *q)
{
    struct job *j = q->first;

    if (!j)
        return NULL;
    q->first = j->next;
    if (!q->first)
        q->end = &q->first;
    return j;
}

static void queue_remove(struct queue *q, struct job *j)
{
    struct job **at = &q->first;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
    if (!*at)
        q->end = at;
}

/* With the mutex held. */
static void job_over(struct job *j)
{
    struct worker *w = j->worker;
    static const uint64_t one = 1;

    j->state = JOB_OVER;
    if (!w->over.first) {
        ssize_t n = write(w->event_fd, &one, sizeof(one)); /* never full: read before the next */
        (void)n;
    }
    queue_add(&w->over, j);
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;

    pthread_mutex_lock(&w->mutex);
    while (!w->stopping) {
        struct job *j = queue_pop(&w->queued);
        if (!j) {
            w->idle++;
            pthread_cond_wait(&w->wake, &w->mutex);
            w->idle--;
            continue;
        }
        w->waiting--;
        j->state = JOB_RUNNING;
        pthread_mutex_unlock(&w->mutex);
        j->run(j->task);
        pthread_mutex_lock(&w->mutex);
        job_over(j);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Signals are the loop's: a new thread inherits the mask of its maker. */
static bool start_thread(struct worker *w)
{
    pthread_attr_t attr;
    sigset_t all, before;

    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&w->threads[w->n_threads], &attr, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (r == 0)
        w->n_threads++;
    else
        log_warning("no thread can be started", "error", strerror(r));
    return r == 0;
}

static void on_retry(void *userdata);

/* A thread for the jobs that wait, if there may be another one. Without any thread at all the
 * machine has to be asked again, or the jobs would wait for ever. */
static void want_thread(struct worker *w, bool needed)
{
    if (!needed || w->n_threads == w->threads_max || start_thread(w) || w->n_threads > 0)
        return;
    if (!w->retry)
        w->retry = timer_after(w->loop, RETRY_MS, on_retry, w);
}

static void on_retry(void *userdata)
{
    struct worker *w = userdata;

    timer_free(take(w->retry));
    want_thread(w, true);
}

struct job *job_start(struct worker *w, job_fn *run, job_fn *done, job_fn *drop, void *task)
{
    struct job *j = xcalloc(1, sizeof(*j));

    *j = (struct job){.worker = w, .run = run, .done = done, .drop = drop, .task = task};
    pthread_mutex_lock(&w->mutex);
    queue_add(&w->queued, j);
    w->waiting++;
    bool needed = w->waiting > w->idle && !w->stopping;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    want_thread(w, needed);
    return j;
}

void job_free(struct job *j)
{
    if (!j || j->told)
        return;
    struct worker *w = j->worker;

    j->abandoned = true;
    pthread_mutex_lock(&w->mutex);
    if (j->state == JOB_QUEUED) {
        queue_remove(&w->queued, j);
        w->waiting--;
        job_over(j);
    }
    pthread_mutex_unlock(&w->mutex);
}

/* The task is whoever's gets it; j stays until the callback returned, for a job_free in there. */
static void job_tell(struct job *j)
{
    job_fn *fn = j->abandoned ? j->drop : j->done;

    j->told = true;
    if (fn)
        fn(j->task);
    free(j);
}

/* One job a turn: its callback may free the worker. */
static void on_event(struct io *io, uint32_t events, void *userdata)
{
    struct worker *w = userdata;
    uint64_t count;

    (void)io, (void)events;
    pthread_mutex_lock(&w->mutex);
    struct job *j = queue_pop(&w->over);
    if (!w->over.first) {
        ssize_t n = read(w->event_fd, &count, sizeof(count));
        (void)n;
    }
    pthread_mutex_unlock(&w->mutex);
    if (j)
        job_tell(j);
}

struct worker *worker_new(struct loop *l, unsigned threads, struct err **err)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    *w = (struct worker){.loop = l, .threads_max = threads > 0 ? threads : 1};
    w->queued.end = &w->queued.first;
    w->over.end = &w->over.first;
    w->threads = xcalloc(w->threads_max, sizeof(*w->threads));
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->wake, NULL);
    w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event_fd < 0)
        err_set_errno(err, errno, "the worker cannot be made");
    else
        w->io = io_new(l, w->event_fd, EPOLLIN, on_event, w, err);
    if (!w->io) {
        worker_free(w);
        return NULL;
    }
    return w;
}

/* Drops may start jobs, which are dropped in turn. No thread is left, so no mutex is needed. */
static void drop_all(struct worker *w)
{
    struct job *j;

    while ((j = queue_pop(&w->over)) || (j = queue_pop(&w->queued))) {
        j->abandoned = true;
        job_tell(j);
    }
}

void worker_free(struct worker *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->mutex);
    for (unsigned i = 0; i < w->n_threads; i++)
        pthread_join(w->threads[i], NULL);
    drop_all(w);
    timer_free(w->retry);
    io_free(w->io);
    close_p(&w->event_fd);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mutex);
    free(w->threads);
    free(w);
}
