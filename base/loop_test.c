#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static struct loop *loop;

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    return loop ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void end_loop(void *userdata)
{
    (void)userdata;
    loop_exit(loop, 0);
}

static void never(void *userdata)
{
    (void)userdata;
    fail_msg("a timer fired that must not");
}

static void run_for(int64_t ms)
{
    struct timer *t = timer_after(loop, ms, end_loop, NULL);

    loop_run(loop);
    timer_free(t);
}

static void append(void *userdata)
{
    static char seen[8];
    const char *letter = userdata;

    if (!letter) {
        assert_string_equal(seen, "abc");
        loop_exit(loop, 0);
        return;
    }
    seen[strlen(seen)] = *letter;
}

static void fires_timers_in_the_order_of_their_times(void **state)
{
    (void)state;
    static char a[] = "a", b[] = "b", c[] = "c";
    struct timer *t[] = {
        timer_after(loop, 60, append, NULL),
        timer_after(loop, 40, append, c),
        timer_after(loop, 0, append, a),
        timer_after(loop, 20, append, b),
    };
    int64_t begin = clock_boot_ms();

    loop_run(loop);
    assert_true(clock_boot_ms() - begin >= 59); /* both ends of it are rounded down */
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        timer_free(t[i]);
}

static bool fired;

static void on_fired(void *userdata)
{
    (void)userdata;
    fired = true;
    loop_exit(loop, 0);
}

static void fires_at_once_what_is_due_but_not_inside_the_start(void **state)
{
    (void)state;
    struct timer *t[3];
    const int64_t ms[] = {0, -1, INT64_MIN};

    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        fired = false;
        t[i] = timer_after(loop, ms[i], on_fired, NULL);
        assert_false(fired);
        loop_run(loop);
        assert_true(fired);
        timer_free(t[i]);
    }
    const time_t instants[] = {0, -1, INT64_MIN, clock_now() - 1};
    for (size_t i = 0; i < ARRAY_LEN(instants); i++) {
        fired = false;
        struct timer *at = timer_at(loop, instants[i], on_fired, NULL);
        assert_false(fired);
        loop_run(loop);
        assert_true(fired);
        timer_free(at);
    }
}

static void waits_for_instants_however_far_away(void **state)
{
    (void)state;
    const time_t instants[] = {253402300799, 253402300800, 9223372036, INT64_MAX, clock_now() + 60};
    struct timer *t[ARRAY_LEN(instants)];
    struct timer *long_wait = timer_after(loop, INT64_MAX, never, NULL);

    for (size_t i = 0; i < ARRAY_LEN(instants); i++)
        t[i] = timer_at(loop, instants[i], never, NULL);
    run_for(30);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        timer_free(t[i]);
    timer_free(long_wait);
}

static void is_never_early_for_an_instant(void **state)
{
    (void)state;
    time_t instant = clock_now() + 1;
    struct timer *t = timer_at(loop, instant, end_loop, NULL);

    loop_run(loop);
    assert_true(clock_now() >= instant);
    assert_true(clock_now_us() < ((int64_t)instant + 1) * 1000000);
    timer_free(t);
}

static void measures_instants_on_the_shifted_clock(void **state)
{
    (void)state;
    struct timer *t = timer_at(loop, clock_now() + 50, never, NULL);

    clock_shift_for_test(86400);
    struct timer *due = timer_at(loop, clock_now() - 1, end_loop, NULL);
    struct timer *later = timer_at(loop, clock_now() + 50, never, NULL);
    loop_run(loop);
    timer_free(due);
    timer_free(later);
    timer_free(t);
    clock_shift_for_test(-2 * 86400);
    later = timer_at(loop, clock_now() + 50, never, NULL);
    run_for(10);
    timer_free(later);
    clock_shift_for_test(86400);
}

static struct timer *mine, *other;

static void free_both(void *userdata)
{
    (void)userdata;
    timer_free(mine);
    timer_free(other);
}

static void a_callback_may_free_its_own_timer_and_others_that_are_due(void **state)
{
    (void)state;
    mine = timer_after(loop, 0, free_both, NULL);
    other = timer_after(loop, 5, never, NULL);
    struct timespec nap = {.tv_nsec = 8000000};
    while (nanosleep(&nap, &nap) != 0)
        assert_int_equal(errno, EINTR);
    run_for(10);
    timer_free(NULL);
}

static size_t count;

static void count_one(void *userdata)
{
    (void)userdata;
    count++;
}

static void ten_thousand_timers_are_cheap(void **state)
{
    (void)state;
    enum { N = 10000 };
    struct timer **t = xcalloc(3 * N, sizeof(struct timer *));
    clock_t begin = clock();

    count = 0;
    for (size_t i = 0; i < N; i++) {
        t[3 * i] = timer_after(loop, (int64_t)(i % 20), count_one, NULL);
        t[3 * i + 1] = timer_after(loop, 3600000 + (int64_t)i, never, NULL);
        t[3 * i + 2] = timer_at(loop, clock_now() + 3600 + (time_t)i, never, NULL);
    }
    while (count < N)
        run_for(20);
    for (size_t i = 0; i < 3 * N; i++)
        timer_free(t[i]);
    free(t);
    assert_int_equal(count, N);
    assert_true(clock() - begin < 5 * CLOCKS_PER_SEC); /* quadratic would take minutes here */
}

static long switches(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static void on_readable(struct io *io, uint32_t events, void *userdata);

static void does_not_wake_while_nothing_happens(void **state)
{
    (void)state;
    int fd[2];

    assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
    struct io *io = io_new(loop, fd[0], EPOLLIN, on_readable, NULL, NULL);
    struct timer *t = timer_at(loop, clock_now() + 3600, never, NULL);
    struct timer *t2 = timer_after(loop, 3600000, never, NULL);
    long before = switches();
    run_for(300);
    assert_true(switches() - before <= 3);
    timer_free(t);
    timer_free(t2);
    io_free(io);
    close(fd[0]);
    close(fd[1]);
}

static size_t readable;

static void on_readable(struct io *io, uint32_t events, void *userdata)
{
    int *stop_after = userdata;

    assert_true(events & (EPOLLIN | EPOLLHUP));
    readable++;
    if (*stop_after == 0)
        io_set(io, 0);
    if (--*stop_after == 0)
        io_free(io);
}

static void watches_a_descriptor_until_it_is_freed(void **state)
{
    (void)state;
    int fd[2], stop_after = 3;

    assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
    struct io *io = io_new(loop, fd[0], EPOLLIN, on_readable, &stop_after, NULL);
    assert_non_null(io);
    readable = 0;
    run_for(10);
    assert_int_equal(readable, 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    run_for(20); /* nobody reads: level-triggered, until it frees itself */
    assert_int_equal(readable, 3);
    close(fd[0]);
    close(fd[1]);
    io_free(NULL);
}

static void without_events_even_the_end_of_the_peer_is_no_wake_up(void **state)
{
    (void)state;
    int fd[2], stop_after = 0;

    assert_int_equal(pipe2(fd, O_CLOEXEC | O_NONBLOCK), 0);
    struct io *io = io_new(loop, fd[0], 0, on_readable, &stop_after, NULL);
    close(fd[1]);
    readable = 0;
    run_for(10);
    assert_int_equal(readable, 0);
    io_set(io, EPOLLIN);
    run_for(10);
    assert_int_equal(readable, 1); /* and muted itself again */
    io_free(io);
    close(fd[0]);
}

static void refuses_a_descriptor_that_cannot_be_watched(void **state)
{
    (void)state;
    auto_err struct err *e = NULL;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    assert_null(io_new(loop, fd, EPOLLIN, on_readable, NULL, &e));
    assert_int_equal(e->code, EPERM);
    assert_int_equal(e->kind, ERR_SYSTEM);
    close(fd);
}

static void on_signal(int signo, void *userdata)
{
    *(int *)userdata = signo;
    loop_exit(loop, 0);
}

static void reads_signals_on_the_loop(void **state)
{
    (void)state;
    int seen = 0;
    auto_err struct err *e = NULL;

    assert_true(loop_on_signal(loop, SIGHUP, on_signal, &seen, NULL));
    assert_true(loop_on_signal(loop, SIGUSR1, on_signal, &seen, NULL));
    assert_false(loop_on_signal(loop, SIGUSR1, on_signal, &seen, &e));
    assert_non_null(e);
    kill(getpid(), SIGUSR1);
    assert_int_equal(seen, 0);
    loop_run(loop);
    assert_int_equal(seen, SIGUSR1);
    kill(getpid(), SIGHUP);
    loop_run(loop);
    assert_int_equal(seen, SIGHUP);
}

static void gives_the_code_of_the_exit_and_runs_again(void **state)
{
    (void)state;
    loop_exit(loop, 7);
    assert_int_equal(loop_run(loop), 7);
    struct timer *t = timer_after(loop, 0, end_loop, NULL);
    assert_int_equal(loop_run(loop), 0);
    timer_free(t);
}

static void on_message(struct io *io, uint32_t events, void *userdata)
{
    char text[64] = "";
    ssize_t n = recv(*(int *)userdata, text, sizeof(text) - 1, 0);

    (void)io, (void)events;
    assert_true(n > 0);
    assert_string_equal(text, "WATCHDOG=1");
    if (++readable == 3)
        loop_exit(loop, 0);
}

static void tells_systemd_that_it_is_ready_and_alive(void **state)
{
    (void)state;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    char text[64] = "";
    auto_free char *pid = xasprintf("%d", getpid());

    loop_notify("READY=1"); /* nobody to tell */
    snprintf(addr.sun_path, sizeof(addr.sun_path), "/tmp/everleaf-notify-%d", getpid());
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    setenv("NOTIFY_SOCKET", addr.sun_path, 1);
    loop_notify("READY=1");
    assert_int_equal(recv(fd, text, sizeof(text) - 1, 0), 7);
    assert_string_equal(text, "READY=1");

    setenv("WATCHDOG_USEC", "60000", 1);
    setenv("WATCHDOG_PID", pid, 1);
    struct io *io = io_new(loop, fd, EPOLLIN, on_message, &fd, NULL);
    readable = 0;
    loop_watchdog(loop);
    loop_run(loop);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    unsetenv("NOTIFY_SOCKET");
    io_free(io);
    unlink(addr.sun_path);
    close(fd);
}

static pid_t pausing_child(void)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

static void reaps_children_that_were_killed(void **state)
{
    (void)state;
    pid_t pid = pausing_child(), second = pausing_child();
    int fd = pidfd_open(pid, 0);

    assert_true(fd >= 0);
    loop_reap(loop, fd);
    kill(pid, SIGKILL);
    for (int64_t until = clock_boot_ms() + 5000; kill(pid, 0) == 0;) {
        assert_true(clock_boot_ms() < until);
        run_for(5);
    }
    assert_int_equal(errno, ESRCH);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    loop_reap(loop, pidfd_open(second, 0)); /* alive at the end: only the descriptor is closed */
    loop_free(take(loop));
    kill(second, SIGKILL);
    assert_int_equal(waitpid(second, NULL, 0), second);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(fires_timers_in_the_order_of_their_times),
        LOOP_TEST(fires_at_once_what_is_due_but_not_inside_the_start),
        LOOP_TEST(waits_for_instants_however_far_away),
        LOOP_TEST(is_never_early_for_an_instant),
        LOOP_TEST(measures_instants_on_the_shifted_clock),
        LOOP_TEST(a_callback_may_free_its_own_timer_and_others_that_are_due),
        LOOP_TEST(ten_thousand_timers_are_cheap),
        LOOP_TEST(does_not_wake_while_nothing_happens),
        LOOP_TEST(watches_a_descriptor_until_it_is_freed),
        LOOP_TEST(without_events_even_the_end_of_the_peer_is_no_wake_up),
        LOOP_TEST(refuses_a_descriptor_that_cannot_be_watched),
        LOOP_TEST(reads_signals_on_the_loop),
        LOOP_TEST(gives_the_code_of_the_exit_and_runs_again),
        LOOP_TEST(tells_systemd_that_it_is_ready_and_alive),
        LOOP_TEST(reaps_children_that_were_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
