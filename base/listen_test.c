#include "base/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/everleaf-listen-XXXXXX";

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

static void understands_what_the_manual_promises(void **state)
{
    (void)state;
    static const char *const good[] = {
        ":80",           "127.0.0.1:9402",     "0.0.0.0:1", "[::1]:80", "[2001:db8::1]:65535",
        "localhost:443", "unix:/run/e/s.sock", "[::]:080",
    };
    static const char *const bad[] = {
        "",           "80",           ":",
        ":0",         ":65536",       ":80a",
        ":-1",        ": 80",         ":000080",
        "127.0.0.1",  "127.0.0.1:",   "::1:80",
        "[::1]",      "[::1]80",      "[1.2.3.4]:80",
        "[::g]:80",   "[]:80",        "www.example.org:80",
        "10.1:80",    "1.2.3.4.5:80", "unix:",
        "unix:run/s", "*:80",         "127.0.0.1:80:90",
        "http://x/",  "1.2.3.4 :80",  "[:80",
        "]:80",       "[::1]:80]",
    };
    auto_free char *long_path = xasprintf("unix:/%0107d", 0);
    auto_free char *longest = xasprintf("unix:/%0106d", 0);

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto_err struct err *e = NULL;
        if (!listen_check(good[i], &e))
            fail_msg("%s", e->text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_err struct err *e = NULL;
        if (listen_check(bad[i], &e))
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(e->kind, ERR_CONFIG);
        assert_non_null(strstr(e->hint, "unix:/path"));
    }
    assert_true(listen_check(longest, NULL));
    assert_false(listen_check(long_path, NULL));
}

static unsigned port_of(int fd)
{
    struct sockaddr_in6 addr = {0};
    socklen_t len = sizeof(addr);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    return ntohs(addr.sin6_port); /* at the same place in both families */
}

static int family_of(int fd)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof(addr);

    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    return addr.ss_family;
}

static unsigned free_port(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    unsigned port = port_of(fd);
    close(fd);
    return port;
}

static void a_port_alone_means_both_families(void **state)
{
    (void)state;
    unsigned port = free_port();
    auto_free char *any = xasprintf(":%u", port), *v6 = xasprintf("[::1]:%u", port);
    int fds[LISTEN_SOCKETS_MAX], more[LISTEN_SOCKETS_MAX];
    size_t n = listen_open(any, fds, NULL);

    assert_in_range(n, 1, 2);
    assert_int_equal(family_of(fds[0]), AF_INET);
    assert_int_equal(port_of(fds[0]), port);
    if (n == 2) { /* a machine without IPv6 has one */
        assert_int_equal(family_of(fds[1]), AF_INET6);
        assert_int_equal(port_of(fds[1]), port);
        assert_int_equal(listen_open(v6, more, NULL), 0);
    }
    for (size_t i = 0; i < n; i++) {
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
        close(fds[i]);
    }
}

static void knows_a_socket_that_somebody_else_opened(void **state)
{
    (void)state;
    unsigned port = free_port();
    auto_free char *v4 = xasprintf("127.0.0.1:%u", port), *any = xasprintf(":%u", port);
    auto_free char *v6 = xasprintf("[::1]:%u", port), *next = xasprintf("127.0.0.1:%u", port + 1);
    auto_free char *other = xasprintf("127.0.0.2:%u", port);
    int fds[LISTEN_SOCKETS_MAX];

    assert_int_equal(listen_open(v4, fds, NULL), 1);
    assert_true(listen_is_at(v4, fds[0]));
    assert_true(listen_is_at(any, fds[0]));
    assert_false(listen_is_at(v6, fds[0]));
    assert_false(listen_is_at(other, fds[0]));
    assert_false(listen_is_at(next, fds[0]));
    assert_false(listen_is_at("unix:/run/x", fds[0]));
    assert_false(listen_is_at("nonsense", fds[0]));
    close(fds[0]);
    assert_false(listen_is_at(v4, fds[0]));
}

static void names_the_program_that_has_the_port(void **state)
{
    (void)state;
    unsigned port = free_port();
    auto_free char *text = xasprintf("127.0.0.1:%u", port);
    int fds[LISTEN_SOCKETS_MAX], more[LISTEN_SOCKETS_MAX];
    auto_err struct err *e = NULL;

    assert_int_equal(listen_open(text, fds, NULL), 1);
    assert_int_equal(listen_open(text, more, &e), 0);
    auto_free char *me = xasprintf("%.15s (pid %d)", program_invocation_short_name, getpid());
    assert_int_equal(e->kind, ERR_SYSTEM);
    assert_int_equal(e->code, EADDRINUSE);
    assert_non_null(strstr(e->text, text));
    assert_non_null(strstr(e->text, me));
    close(fds[0]);
    assert_null(listen_holder(port));
}

static void names_at_least_the_user_of_a_hidden_program(void **state)
{
    (void)state;
    auto_free char *text = xasprintf("127.0.0.1:%u", free_port());
    int fds[LISTEN_SOCKETS_MAX], status = -1;

    if (getuid() != 0)
        skip();
    assert_int_equal(listen_open(text, fds, NULL), 1);
    pid_t pid = fork();
    if (pid == 0) { /* somebody who may not look into our process */
        int more[LISTEN_SOCKETS_MAX];
        auto_err struct err *e = NULL;

        close(fds[0]);
        if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
            _exit(2);
        _exit(listen_open(text, more, &e) == 0 && strstr(e->text, "a program of user id 0") ? 0
                                                                                            : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(fds[0]);
}

static void says_why_a_port_cannot_be_had(void **state)
{
    (void)state;
    int fds[LISTEN_SOCKETS_MAX];
    auto_err struct err *e = NULL;

    assert_int_equal(listen_open("192.0.2.77:9402", fds, &e), 0);
    assert_int_equal(e->code, EADDRNOTAVAIL);
    assert_non_null(strstr(e->text, "192.0.2.77:9402"));
    assert_int_equal(listen_open("unix:/no/such/folder/socket", fds, &e), 0);
    assert_int_equal(e->code, ENOENT);
}

static void replaces_the_socket_file_of_a_program_that_is_gone(void **state)
{
    (void)state;
    auto_free char *text = xasprintf("unix:%s/s", dir);
    const char *path = text + 5;
    int fds[LISTEN_SOCKETS_MAX], more[LISTEN_SOCKETS_MAX];
    struct stat st;
    auto_err struct err *e = NULL;

    assert_int_equal(listen_open(text, fds, NULL), 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    assert_int_equal(listen_open(text, more, &e), 0);
    assert_int_equal(e->code, EADDRINUSE);
    assert_non_null(strstr(e->text, "another program listens there"));
    close(fds[0]); /* as after kill -9: the file stays */
    assert_int_equal(listen_open(text, fds, NULL), 1);
    listen_remove_file(text);
    assert_int_equal(stat(path, &st), -1);
    close(fds[0]);
}

static void never_replaces_a_file_that_is_no_socket(void **state)
{
    (void)state;
    auto_free char *text = xasprintf("unix:%s/precious", dir);
    int fds[LISTEN_SOCKETS_MAX], fd = open(text + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    auto_err struct err *e = NULL;
    struct stat st;

    assert_int_equal(listen_open(text, fds, &e), 0);
    assert_int_equal(e->code, EADDRINUSE);
    assert_non_null(strstr(e->text, "no socket"));
    assert_int_equal(stat(text + 5, &st), 0);
    unlink(text + 5);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(understands_what_the_manual_promises),
        cmocka_unit_test(a_port_alone_means_both_families),
        cmocka_unit_test(knows_a_socket_that_somebody_else_opened),
        cmocka_unit_test(names_the_program_that_has_the_port),
        cmocka_unit_test(names_at_least_the_user_of_a_hidden_program),
        cmocka_unit_test(says_why_a_port_cannot_be_had),
        cmocka_unit_test(replaces_the_socket_file_of_a_program_that_is_gone),
        cmocka_unit_test(never_replaces_a_file_that_is_no_socket),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
