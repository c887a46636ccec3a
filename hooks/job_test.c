#include "hooks/process.h"
#include "hooks/test_hooks.h"

#include <grp.h>
#include <poll.h>
#include <sys/pidfd.h>

static struct hook_job *run_sh(struct test_hooks *t, const char *script,
                               const struct hook_event *event, int64_t timeout_s)
{
    auto_strv struct strv argv = {0};

    strv_add(&argv, "/bin/sh");
    strv_add(&argv, "-c");
    strv_add(&argv, script);
    return hook_run(t->loop, &argv, event, timeout_s, test_on_reload, t);
}

static void exit_status_0_is_done(void **state)
{
    struct test_hooks *t = *state;

    run_sh(t, "exit 0", NULL, 30);
    assert_int_equal(t->calls, 0); /* never at once */
    test_wait(t);
    assert_int_equal(t->result, RELOAD_DONE);
    assert_null(t->error);
}

static void everything_else_failed_and_says_how(void **state)
{
    struct test_hooks *t = *state;
    static const struct {
        const char *script, *text;
    } cases[] = {{"echo line one; echo cannot bind >&2; exit 1", "cannot bind"},
                 {"exit 137", "137"},
                 {"kill -KILL $$", "signal 9"},
                 {"kill -SEGV $$", "signal 11"},
                 {"exec /no/such/program", "127"},
                 {"printf '\\033[2J\\000bad\\n'; exit 2", "\\x1b[2J"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        run_sh(t, cases[i].script, NULL, 30);
        test_wait(t);
        assert_int_equal(t->result, RELOAD_FAILED);
        assert_int_equal(t->error->kind, ERR_SYSTEM);
        test_says(t->error, cases[i].text);
        test_says(t->error, "/bin/sh");
        assert_null(strchr(t->error->text, '\033'));
    }
}

static void a_program_that_cannot_be_started_is_told_on_a_later_turn(void **state)
{
    struct test_hooks *t = *state;
    auto_strv struct strv argv = {0};

    strv_add(&argv, "/no/such/program");
    hook_run(t->loop, &argv, NULL, 30, test_on_reload, t);
    assert_int_equal(t->calls, 0);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "/no/such/program");
}

static void a_hook_that_hangs_is_ended(void **state)
{
    struct test_hooks *t = *state;
    int64_t begun = clock_boot_ms();

    run_sh(t, "sleep 1000", NULL, 1);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "did not end in time");
    assert_true(clock_boot_ms() - begun < 10000);
}

static void a_hook_that_ignores_term_is_killed_with_its_children(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *script = xasprintf(
        "trap '' TERM; sleep 1000 & echo $! >%s; while :; do wait; done", test_path(t, "pid"));

    run_sh(t, script, NULL, 1);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_FAILED);
    auto_free char *pid = test_read(test_path(t, "pid"));
    assert_non_null(pid);
    struct pollfd end = {.fd = pidfd_open((pid_t)strtol(pid, NULL, 10), 0), .events = POLLIN};
    if (end.fd >= 0) {
        assert_int_equal(poll(&end, 1, 10000), 1);
        close(end.fd);
    }
}

static void a_daemon_that_keeps_the_pipe_open_does_not_keep_us(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *script =
        xasprintf("echo started; setsid sleep 1000 & echo $! >%s", test_path(t, "pid"));
    int64_t begun = clock_boot_ms();

    run_sh(t, script, NULL, 60);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_DONE);
    assert_true(clock_boot_ms() - begun < 20000);
    auto_free char *pid = test_read(test_path(t, "pid"));
    assert_int_equal(kill((pid_t)strtol(pid, NULL, 10), SIGKILL), 0); /* it lives on */
}

static void endless_output_is_bounded(void **state)
{
    struct test_hooks *t = *state;

    run_sh(t, "yes | head -c 200000000; echo the last line >&2; exit 3", NULL, 60);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_FAILED);
    assert_true(strlen(t->error->text) < 5000);
    run_sh(t, "yes", NULL, 1);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_FAILED);
}

static void a_freed_job_is_not_heard_of(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *script = xasprintf("sleep 1000; echo x >%s", test_path(t, "late"));

    hook_job_free(run_sh(t, script, NULL, 60));
    hook_job_free(hook_result(t->loop, RELOAD_DONE, NULL, test_on_reload, t));
    hook_job_free(NULL);
    run_sh(t, "exit 0", NULL, 30);
    test_wait(t);
    assert_int_equal(t->calls, 1);
}

static struct hook_job *own;

static void on_own(enum reload_result result, const struct err *e, void *userdata)
{
    hook_job_free(own); /* harmless in the callback */
    test_on_reload(result, e, userdata);
}

static void the_handle_may_be_freed_in_its_callback(void **state)
{
    struct test_hooks *t = *state;

    own = hook_result(t->loop, RELOAD_NOTHING, NULL, on_own, t);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_NOTHING);
}

static void a_result_known_already_is_told_later(void **state)
{
    struct test_hooks *t = *state;
    struct err *e = NULL;

    err_set(&e, ERR_SYSTEM, "no way");
    hook_result(t->loop, RELOAD_FAILED, e, test_on_reload, t);
    err_free(e);
    assert_int_equal(t->calls, 0);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "no way");
}

/* Environment ------------------------------------------------------------------------------------
 */

static void the_environment_is_clean(void **state)
{
    struct test_hooks *t = *state;
    struct hook_event event = {.certificate = "www",
                               .certificates = "www,mail",
                               .names = "www.example.org,example.org",
                               .reason = "renewed",
                               .attempt = "0123",
                               .dir = "/var/lib/everleaf/live/www",
                               .fullchain = "/var/lib/everleaf/live/www/fullchain.pem",
                               .key = "/var/lib/everleaf/live/www/privkey.pem",
                               .serial = "02",
                               .old_serial = "01",
                               .server = "web"};
    auto_free char *script =
        xasprintf("env | grep -v '^PWD=\\|^_=\\|^SHLVL=' | sort >%s", test_path(t, "env"));

    setenv("SECRET_OF_THE_AGENT", "x", 1);
    setenv("LD_PRELOAD_X", "x", 1);
    run_sh(t, script, &event, 30);
    test_wait(t);
    unsetenv("SECRET_OF_THE_AGENT");
    unsetenv("LD_PRELOAD_X");
    auto_free char *text = test_read(test_path(t, "env"));
    assert_string_equal(text,
                        "EVERLEAF_HOOK_ATTEMPT=0123\n"
                        "EVERLEAF_HOOK_CERTIFICATE=www\n"
                        "EVERLEAF_HOOK_CERTIFICATES=www,mail\n"
                        "EVERLEAF_HOOK_DIR=/var/lib/everleaf/live/www\n"
                        "EVERLEAF_HOOK_FULLCHAIN=/var/lib/everleaf/live/www/fullchain.pem\n"
                        "EVERLEAF_HOOK_KEY=/var/lib/everleaf/live/www/privkey.pem\n"
                        "EVERLEAF_HOOK_NAMES=www.example.org,example.org\n"
                        "EVERLEAF_HOOK_OLD_SERIAL=01\n"
                        "EVERLEAF_HOOK_REASON=renewed\n"
                        "EVERLEAF_HOOK_SERIAL=02\n"
                        "EVERLEAF_HOOK_SERVER=web\n"
                        "EVERLEAF_HOOK_STAPLE=\n"
                        "LANG=C.UTF-8\n"
                        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
}

static void values_are_no_shell_text_and_hold_no_line_breaks(void **state)
{
    struct test_hooks *t = *state;
    struct hook_event event = {.certificate = "$(touch /tmp/x); `id` 'a' \"b\""};
    auto_free char *script =
        xasprintf("printf %%s \"$EVERLEAF_HOOK_CERTIFICATE\" >%s", test_path(t, "value"));

    run_sh(t, script, &event, 30);
    test_wait(t);
    auto_free char *text = test_read(test_path(t, "value"));
    assert_string_equal(text, event.certificate);

    event.names = "a.example\nPATH=/tmp";
    run_sh(t, script, &event, 30);
    test_wait(t);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "EVERLEAF_HOOK_NAMES would hold control characters");
}

static void no_descriptor_of_ours_is_inherited(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *script = xasprintf("exec ls /proc/self/fd >%s", test_path(t, "fds"));
    int open_to_children = dup(STDERR_FILENO); /* without CLOEXEC */

    run_sh(t, script, NULL, 30);
    test_wait(t);
    close(open_to_children);
    auto_free char *text = test_read(test_path(t, "fds"));
    assert_string_equal(text, "0\n1\n2\n3\n"); /* 3: the folder that ls reads */
}

/* Signals ----------------------------------------------------------------------------------------
 */

static void send_to(struct test_hooks *t, const char *exe, int signo)
{
    const struct process_target target = {.pid_file = test_path(t, "pid"), .exe = exe};
    hook_signal(t->loop, &target, signo, test_on_reload, t);
    test_wait(t);
}

static void reached(struct test_hooks *t)
{
    int status = 0;

    assert_int_equal(waitpid(t->child, &status, 0), t->child);
    t->child = 0;
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool is_alive(pid_t pid)
{
    return waitpid(pid, NULL, WNOHANG) == 0;
}

static void the_process_gets_the_signal(void **state)
{
    struct test_hooks *t = *state;

    test_put_pid(test_path(t, "pid"), test_child(t, SIGUSR1, 0));
    send_to(t, NULL, SIGUSR1);
    assert_int_equal(t->result, RELOAD_DONE);
    reached(t);
}

static void no_file_or_no_process_is_not_running(void **state)
{
    struct test_hooks *t = *state;

    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    assert_null(t->error);
    test_put(test_path(t, "pid"), "", 0644); /* what `nginx -t` makes */
    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    pid_t pid = test_child(t, 0, 0);
    test_put_pid(test_path(t, "pid"), pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    t->child = 0;
    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
}

static void garbage_reaches_nobody(void **state)
{
    struct test_hooks *t = *state;
    static const char *const texts[] = {"1\n",
                                        "0\n",
                                        "-1\n",
                                        "-1234\n",
                                        "nginx\n",
                                        "12 34\n",
                                        "99999999999999999999\n",
                                        "0x10\n",
                                        "4294967297\n",
                                        "12\n34\n",
                                        "\x1b[2J\n"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        test_put(test_path(t, "pid"), texts[i], 0644);
        send_to(t, NULL, SIGHUP);
        if (t->result != RELOAD_FAILED)
            fail_msg("\"%s\" gave %d", texts[i], t->result);
        test_says(t->error, "instead of a pid");
        assert_null(strchr(t->error->text, '\033'));
    }
}

static void a_recycled_pid_is_not_hit(void **state)
{
    struct test_hooks *t = *state;
    pid_t pid = test_child(t, SIGHUP, 0);

    test_put_pid(test_path(t, "pid"), pid);
    send_to(t, "nginx", SIGHUP);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "hooks_job_test instead of nginx");
    assert_true(is_alive(pid));
    send_to(t, "hooks_job_test", SIGHUP);
    if (t->error)
        fail_msg("%s", t->error->text);
    assert_int_equal(t->result, RELOAD_DONE);
    reached(t);
}

static void a_process_without_a_handler_is_not_killed_by_a_reload(void **state)
{
    struct test_hooks *t = *state;
    pid_t pid = test_child(t, 0, 0);

    test_put_pid(test_path(t, "pid"), pid);
    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "no handler for SIGHUP");
    assert_true(is_alive(pid));
    send_to(t, NULL, SIGWINCH); /* does no harm */
    assert_int_equal(t->result, RELOAD_DONE);
}

static void the_file_of_a_user_names_his_processes_only(void **state)
{
    struct test_hooks *t = *state;

    if (geteuid() != 0)
        skip();
    pid_t pid = test_child(t, SIGHUP, 0);
    test_put_pid(test_path(t, "pid"), pid);
    assert_int_equal(chown(test_path(t, "pid"), 65534, 65534), 0);
    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "of user 65534 names process");
    assert_true(is_alive(pid));
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    test_put_pid(test_path(t, "pid"), test_child(t, SIGHUP, 65534));
    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_DONE);
    reached(t);
}

static void a_file_that_everybody_may_write_or_that_is_none_is_refused(void **state)
{
    struct test_hooks *t = *state;
    pid_t pid = test_child(t, SIGHUP, 0);

    test_put_pid(test_path(t, "pid"), pid);
    assert_int_equal(chmod(test_path(t, "pid"), 0666), 0);
    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "by everybody");
    unlink(test_path(t, "pid"));
    assert_int_equal(mkfifo(test_path(t, "pid"), 0600), 0);
    send_to(t, NULL, SIGHUP); /* does not wait for a writer */
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "no regular file");
    assert_true(is_alive(pid));
}

static void never_signals_itself(void **state)
{
    struct test_hooks *t = *state;

    test_put_pid(test_path(t, "pid"), getpid());
    send_to(t, NULL, SIGHUP);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "this process");
}

static void without_permission_it_says_who_we_are(void **state)
{
    struct test_hooks *t = *state;
    int status = 0;

    if (geteuid() != 0)
        skip();
    test_put_pid(test_path(t, "pid"), test_child(t, SIGHUP, 0));
    assert_int_equal(chmod(t->dir, 0755), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
            _exit(99);
        t->loop = loop_new(NULL); /* ours does not survive a fork */
        hook_signal(
            t->loop,
            &(struct process_target){.pid_file = test_path(t, "pid"), .exe = "hooks_job_test"},
            SIGHUP, test_on_reload, t);
        test_wait(t);
        bool good = t->result == RELOAD_FAILED && strstr(t->error->text, "as user 65534") &&
                    t->error->hint && strstr(t->error->hint, "root");
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(is_alive(t->child));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(exit_status_0_is_done),
        HOOK_TEST(everything_else_failed_and_says_how),
        HOOK_TEST(a_program_that_cannot_be_started_is_told_on_a_later_turn),
        HOOK_TEST(a_hook_that_hangs_is_ended),
        HOOK_TEST(a_hook_that_ignores_term_is_killed_with_its_children),
        HOOK_TEST(a_daemon_that_keeps_the_pipe_open_does_not_keep_us),
        HOOK_TEST(endless_output_is_bounded),
        HOOK_TEST(a_freed_job_is_not_heard_of),
        HOOK_TEST(the_handle_may_be_freed_in_its_callback),
        HOOK_TEST(a_result_known_already_is_told_later),
        HOOK_TEST(the_environment_is_clean),
        HOOK_TEST(values_are_no_shell_text_and_hold_no_line_breaks),
        HOOK_TEST(no_descriptor_of_ours_is_inherited),
        HOOK_TEST(the_process_gets_the_signal),
        HOOK_TEST(no_file_or_no_process_is_not_running),
        HOOK_TEST(garbage_reaches_nobody),
        HOOK_TEST(a_recycled_pid_is_not_hit),
        HOOK_TEST(a_process_without_a_handler_is_not_killed_by_a_reload),
        HOOK_TEST(the_file_of_a_user_names_his_processes_only),
        HOOK_TEST(a_file_that_everybody_may_write_or_that_is_none_is_refused),
        HOOK_TEST(never_signals_itself),
        HOOK_TEST(without_permission_it_says_who_we_are),
    };

    return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
