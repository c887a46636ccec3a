#include "hooks/test_hooks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void check(struct test_hooks *t, const struct server *s)
{
    server_check(s, t->loop, NULL, test_on_check, t);
    test_wait(t);
    assert_true(t->checked);
}

static void reload(struct test_hooks *t, const struct server *s)
{
    server_reload(s, t->loop, NULL, test_on_reload, t);
    test_wait(t);
}

static void types_are_found_by_name(void **state)
{
    (void)state;
    assert_string_equal(server_type_find("nginx")->default_prove, "127.0.0.1:443");
    assert_non_null(server_type_find("exec"));
    assert_non_null(server_type_find("signal"));
    assert_null(server_type_find("Nginx"));
    assert_null(server_type_find(""));
}

static void exec_runs_its_commands(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *yaml =
        xasprintf("{reload: [/bin/sh, -c, 'echo \"$0 $EVERLEAF_HOOK_SERVER\" >%s', '--now; x']}",
                  test_path(t, "out"));
    struct server s = test_server("exec", yaml, NULL);

    reload(t, &s);
    assert_int_equal(t->result, RELOAD_DONE);
    auto_free char *text = test_read(test_path(t, "out"));
    assert_string_equal(text, "--now; x web\n");
    check(t, &s); /* it has none of its own */
    assert_null(t->error);
    server_free(&s);
}

static void a_configured_check_takes_the_place_of_the_types_own(void **state)
{
    struct test_hooks *t = *state;
    struct server s = test_server("exec", "{reload: off}", NULL);

    strv_add(&s.check, "/bin/sh");
    strv_add(&s.check, "-c");
    strv_add(&s.check, "echo certificate broken; exit 1");
    check(t, &s);
    test_says(t->error, "certificate broken");
    test_says(t->error, "/bin/sh");
    s.check_off = true;
    check(t, &s);
    assert_null(t->error);
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_NOTHING);
    server_free(&s);
}

static void the_time_out_is_the_servers(void **state)
{
    struct test_hooks *t = *state;
    struct server s = test_server("exec", "{reload: [sleep, '1000']}", NULL);

    s.timeout_s = 1;
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "sleep");
    server_free(&s);
}

static void settings_are_checked(void **state)
{
    (void)state;
    static const char *const good[] = {"HUP", "SIGHUP", "USR1", "10", "1", "34"};
    static const char *const bad[] = {"KILL", "SIGSTOP", "9",  "19",  "0",     "-1",
                                      "65",   "HUPP",    "''", "hup", "[HUP]", "999"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto_free char *yaml = xasprintf("{pid_file: /x, signal: %s}", good[i]);
        if (test_problem("signal", yaml, ""))
            fail_msg("%s was refused", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_free char *yaml = xasprintf("{pid_file: /x, signal: %s}", bad[i]);
        if (!test_problem("signal", yaml, "signal"))
            fail_msg("%s was taken", bad[i]);
    }
    assert_true(test_problem("signal", "{signal: HUP}", "pid_file"));
    assert_true(test_problem("exec", "{}", "reload"));
    assert_true(test_problem("nginx", "{reload: socket}", "socket"));
    assert_true(test_problem("nginx", "{binary: nginx}", ""));
    assert_false(test_problem("nginx", "{}", ""));
}

static void signal_sends_hup_unless_told_otherwise(void **state)
{
    struct test_hooks *t = *state;
    static const struct {
        const char *more;
        int signo;
    } cases[] = {{"", SIGHUP}, {", signal: USR2", SIGUSR2}, {", signal: 10", SIGUSR1}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *yaml = xasprintf("{pid_file: %s/pid%s}", t->dir, cases[i].more);
        struct server s = test_server("signal", yaml, NULL);
        int status = 0;
        test_put_pid(test_path(t, "pid"), test_child(t, cases[i].signo, 0));
        reload(t, &s);
        if (t->error)
            fail_msg("%s", t->error->text);
        assert_int_equal(t->result, RELOAD_DONE);
        assert_int_equal(waitpid(t->child, &status, 0), t->child);
        t->child = 0;
        assert_true(WIFEXITED(status));
        server_free(&s);
    }
}

static void signal_finds_a_process_by_its_program_and_user(void **state)
{
    struct test_hooks *t = *state;
    char self[256];
    int status = 0;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    assert_true(n > 0);
    self[n] = '\0';
    auto_free char *yaml = xasprintf("{exe: %s, user: %u, signal: USR1}", self, geteuid());
    struct server s = test_server("signal", yaml, NULL);

    reload(t, &s); /* only we run it: never ourselves */
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    test_child(t, SIGUSR1, 0);
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_DONE);
    assert_int_equal(waitpid(t->child, &status, 0), t->child);
    t->child = 0;
    assert_true(WIFEXITED(status));

    pid_t one = test_child(t, SIGUSR1, 0), two = test_child(t, SIGUSR1, 0);
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "several processes");
    test_says(t->error, "pid_file");
    assert_int_equal(waitpid(one, NULL, WNOHANG), 0);
    assert_int_equal(waitpid(two, NULL, WNOHANG), 0);
    kill(one, SIGKILL);
    waitpid(one, NULL, 0);
    server_free(&s);
}

static void signal_leaves_the_same_program_of_another_user_alone(void **state)
{
    struct test_hooks *t = *state;
    struct server s = test_server("signal", "{exe: hooks_server_test, user: '65534'}", NULL);

    test_child(t, SIGHUP, 0);
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    server_free(&s);
    assert_true(test_problem("signal", "{exe: node}", "user"));
    assert_true(test_problem("signal", "{pid_file: /x, user: root}", "without a pid_file"));
    assert_true(test_problem("signal", "{exe: node, user: no such one}", "no user"));
}

/* nginx ------------------------------------------------------------------------------------------
 */

#define NGINX "/usr/sbin/nginx"

static uint16_t free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static void put_config(struct test_hooks *t, uint16_t port, const char *answer)
{
    auto_free char *text =
        xasprintf("daemon off; pid %s/nginx.pid; error_log %s/error.log;\n"
                  "events { worker_connections 64; }\n"
                  "http { access_log off; client_body_temp_path %s/body;\n"
                  " proxy_temp_path %s/proxy; fastcgi_temp_path %s/fastcgi;\n"
                  " uwsgi_temp_path %s/uwsgi; scgi_temp_path %s/scgi;\n"
                  " server { listen 127.0.0.1:%u; return 200 \"%s\"; } }\n",
                  t->dir, t->dir, t->dir, t->dir, t->dir, t->dir, t->dir, port, answer);

    test_put(test_path(t, "nginx.conf"), text, 0644);
}

static struct server make_nginx(struct test_hooks *t, const char *more)
{
    auto_free char *yaml = xasprintf("{binary: " NGINX ", config: %s/nginx.conf, "
                                     "pid_file: %s/nginx.pid%s}",
                                     t->dir, t->dir, more);

    return test_server("nginx", yaml, NULL);
}

/* What it answers; "" when nobody listens. */
static void ask(uint16_t port, char answer[1024])
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    static const char request[] = "GET / HTTP/1.0\r\n\r\n";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t len = 0;

    answer[0] = '\0';
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) > 0) {
        for (ssize_t n; (n = recv(fd, answer + len, 1023 - len, 0)) > 0;)
            len += (size_t)n;
        answer[len] = '\0';
    }
    close(fd);
}

/* Until it answers so, 20 s at most. */
static void answers(uint16_t port, const char *want)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    char answer[1024];

    for (int i = 0; i < 1000; i++) {
        ask(port, answer);
        if (strstr(answer, want))
            return;
        nanosleep(&pause, NULL);
    }
    fail_msg("the answer is \"%s\", not \"%s\"", answer, want);
}

static void start_nginx(struct test_hooks *t, uint16_t port, const char *answer)
{
    put_config(t, port, answer);
    t->child = fork();
    if (t->child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execl(NGINX, "nginx", "-c", test_path(t, "nginx.conf"), (char *)NULL);
        _exit(127);
    }
    answers(port, answer);
}

static void stop_nginx(struct test_hooks *t)
{
    kill(t->child, SIGTERM);
    waitpid(t->child, NULL, 0);
    t->child = 0;
}

static bool is_installed(void)
{
    return geteuid() == 0 && access(NGINX, X_OK) == 0;
}

static void nginx_checks_its_own_configuration(void **state)
{
    struct test_hooks *t = *state;

    if (!is_installed())
        skip();
    struct server s = make_nginx(t, "");
    put_config(t, free_port(), "one");
    check(t, &s);
    assert_null(t->error);
    test_put(test_path(t, "nginx.conf"), "events {}\nhttp { sevrer { } }\n", 0644);
    check(t, &s);
    test_says(t->error, "unknown directive \"sevrer\"");
    test_says(t->error, NGINX);
    unlink(test_path(t, "nginx.conf"));
    check(t, &s);
    assert_non_null(t->error);
    server_free(&s);
}

static void nginx_is_reloaded_by_its_master(void **state)
{
    struct test_hooks *t = *state;
    uint16_t port = free_port();

    if (!is_installed())
        skip();
    struct server s = make_nginx(t, "");
    start_nginx(t, port, "answer-one");
    put_config(t, port, "answer-two");
    check(t, &s);
    assert_null(t->error);
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_DONE);
    answers(port, "answer-two");
    stop_nginx(t);
    server_free(&s);
}

static void nginx_that_is_down_needs_no_reload_not_even_after_its_check(void **state)
{
    struct test_hooks *t = *state;
    uint16_t port = free_port();
    struct stat st;

    if (!is_installed())
        skip();
    struct server s = make_nginx(t, "");
    put_config(t, port, "one");
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    check(t, &s); /* leaves an empty pid file */
    assert_null(t->error);
    assert_int_equal(stat(test_path(t, "nginx.pid"), &st), 0);
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    server_free(&s);
}

static void a_pid_file_of_nginx_that_names_another_program_reaches_nobody(void **state)
{
    struct test_hooks *t = *state;

    if (!is_installed())
        skip();
    struct server s = make_nginx(t, ", reload: signal");
    test_put_pid(test_path(t, "nginx.pid"), test_child(t, SIGHUP, 0));
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "instead of nginx");
    assert_int_equal(waitpid(t->child, NULL, WNOHANG), 0);
    server_free(&s);
}

static void nginx_is_left_alone_where_reload_is_off(void **state)
{
    struct test_hooks *t = *state;
    struct server s = make_nginx(t, ", reload: off");

    test_put_pid(test_path(t, "nginx.pid"), 1);
    reload(t, &s);
    assert_int_equal(t->result, RELOAD_NOTHING);
    server_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(types_are_found_by_name),
        HOOK_TEST(exec_runs_its_commands),
        HOOK_TEST(a_configured_check_takes_the_place_of_the_types_own),
        HOOK_TEST(the_time_out_is_the_servers),
        HOOK_TEST(settings_are_checked),
        HOOK_TEST(signal_sends_hup_unless_told_otherwise),
        HOOK_TEST(signal_finds_a_process_by_its_program_and_user),
        HOOK_TEST(signal_leaves_the_same_program_of_another_user_alone),
        HOOK_TEST(nginx_checks_its_own_configuration),
        HOOK_TEST(nginx_is_reloaded_by_its_master),
        HOOK_TEST(nginx_that_is_down_needs_no_reload_not_even_after_its_check),
        HOOK_TEST(a_pid_file_of_nginx_that_names_another_program_reaches_nobody),
        HOOK_TEST(nginx_is_left_alone_where_reload_is_off),
    };

    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
