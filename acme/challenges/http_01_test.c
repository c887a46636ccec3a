#include "acme/challenge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/yaml.h"

#define PREFIX "/.well-known/acme-challenge/"

static struct loop *loop;
static struct worker *worker;
static struct solver *solver;
static int port;
static char root[64];

/* Making a solver from its configuration ------------------------------------------------------ */

static bool read_settings(const char *text, struct solver *s, struct problems *problems)
{
    struct yaml *y = yaml_parse("test.yaml", text, strlen(text), problems);
    const struct yaml_node *node = yaml_root(y);

    s->type = challenge_type_find("http-01");
    assert_non_null(s->type);
    s->name = xstrdup("web");
    s->settings = xcalloc(1, s->type->settings_size);
    schema_read(s->type->fields, node, "challenges.web", NULL, s->settings, NULL, problems);
    s->type->check(s->settings, node, "challenges.web", problems);
    yaml_free(y);
    return problems->errors == 0;
}

static struct solver *open_solver(const char *text)
{
    struct solver *s = xcalloc(1, sizeof(*s));
    struct problems problems = {0};
    auto_err struct err *e = NULL;

    if (!read_settings(text, s, &problems))
        fail_msg("%s", problems.items[0].message);
    problems_done(&problems);
    if (!solver_open(s, loop, worker, &e))
        fail_msg("%s", e->text);
    return s;
}

/* A port of the loopback that is free on IPv4 and IPv6. */
static int free_port(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    socklen_t len = sizeof(a);
    auto_close int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    return ntohs(a.sin6_port);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    worker = worker_new(loop, 2, NULL);
    snprintf(root, sizeof(root), "/tmp/http-01-test-XXXXXX");
    port = free_port();
    return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    solver_free(solver);
    solver = NULL;
    worker_free(worker);
    loop_free(loop);
    return file_remove(AT_FDCWD, root, NULL) ? 0 : -1;
}

static void open_listener(void)
{
    auto_free char *text = xasprintf("{listen: \":%d\"}", port);

    solver = open_solver(text);
}

static void open_webroot(void)
{
    auto_free char *text = xasprintf("{webroot: %s}", root);

    solver = open_solver(text);
}

/* Presenting ---------------------------------------------------------------------------------- */

static struct {
    unsigned calls;
    struct err *err;
} shown;

static void on_shown(const struct err *e, void *userdata)
{
    (void)userdata;
    shown.calls++;
    err_free(shown.err);
    shown.err = err_copy(e);
    loop_exit(loop, 0);
}

static struct present *show(const char *token, const char *text)
{
    unsigned before = shown.calls;
    struct present *p =
        solver->type->present(solver, "www.example.org", token, text, on_shown, NULL);

    assert_int_equal(shown.calls, before); /* never from inside */
    loop_run(loop);
    assert_int_equal(shown.calls, before + 1);
    return p;
}

static void hide(struct present *p)
{
    solver->type->withdraw(p);
}

/* A client on a pool thread, as the loop serves meanwhile -------------------------------------- */

struct client {
    int family;
    char *request;
    char reply[4096];
    bool refused;
};

static int connect_to(int family)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    int r = family == AF_INET ? connect(fd, (struct sockaddr *)&v4, sizeof(v4))
                              : connect(fd, (struct sockaddr *)&v6, sizeof(v6));
    if (r == 0)
        return fd;
    close(fd);
    return -1;
}

static void run_client(void *task)
{
    struct client *c = task;
    auto_close int fd = connect_to(c->family);
    size_t len = 0;

    c->refused = fd < 0;
    if (fd < 0 || write(fd, c->request, strlen(c->request)) < 0)
        return;
    for (;;) {
        ssize_t n = read(fd, c->reply + len, sizeof(c->reply) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    c->reply[len] = '\0';
}

static void on_client(void *task)
{
    (void)task;
    loop_exit(loop, 0);
}

static void ask(struct client *c, const char *method, const char *path)
{
    c->family = c->family ? c->family : AF_INET;
    c->request = xasprintf("%s %s HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n",
                           method, path);
    job_start(worker, run_client, on_client, NULL, c);
    loop_run(loop);
    free(c->request);
}

static void answers(int family, const char *method, const char *path, const char *status,
                    const char *body)
{
    struct client c = {.family = family};

    ask(&c, method, path);
    if (c.refused)
        fail_msg("refused");
    if (strncmp(c.reply, status, strlen(status)) != 0)
        fail_msg("%s %s: %s", method, path, c.reply);
    const char *end = strstr(c.reply, "\r\n\r\n");
    assert_non_null(end);
    if (body)
        assert_string_equal(end + 4, body);
}

static bool is_closed(int family)
{
    struct client c = {.family = family};

    ask(&c, "GET", "/");
    return c.refused;
}

/* The listener -------------------------------------------------------------------------------- */

static void answers_exactly_the_live_tokens(void **state)
{
    (void)state;
    open_listener();
    struct present *p = show("tok-1", "tok-1.thumb");
    assert_null(shown.err);
    answers(AF_INET, "GET", PREFIX "tok-1", "HTTP/1.1 200", "tok-1.thumb");
    answers(AF_INET6, "GET", PREFIX "tok-1", "HTTP/1.1 200", "tok-1.thumb");
    answers(AF_INET, "HEAD", PREFIX "tok-1", "HTTP/1.1 200", "");
    answers(AF_INET, "GET", PREFIX "tok-2", "HTTP/1.1 404", NULL);
    answers(AF_INET, "GET", PREFIX "tok-1/", "HTTP/1.1 404", NULL);
    answers(AF_INET, "GET", PREFIX "TOK-1", "HTTP/1.1 404", NULL);
    answers(AF_INET, "GET", PREFIX, "HTTP/1.1 404", NULL);
    answers(AF_INET, "GET", "/tok-1", "HTTP/1.1 404", NULL);
    answers(AF_INET, "GET", "/.well-known/acme-challenge", "HTTP/1.1 404", NULL);
    answers(AF_INET, "GET", "/x" PREFIX "tok-1", "HTTP/1.1 404", NULL);
    hide(p);
}

static void reflects_nothing_of_a_request(void **state)
{
    (void)state;
    struct client c = {.family = AF_INET};

    open_listener();
    struct present *p = show("tok-1", "tok-1.thumb");
    ask(&c, "GET", PREFIX "reflected-text");
    assert_null(strstr(c.reply, "reflected"));
    assert_null(strstr(c.reply, "tok-1"));
    hide(p);
}

static void is_open_only_while_something_is_pending(void **state)
{
    (void)state;
    open_listener();
    assert_true(is_closed(AF_INET));
    struct present *first = show("tok-1", "a");
    struct present *second = show("tok-2", "b");
    hide(first);
    answers(AF_INET, "GET", PREFIX "tok-1", "HTTP/1.1 404", NULL);
    answers(AF_INET, "GET", PREFIX "tok-2", "HTTP/1.1 200", "b");
    hide(second);
    assert_true(is_closed(AF_INET));
    assert_true(is_closed(AF_INET6));
    struct present *again = show("tok-1", "a");
    answers(AF_INET6, "GET", PREFIX "tok-1", "HTTP/1.1 200", "a");
    hide(again);
}

static void two_orders_may_share_a_token_but_not_two_accounts(void **state)
{
    (void)state;
    open_listener();
    struct present *a = show("tok", "tok.one");
    struct present *b = show("tok", "tok.one");
    assert_null(shown.err);
    struct present *c = show("tok", "tok.two");
    assert_non_null(shown.err);
    hide(c);
    hide(a);
    answers(AF_INET, "GET", PREFIX "tok", "HTTP/1.1 200", "tok.one");
    hide(b);
}

static void a_taken_port_is_explained(void **state)
{
    (void)state;
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    auto_close int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    open_listener();
    struct present *p = show("tok", "x");
    assert_non_null(shown.err);
    assert_int_equal(shown.err->kind, ERR_SYSTEM);
    assert_int_equal(shown.err->code, EADDRINUSE);
    auto_free char *pid = xasprintf("%d", (int)getpid());
    assert_non_null(strstr(shown.err->text, pid)); /* who has it: this test */
    assert_non_null(strstr(shown.err->hint, "webroot"));
    assert_non_null(strstr(shown.err->hint, "127.0.0.1:9480"));
    hide(p);
}

/* A socket as systemd passes it: descriptor 3. */
static void a_passed_socket_stays_open(void **state)
{
    (void)state;
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto_free char *pid = xasprintf("%d", (int)getpid());

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(dup2(fd, 3), 3); /* main keeps it free */
    close(fd);
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "web", 1);
    solver = open_solver("{listen: \":1\"}"); /* not bound */
    unsetenv("LISTEN_FDS");
    answers(AF_INET6, "GET", PREFIX "tok", "HTTP/1.1 404", NULL);
    struct present *p = show("tok", "x");
    assert_null(shown.err);
    answers(AF_INET, "GET", PREFIX "tok", "HTTP/1.1 200", "x");
    hide(p);
    answers(AF_INET, "GET", PREFIX "tok", "HTTP/1.1 404", NULL);
    solver_free(solver);
    solver = NULL;
}

static void unknown_types_are_not_found(void **state)
{
    (void)state;
    assert_null(challenge_type_find("http-02"));
    assert_null(challenge_type_find("http_01"));
    assert_null(challenge_type_find(""));
}

static void withdrawing_before_the_turn_is_silent(void **state)
{
    (void)state;
    unsigned before = shown.calls;

    open_listener();
    hide(solver->type->present(solver, "www.example.org", "tok", "x", on_shown, NULL));
    assert_true(is_closed(AF_INET));
    assert_int_equal(shown.calls, before);
}

/* The webroot --------------------------------------------------------------------------------- */

static bool file_is(const char *token, const char *text)
{
    auto_free char *path = xasprintf("%s" PREFIX "%s", root, token);
    auto_buf struct buf b;
    auto_err struct err *e = NULL;

    buf_init(&b, 1000);
    if (!file_read(AT_FDCWD, path, 1000, false, &b, &e))
        return !text;
    return text && strcmp(b.data, text) == 0;
}

/* Until the pool has done what was given to it so far. */
static void settle(void)
{
    worker_free(worker);
    worker = NULL;
}

static void puts_tokens_into_the_webroot_and_removes_them(void **state)
{
    (void)state;
    open_webroot();
    struct present *p = show("tok-1", "tok-1.thumb");
    assert_null(shown.err);
    assert_true(file_is("tok-1", "tok-1.thumb"));
    hide(p);
    settle();
    assert_true(file_is("tok-1", NULL));
    assert_true(file_is(".everleaf-tok-1", NULL));
}

static void a_token_withdrawn_while_written_does_not_stay(void **state)
{
    (void)state;
    unsigned before = shown.calls;

    open_webroot();
    hide(solver->type->present(solver, "www.example.org", "tok-1", "x", on_shown, NULL));
    settle();
    assert_int_equal(shown.calls, before);
    assert_true(file_is("tok-1", NULL));
}

static void an_absent_webroot_is_an_error_when_it_is_needed(void **state)
{
    (void)state;
    auto_free char *text = xasprintf("{webroot: %s/absent}", root);

    solver = open_solver(text);
    struct present *p = show("tok-1", "x");
    assert_non_null(shown.err);
    assert_non_null(strstr(shown.err->text, "absent"));
    assert_non_null(shown.err->hint);
    hide(p);
}

/* The settings -------------------------------------------------------------------------------- */

static void has_problem(const char *text, bool error, const char *part)
{
    struct solver *s = xcalloc(1, sizeof(*s));
    struct problems problems = {0};
    bool good = read_settings(text, s, &problems);

    assert_true(good == !error);
    if (problems.n != 1 || !strstr(problems.items[0].message, part))
        fail_msg("%s: %s", text, problems.n ? problems.items[0].message : "no problem");
    assert_int_equal(problems.items[0].line, 1);
    problems_done(&problems);
    solver_free(s);
}

static void exactly_one_way_is_configured(void **state)
{
    (void)state;
    has_problem("{webroot: /, listen: \":80\"}", true, "exclude");
    has_problem("{webroot: /nonexistent}", false, "/nonexistent");
    has_problem("{listen: [\":80\", \"nonsense\"]}", true, "nonsense");
    has_problem("{web_root: /}", true, "web_root");
    solver = open_solver("{}");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(answers_exactly_the_live_tokens),
        T(reflects_nothing_of_a_request),
        T(is_open_only_while_something_is_pending),
        T(two_orders_may_share_a_token_but_not_two_accounts),
        T(a_taken_port_is_explained),
        T(withdrawing_before_the_turn_is_silent),
        T(a_passed_socket_stays_open),
        T(unknown_types_are_not_found),
        T(puts_tokens_into_the_webroot_and_removes_them),
        T(a_token_withdrawn_while_written_does_not_stay),
        T(an_absent_webroot_is_an_error_when_it_is_needed),
        T(exactly_one_way_is_configured),
    };
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (null != 3 && fcntl(3, F_GETFD) < 0 && dup2(null, 3) != 3)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    err_free(shown.err);
    return failed;
}
