#include "base/worker.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static struct loop *loop;
static struct worker *worker;
static size_t done, dropped;

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    worker = loop ? worker_new(loop, 2, NULL) : NULL;
    done = dropped = 0;
    return worker ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    worker_free(worker);
    loop_free(loop);
    return 0;
}

static void end_loop(void *userdata)
{
    (void)userdata;
    loop_exit(loop, 0);
}

static void run_for(int64_t ms)
{
    struct timer *t = timer_after(loop, ms, end_loop, NULL);

    loop_run(loop);
    timer_free(t);
}

struct sum {
    uint64_t n, result;
    pid_t thread;
    bool signals_blocked;
    size_t wanted;
};

static void add_up(void *task)
{
    struct sum *s = task;
    sigset_t mask;

    s->thread = (pid_t)syscall(SYS_gettid);
    sigprocmask(SIG_SETMASK, NULL, &mask); /* of the calling thread, on Linux */
    s->signals_blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGINT) == 1;
    for (uint64_t i = 1; i <= s->n; i++)
        s->result += i;
}

static void on_done(void *task)
{
    const struct sum *s = task;

    assert_int_equal(s->result, s->n * (s->n + 1) / 2);
    assert_int_not_equal(s->thread, getpid());
    assert_true(s->signals_blocked);
    assert_int_equal(syscall(SYS_gettid), getpid());
    if (++done == s->wanted)
        loop_exit(loop, 0);
}

static void on_drop(void *task)
{
    (void)task;
    assert_int_equal(syscall(SYS_gettid), getpid());
    dropped++;
}

static void not_heard(void *task)
{
    (void)task;
    fail_msg("a freed job was heard of");
}

static void runs_jobs_on_threads_and_tells_the_loop(void **state)
{
    (void)state;
    enum { N = 500 };
    static struct sum sums[N];

    for (size_t i = 0; i < N; i++) {
        sums[i] = (struct sum){.n = i, .wanted = N};
        assert_non_null(job_start(worker, add_up, on_done, on_drop, &sums[i]));
    }
    assert_int_equal(done, 0);
    loop_run(loop);
    assert_int_equal(done, N);
    assert_int_equal(dropped, 0);
}

/* Holds a thread until the test lets it go. */
struct gate {
    int begun[2], go[2];
    bool ran;
};

static void gate_open(struct gate *g)
{
    *g = (struct gate){0};
    assert_int_equal(pipe(g->begun), 0);
    assert_int_equal(pipe(g->go), 0);
}

static void gate_close(struct gate *g)
{
    for (size_t i = 0; i < 2; i++) {
        close(g->begun[i]);
        close(g->go[i]);
    }
}

static void pass_gate(void *task)
{
    struct gate *g = task;
    char c = 'x';

    g->ran = true;
    if (write(g->begun[1], &c, 1) != 1 || read(g->go[0], &c, 1) != 1)
        _exit(1);
}

static void gate_wait(struct gate *g)
{
    char c;

    assert_int_equal(read(g->begun[0], &c, 1), 1);
}

static void gate_go(struct gate *g)
{
    assert_int_equal(write(g->go[1], "x", 1), 1);
}

static void a_job_freed_while_it_runs_is_dropped_when_it_ends(void **state)
{
    (void)state;
    struct gate g;

    gate_open(&g);
    struct job *j = job_start(worker, pass_gate, not_heard, on_drop, &g);
    gate_wait(&g);
    job_free(j);
    assert_int_equal(dropped, 0);
    run_for(10);
    assert_int_equal(dropped, 0);
    gate_go(&g);
    for (int64_t until = clock_boot_ms() + 5000; dropped == 0;) {
        assert_true(clock_boot_ms() < until);
        run_for(5);
    }
    assert_int_equal(dropped, 1);
    gate_close(&g);
}

static void a_job_freed_before_it_runs_never_runs(void **state)
{
    (void)state;
    struct gate g[2];
    struct sum s = {.n = 3};

    for (size_t i = 0; i < 2; i++) {
        gate_open(&g[i]);
        job_start(worker, pass_gate, on_drop, on_drop, &g[i]);
    }
    for (size_t i = 0; i < 2; i++)
        gate_wait(&g[i]);
    struct job *first = job_start(worker, add_up, not_heard, on_drop, &s);
    struct job *second = job_start(worker, add_up, not_heard, on_drop, &s);
    struct job *third = job_start(worker, add_up, not_heard, NULL, &s);
    job_free(second);
    job_free(third);
    job_free(first);
    assert_int_equal(dropped, 0); /* not inside job_free */
    run_for(10);
    assert_int_equal(dropped, 2);
    for (size_t i = 0; i < 2; i++)
        gate_go(&g[i]);
    while (dropped < 4)
        run_for(5);
    assert_int_equal(s.thread, 0);
    for (size_t i = 0; i < 2; i++)
        gate_close(&g[i]);
    job_free(NULL);
}

static void a_job_freed_between_its_end_and_the_loop_is_dropped(void **state)
{
    (void)state;
    struct gate g;

    gate_open(&g);
    struct job *j = job_start(worker, pass_gate, not_heard, on_drop, &g);
    gate_wait(&g);
    gate_go(&g);
    struct gate next; /* the second thread is not needed: one at a time */
    gate_open(&next);
    job_start(worker, pass_gate, on_drop, on_drop, &next);
    gate_wait(&next);
    job_free(j);
    gate_go(&next);
    while (dropped < 2)
        run_for(5);
    gate_close(&next);
    gate_close(&g);
}

static void freeing_the_pool_waits_for_what_runs_and_drops_all(void **state)
{
    (void)state;
    struct gate g[2];
    struct sum s = {.n = 3};

    for (size_t i = 0; i < 2; i++) {
        gate_open(&g[i]);
        job_start(worker, pass_gate, not_heard, on_drop, &g[i]);
    }
    for (size_t i = 0; i < 2; i++)
        gate_wait(&g[i]);
    job_start(worker, add_up, not_heard, on_drop, &s);
    job_free(job_start(worker, add_up, not_heard, on_drop, &s));
    for (size_t i = 0; i < 2; i++)
        gate_go(&g[i]);
    worker_free(take(worker));
    assert_int_equal(dropped, 4);
    assert_true(g[0].ran && g[1].ran);
    for (size_t i = 0; i < 2; i++)
        gate_close(&g[i]);
}

static struct job *own;

static void free_everything(void *task)
{
    (void)task;
    job_free(own); /* harmless here */
    worker_free(take(worker));
    loop_exit(loop, 0);
}

static void a_callback_may_free_the_job_and_the_pool(void **state)
{
    (void)state;
    struct sum s = {.n = 10}, s2 = {.n = 10};

    own = job_start(worker, add_up, free_everything, on_drop, &s);
    loop_run(loop);
    assert_null(worker);
    worker = worker_new(loop, 1, NULL);
    own = job_start(worker, add_up, free_everything, on_drop, &s);
    job_start(worker, add_up, not_heard, on_drop, &s2);
    loop_run(loop);
    assert_int_equal(dropped, 1);
}

static void start_next(void *task)
{
    struct sum *s = task;

    if (--s->wanted == 0)
        loop_exit(loop, 0);
    else
        job_start(worker, add_up, start_next, on_drop, s);
}

static void a_callback_may_start_the_next_job(void **state)
{
    (void)state;
    struct sum s = {.n = 10, .wanted = 100};

    job_start(worker, add_up, start_next, on_drop, &s);
    loop_run(loop);
    assert_int_equal(s.result, 100 * 55);
}

static void on_drop_start(void *task)
{
    dropped++;
    job_start(worker, add_up, not_heard, on_drop, task);
}

static void jobs_started_while_the_pool_ends_are_dropped(void **state)
{
    (void)state;
    struct sum s = {.n = 10};

    job_start(worker, add_up, not_heard, on_drop_start, &s);
    worker_free(worker);
    worker = NULL;
    assert_int_equal(dropped, 2);
}

/* In a child: limits on threads are per user, and root has none. */
static int without_threads(void)
{
    struct sum s = {.n = 10, .wanted = 1};
    struct rlimit before, none;

    if ((getuid() == 0 && setresuid(65534, 65534, 65534) != 0) ||
        getrlimit(RLIMIT_NPROC, &before) != 0)
        return 2;
    loop = loop_new(NULL);
    worker = worker_new(loop, 2, NULL);
    none = (struct rlimit){.rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NPROC, &none);
    job_start(worker, add_up, on_done, on_drop, &s);
    run_for(20);
    size_t early = done;
    setrlimit(RLIMIT_NPROC, &before);
    loop_run(loop);
    return early == 0 && done == 1 ? 0 : 1;
}

static void waits_for_the_machine_to_give_it_a_thread(void **state)
{
    (void)state;
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(without_threads());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define WORKER_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORKER_TEST(runs_jobs_on_threads_and_tells_the_loop),
        WORKER_TEST(a_job_freed_while_it_runs_is_dropped_when_it_ends),
        WORKER_TEST(a_job_freed_before_it_runs_never_runs),
        WORKER_TEST(a_job_freed_between_its_end_and_the_loop_is_dropped),
        WORKER_TEST(freeing_the_pool_waits_for_what_runs_and_drops_all),
        WORKER_TEST(a_callback_may_free_the_job_and_the_pool),
        WORKER_TEST(a_callback_may_start_the_next_job),
        WORKER_TEST(jobs_started_while_the_pool_ends_are_dropped),
        WORKER_TEST(waits_for_the_machine_to_give_it_a_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
