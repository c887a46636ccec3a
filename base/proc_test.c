#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static struct loop *loop;
static struct proc_result got; /* with its own copy of the output */
static size_t ends;
static char dir[] = "/tmp/everleaf-proc-XXXXXX";

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    got = (struct proc_result){0};
    ends = 0;
    return loop ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(got.output);
    loop_free(loop);
    return 0;
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static void on_end(const struct proc_result *r, void *userdata)
{
    struct proc **own = userdata;

    free(got.output);
    got = *r;
    got.output = xmemdup(r->output, r->output_len + 1);
    ends++;
    if (own)
        proc_free(*own); /* harmless */
    loop_exit(loop, 0);
}

static void not_called(const struct proc_result *r, void *userdata)
{
    (void)r, (void)userdata;
    fail_msg("a freed process was heard of");
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

static struct proc *start_script(const char *script, int64_t timeout_ms, size_t output_max)
{
    const char *argv[] = {"sh", "-c", script, NULL};

    return proc_start(
        loop, &(struct proc_spec){.argv = argv, .timeout_ms = timeout_ms, .output_max = output_max},
        on_end, NULL, NULL);
}

static void run_script(const char *script, int64_t timeout_ms, size_t output_max)
{
    assert_non_null(start_script(script, timeout_ms, output_max));
    assert_int_equal(ends, 0);
    loop_run(loop);
    assert_int_equal(ends, 1);
}

static void gives_status_and_both_outputs(void **state)
{
    (void)state;
    run_script("echo out; echo err >&2; exit 3", 20000, 1024);
    assert_false(got.timed_out);
    assert_int_equal(got.status, 3);
    assert_int_equal(got.signal, 0);
    assert_string_equal(got.output, "out\nerr\n");
    assert_int_equal(got.output_len, 8);
    assert_false(got.truncated);
}

static void a_process_may_be_freed_in_its_own_callback(void **state)
{
    (void)state;
    const char *argv[] = {"true", NULL};
    struct proc *p =
        proc_start(loop, &(struct proc_spec){.argv = argv, .timeout_ms = 20000}, on_end, &p, NULL);

    assert_non_null(p);
    loop_run(loop);
    assert_int_equal(got.status, 0);
    assert_true(proc_result_ok(&got, "true", NULL));
}

static void starts_with_nothing_of_ours(void **state)
{
    (void)state;
    int leaked = fcntl(STDERR_FILENO, F_DUPFD, 100); /* without close-on-exec */
    sigset_t set, before;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    setenv("EVERLEAF_SECRET", "x", 1);
    /* The last seven digits are signals 1 to 28; libc itself ignores two above 31. */
    run_script(
        "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_=; pwd; test -e /proc/$$/fd/100 && echo leak;"
        "readlink /proc/$$/fd/0;"
        "sed -En 's/^(SigBlk|SigIgn):.*(.{7})$/\\1 \\2/p' /proc/$$/status;"
        "test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo group",
        20000, 4096);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(leaked);
    assert_string_equal(got.output, "PATH=" PROC_PATH "\n/\n/dev/null\n"
                                    "SigBlk 0000000\nSigIgn 0000000\ngroup\n");
}

static void gives_the_environment_and_the_input_it_was_told(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/sh", "-c", "echo $A; wc -c", NULL}, *env[] = {"A=b c", NULL};
    char *input = xmalloc(300001); /* more than a pipe holds */
    struct proc_spec spec = {
        .argv = argv, .env = env, .input = input, .timeout_ms = 20000, .output_max = 100};

    memset(input, 'x', 300000);
    input[300000] = '\0';
    struct proc *p = proc_start(loop, &spec, on_end, NULL, NULL);
    assert_non_null(p);
    memset(input, 'y', 300000); /* borrowed only for the start */
    free(input);
    loop_run(loop);
    assert_string_equal(got.output, "b c\n300000\n");
}

static void survives_a_child_that_does_not_read_its_input(void **state)
{
    (void)state;
    const char *argv[] = {"sh", "-c", "exec <&-; echo closed; exit 0", NULL};
    auto_free char *input = xcalloc(1, 200001);

    memset(input, 'x', 200000);
    struct proc_spec spec = {.argv = argv, .input = input, .timeout_ms = 20000, .output_max = 100};
    assert_non_null(proc_start(loop, &spec, on_end, NULL, NULL));
    loop_run(loop);
    assert_int_equal(got.status, 0);
    assert_string_equal(got.output, "closed\n");
}

static void keeps_the_beginning_of_a_long_output(void **state)
{
    (void)state;
    run_script("yes 0123456 | head -c 4000000", 20000, 1000);
    assert_int_equal(got.status, 0);
    assert_int_equal(got.output_len, 1000);
    assert_true(got.truncated);
    assert_memory_equal(got.output, "0123456\n0123456\n", 16);
}

static void stops_the_whole_group_at_the_time_out(void **state)
{
    (void)state;
    run_script("sleep 1000 & sleep 1000 & echo $!; wait", 100, 100);
    assert_true(got.timed_out);
    assert_int_equal(got.signal, SIGTERM);
    assert_int_equal(got.status, -1);
    assert_true(got.took_ms >= 99 && got.took_ms < 1900);
    pid_t grandchild = (pid_t)strtol(got.output, NULL, 10);
    assert_true(grandchild > 1);
    for (int64_t until = clock_boot_ms() + 5000; kill(grandchild, 0) == 0 && errno != ESRCH;) {
        auto_free char *path = xasprintf("/proc/%d/stat", grandchild);
        FILE *f = fopen(path, "re");
        char status = 'Z';
        if (f && fscanf(f, "%*d %*s %c", &status) != 1)
            status = 'Z';
        if (f)
            fclose(f);
        if (status == 'Z')
            break; /* nobody reaps in this container */
        assert_true(clock_boot_ms() < until);
        run_for(5);
    }
}

static void kills_what_does_not_hear_the_first_signal(void **state)
{
    (void)state;
    run_script("trap '' TERM; echo on; while :; do sleep 1000; done", 50, 100);
    assert_true(got.timed_out);
    assert_int_equal(got.signal, SIGKILL);
    assert_true(got.took_ms >= 2049 && got.took_ms < 4000);
    assert_string_equal(got.output, "on\n");
}

static void reports_a_time_out_even_if_the_child_ends_well_after_it(void **state)
{
    (void)state;
    run_script("trap 'exit 0' TERM; sleep 1000 & wait", 50, 100);
    assert_true(got.timed_out);
    assert_false(proc_result_ok(&got, "hook", NULL));
}

static void is_over_when_the_child_exits_even_if_a_daemon_keeps_the_pipe(void **state)
{
    (void)state;
    run_script("setsid sleep 1000 & echo $!; exit 0", 20000, 100);
    assert_int_equal(got.status, 0);
    assert_true(got.took_ms >= 199 && got.took_ms < 5000);
    pid_t left = (pid_t)strtol(got.output, NULL, 10);
    assert_int_equal(kill(left, SIGKILL), 0); /* it was left alone */
}

static void a_freed_process_is_killed_and_reaped(void **state)
{
    (void)state;
    const char *argv[] = {"sh", "-c", "echo $$ > \"$0\"; exec sleep 1000", NULL, NULL};
    auto_free char *path = xasprintf("%s/pid", dir);
    struct stat st;

    argv[3] = path;
    struct proc *p = proc_start(loop, &(struct proc_spec){.argv = argv, .timeout_ms = 60000},
                                not_called, NULL, NULL);
    while (stat(path, &st) != 0 || st.st_size == 0)
        run_for(5);
    FILE *f = fopen(path, "re");
    pid_t pid = 0;
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    unlink(path);
    proc_free(p);
    proc_free(NULL);
    for (int64_t until = clock_boot_ms() + 5000; kill(pid, 0) == 0;) {
        assert_true(clock_boot_ms() < until);
        run_for(5);
    }
    assert_int_equal(errno, ESRCH); /* not even a zombie */
}

static void the_loop_may_end_right_after_a_process_was_freed(void **state)
{
    (void)state;
    const char *argv[] = {"sleep", "1000", NULL};
    struct proc_spec spec = {.argv = argv, .timeout_ms = 60000};

    proc_free(proc_start(loop, &spec, not_called, NULL, NULL));
}

static void start_refused(const char *program, int code, const char *text, const char *hint)
{
    const char *argv[] = {program, NULL};
    struct proc_spec spec = {.argv = argv, .timeout_ms = 1000, .output_max = 10};
    auto_err struct err *e = NULL;

    assert_null(proc_start(loop, &spec, not_called, NULL, &e));
    assert_int_equal(e->kind, ERR_SYSTEM);
    assert_int_equal(e->code, code);
    assert_non_null(strstr(e->text, text));
    assert_non_null(strstr(e->hint, hint));
}

static void says_why_a_program_cannot_be_started(void **state)
{
    (void)state;
    auto_free char *path = xasprintf("%s/script", dir);
    FILE *f = fopen(path, "we");

    fprintf(f, "echo no interpreter named\n");
    fclose(f);
    start_refused("no-such-program", ENOENT, "no-such-program cannot be started", PROC_PATH);
    start_refused("/no/such/program", ENOENT, "/no/such/program", "does not exist");
    chmod(path, 0600);
    start_refused(path, EACCES, path, "chmod +x");
    chmod(path, 0700);
    start_refused(path, ENOEXEC, path, "#!/bin/sh");
    unlink(path);
    start_refused("/tmp", EACCES, "/tmp", "executable");
}

static void puts_results_into_words(void **state)
{
    (void)state;
    static char output[] = "first\nnginx: [emerg] bad thing\r\n\n  \nat file x:3\nlast";
    const struct {
        struct proc_result result;
        const char *text;
    } cases[] = {
        {{.status = 1, .output = output, .output_len = sizeof(output) - 1},
         "nginx exited with status 1: nginx: [emerg] bad thing; at file x:3; last"},
        {{.status = 127, .output = output}, "nginx exited with status 127"},
        {{.status = -1, .signal = SIGSEGV, .output = output, .output_len = 5},
         "nginx was ended by signal 11 (Segmentation fault): first"},
        {{.status = 0, .timed_out = true, .took_ms = 1500, .output = output, .output_len = 6},
         "nginx did not end in time and was stopped after 1.5 s: first"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_err struct err *e = NULL;
        assert_false(proc_result_ok(&cases[i].result, "nginx", &e));
        assert_int_equal(e->kind, ERR_SYSTEM);
        assert_string_equal(e->text, cases[i].text);
    }
    char long_line[5000];
    memset(long_line, 'x', sizeof(long_line));
    struct proc_result r = {.status = 2, .output = long_line, .output_len = sizeof(long_line)};
    auto_err struct err *e = NULL;
    assert_false(proc_result_ok(&r, "nginx", &e));
    assert_true(strlen(e->text) < 700);
}

#define PROC_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROC_TEST(gives_status_and_both_outputs),
        PROC_TEST(a_process_may_be_freed_in_its_own_callback),
        PROC_TEST(starts_with_nothing_of_ours),
        PROC_TEST(gives_the_environment_and_the_input_it_was_told),
        PROC_TEST(survives_a_child_that_does_not_read_its_input),
        PROC_TEST(keeps_the_beginning_of_a_long_output),
        PROC_TEST(stops_the_whole_group_at_the_time_out),
        PROC_TEST(kills_what_does_not_hear_the_first_signal),
        PROC_TEST(reports_a_time_out_even_if_the_child_ends_well_after_it),
        PROC_TEST(is_over_when_the_child_exits_even_if_a_daemon_keeps_the_pipe),
        PROC_TEST(a_freed_process_is_killed_and_reaped),
        PROC_TEST(the_loop_may_end_right_after_a_process_was_freed),
        PROC_TEST(says_why_a_program_cannot_be_started),
        cmocka_unit_test(puts_results_into_words),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
