#include "base/httpd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"

#define MAX 16

static struct loop *loop;
static struct httpd *httpd;
static struct sockaddr_in address;
static struct strv listen_on;

static struct {
    size_t n;
    char path[9000], host[256], accept[256];
    size_t body_len;
    char posted[32]; /* and its length in octets: */
    size_t posted_len;
    bool free_server;
} asked;

static void on_request(const struct httpd_request *request, struct httpd_reply *reply,
                       void *userdata)
{
    assert_ptr_equal(userdata, &asked);
    asked.n++;
    snprintf(asked.path, sizeof(asked.path), "%s", request->path);
    snprintf(asked.host, sizeof(asked.host), "%s", request->host ? request->host : "none");
    snprintf(asked.accept, sizeof(asked.accept), "%s", request->accept ? request->accept : "none");
    asked.posted_len = request->body_len;
    if (request->body)
        memcpy(asked.posted, request->body, request->body_len);
    *reply = (struct httpd_reply){.status = 200, .type = "text/plain"};
    if (strcmp(request->path, "/empty") == 0) {
        *reply = (struct httpd_reply){.status = 404};
        return;
    }
    reply->body_len = asked.body_len;
    reply->body = xmalloc(asked.body_len);
    memset(reply->body, 'b', asked.body_len);
    if (asked.free_server)
        httpd_free(take(httpd));
}

static struct sockaddr_in free_address(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    close(fd);
    return addr;
}

static int setup(void **state)
{
    (void)state;
    memset(&asked, 0, sizeof(asked));
    asked.body_len = 5;
    loop = loop_new(NULL);
    address = free_address();
    strv_addf(&listen_on, "127.0.0.1:%u", ntohs(address.sin_port));
    httpd = httpd_new(loop, &listen_on, NULL, 0, MAX, on_request, &asked, NULL);
    return httpd ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    httpd_free(httpd);
    httpd = NULL;
    strv_done(&listen_on);
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

static int client(const char *request)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        assert_int_equal(errno, EINPROGRESS);
    if (request)
        assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return fd;
}

static char *reply; /* of the last client_finish() */

/* Reads until the server closes; the time it took. */
static int64_t client_finish(int fd, int64_t limit_ms)
{
    int64_t begin = clock_boot_ms();
    struct buf b;

    buf_init(&b, SIZE_MAX);
    for (;;) {
        char data[65536];
        ssize_t n = recv(fd, data, sizeof(data), 0);

        if (n > 0)
            buf_add(&b, data, (size_t)n);
        else if (n == 0 || errno != EAGAIN)
            break;
        else
            run_for(1);
        assert_true(clock_boot_ms() - begin < limit_ms);
    }
    close(fd);
    set_string(&reply, buf_take(&b));
    buf_done(&b);
    return clock_boot_ms() - begin;
}

static const char *ask(const char *request)
{
    client_finish(client(request), 5000);
    return reply;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

static void answers_get_and_head(void **state)
{
    (void)state;
    const char *r =
        ask("GET /a/%2e%2e/b%00c?q=%31 HTTP/1.1\r\nHost: www\r\nAccept: text/*\r\n\r\n");

    assert_int_equal(strncmp(r, "HTTP/1.1 200 OK\r\n", 17), 0);
    assert_has(r, "Content-Type: text/plain\r\n");
    assert_has(r, "Content-Length: 5\r\n");
    assert_has(r, "\r\n\r\nbbbbb");
    assert_string_equal(asked.path, "/a/%2e%2e/b%00c"); /* as received */
    assert_string_equal(asked.host, "www");
    assert_string_equal(asked.accept, "text/*");

    r = ask("HEAD / HTTP/1.1\r\nHost: www\r\n\r\n");
    assert_has(r, "Content-Length: 5\r\n");
    assert_string_equal(strstr(r, "\r\n\r\n"), "\r\n\r\n");
    assert_string_equal(asked.accept, "none");

    r = ask("GET /empty HTTP/1.0\r\n\r\n");
    assert_int_equal(strncmp(strchr(r, ' '), " 404 ", 5), 0);
    assert_string_equal(asked.host, "none");
    assert_int_equal(asked.n, 3);
}

static void refuses_every_other_method(void **state)
{
    (void)state;
    static const char *const methods[] = {"POST",    "PUT",   "DELETE", "PATCH",
                                          "OPTIONS", "TRACE", "FOO"};

    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        auto_free char *request = xasprintf(
            "%s / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbody", methods[i]);
        const char *r = ask(request);

        assert_int_equal(strncmp(r, "HTTP/1.1 405 ", 13), 0);
        assert_has(r, "Allow: GET, HEAD\r\n");
    }
    assert_int_equal(asked.n, 0);
}

static void takes_posts_up_to_a_size_where_it_is_told_to(void **state)
{
    (void)state;
    httpd_take_posts(httpd, 16);
    int fd = client("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 16\r\n\r\n01234567");
    run_for(20);
    assert_int_equal(asked.n, 0);
    assert_int_equal(send(fd, "89abcde\0", 8, MSG_NOSIGNAL), 8);
    client_finish(fd, 5000);
    assert_has(reply, "HTTP/1.1 200 OK\r\n");
    assert_int_equal(asked.posted_len, 16);
    assert_memory_equal(asked.posted, "0123456789abcde", 16);

    assert_has(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n0123456789abcdefg"),
               "HTTP/1.1 413 ");
    assert_has(ask("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), " 200 OK\r\n");
    assert_int_equal(asked.posted_len, 0);
    assert_has(ask("PUT / HTTP/1.1\r\nHost: x\r\n\r\n"), "Allow: GET, HEAD, POST\r\n");
    assert_int_equal(asked.n, 2);
    close(client("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n0123")); /* goes away */
    run_for(20);
    assert_int_equal(asked.n, 2);
}

static void answers_a_request_that_comes_in_pieces(void **state)
{
    (void)state;
    static const char request[] = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
    int fd = client(NULL);

    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
        run_for(1);
    }
    client_finish(fd, 5000);
    assert_has(reply, "\r\n\r\nbbbbb");
    assert_string_equal(asked.path, "/slow");
}

static void sends_large_replies_whole(void **state)
{
    (void)state;
    asked.body_len = 5000000;
    const char *r = ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(strlen(strstr(r, "\r\n\r\n") + 4), 5000000);
}

static void bounds_what_it_reads(void **state)
{
    (void)state;
    auto_free char *fine = xasprintf("GET /%07000d HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    auto_free char *line = xasprintf("GET /%01000000d HTTP/1.1\r\nHost: x\r\n\r\n", 0);
    auto_free char *header = xasprintf("GET / HTTP/1.1\r\nHost: x\r\nX: %0200000d\r\n\r\n", 0);
    const char *const requests[] = {line, header};

    assert_has(ask(fine), " 200 OK\r\n");
    assert_int_equal(strlen(asked.path), 7001);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = client(NULL);
        send(fd, requests[i], strlen(requests[i]), MSG_NOSIGNAL);
        client_finish(fd, 5000);
        if (*reply) /* or a reset, because it was not read to its end */
            assert_int_equal(strncmp(reply, "HTTP/1.1 4", 10), 0);
    }
    assert_int_equal(asked.n, 1);
}

static void survives_what_is_no_http(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
        "\r\n\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        int fd = client(requests[i]);
        run_for(5);
        shutdown(fd, SHUT_WR);
        client_finish(fd, 5000);
    }
    assert_has(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), " 200 OK\r\n");
}

static void idle_clients_do_not_keep_out_the_one_that_asks(void **state)
{
    (void)state;
    enum { IDLE = 300 };
    int fds[IDLE];
    size_t open = 0;

    for (size_t i = 0; i < IDLE; i++) {
        fds[i] = client(i % 2 ? "GET / HT" : NULL);
        if (i % 20 == 0)
            run_for(1);
    }
    assert_has(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), " 200 OK\r\n");
    for (size_t i = 0; i < IDLE; i++) {
        char c;
        open += recv(fds[i], &c, 1, 0) < 0 && errno == EAGAIN;
        close(fds[i]);
    }
    assert_true(open < MAX); /* the one that asked had its place, too */
    run_for(5);
    assert_has(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), " 200 OK\r\n");
}

static void sleeps_while_its_clients_are_idle(void **state)
{
    (void)state;
    struct rusage before, after;
    int fd = client("GET / HT");

    run_for(20);
    getrusage(RUSAGE_SELF, &before);
    run_for(300);
    getrusage(RUSAGE_SELF, &after);
    assert_true(after.ru_nvcsw - before.ru_nvcsw <= 3);
    close(fd);
}

struct drip {
    int fd;
    struct timer *timer;
};

static void on_drip(void *userdata)
{
    struct drip *d = userdata;

    timer_free(d->timer);
    send(d->fd, "x", 1, MSG_NOSIGNAL);
    d->timer = timer_after(loop, 500, on_drip, d);
}

static void a_client_that_sends_a_byte_now_and_then_has_ten_seconds(void **state)
{
    (void)state;
    struct drip d = {.fd = client("GET /")};

    d.timer = timer_after(loop, 500, on_drip, &d);
    int64_t took = client_finish(d.fd, 15000);
    timer_free(d.timer);
    assert_in_range(took, 9900, 11500);
    assert_int_equal(asked.n, 0);
}

static void the_request_may_free_the_server(void **state)
{
    (void)state;
    int idle = client("GET / HT");

    asked.free_server = true;
    assert_string_equal(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "");
    assert_null(httpd);
    client_finish(idle, 5000); /* closed with it */
    int fd = client(NULL);
    client_finish(fd, 5000);
    assert_int_equal(asked.n, 1);
    httpd_free(NULL);
}

static void closes_its_port_and_its_connections_when_freed(void **state)
{
    (void)state;
    int fd = client("GET / HT");

    run_for(10);
    httpd_free(take(httpd));
    client_finish(fd, 5000);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    httpd = httpd_new(loop, &listen_on, NULL, 0, MAX, on_request, &asked, NULL); /* again at once */
    assert_non_null(httpd);
    assert_has(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), " 200 OK\r\n");
}

static void says_who_has_the_port(void **state)
{
    (void)state;
    auto_err struct err *e = NULL;
    auto_free char *me = xasprintf("(pid %d)", getpid());

    assert_null(httpd_new(loop, &listen_on, NULL, 0, MAX, on_request, &asked, &e));
    assert_int_equal(e->code, EADDRINUSE);
    assert_has(e->text, me);
    assert_has(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
               " 200 OK\r\n"); /* the first one lives on */
}

static void listens_at_several_places(void **state)
{
    (void)state;
    auto_strv struct strv list = {0};
    struct sockaddr_in second = free_address();
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    auto_free char *file = xasprintf("/tmp/everleaf-httpd-%d", getpid());
    struct stat st;

    httpd_free(take(httpd));
    snprintf(path.sun_path, sizeof(path.sun_path), "%s", file);
    strv_addf(&list, ":%u", ntohs(second.sin_port));
    strv_addf(&list, "unix:%s", file);
    strv_add(&list, listen_on.items[0]);
    httpd = httpd_new(loop, &list, NULL, 0, MAX, on_request, &asked, NULL);
    assert_non_null(httpd);
    assert_has(ask("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"), " 200 OK\r\n");
    address = second;
    assert_has(ask("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"), " 200 OK\r\n");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&path, sizeof(path)), 0);
    assert_int_equal(send(fd, "GET /3 HTTP/1.1\r\nHost: x\r\n\r\n", 28, 0), 28);
    client_finish(fd, 5000);
    assert_has(reply, " 200 OK\r\n");
    assert_string_equal(asked.path, "/3");
    assert_int_equal(asked.n, 3);
    httpd_free(take(httpd));
    assert_int_equal(stat(file, &st), -1);

    strv_add(&list, "nonsense"); /* one bad address: nothing stays open */
    auto_err struct err *e = NULL;
    assert_null(httpd_new(loop, &list, NULL, 0, MAX, on_request, &asked, &e));
    assert_int_equal(e->kind, ERR_CONFIG);
    assert_int_equal(stat(file, &st), -1);
    assert_false(httpd_listen_check("nonsense", NULL));
    assert_true(httpd_listen_check(":80", NULL));
}

static void sockets_from_outside_stay_open(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto_err struct err *e = NULL;

    httpd_free(take(httpd));
    address = free_address();
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_null(httpd_new(loop, &listen_on, &fd, 1, MAX, on_request, &asked, &e));
    assert_has(e->text, "does not listen");
    assert_int_equal(listen(fd, 5), 0);
    for (int i = 0; i < 2; i++) {
        httpd = httpd_new(loop, &listen_on, &fd, 1, MAX, on_request, &asked, NULL);
        assert_non_null(httpd);
        assert_has(ask("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), " 200 OK\r\n");
        httpd_free(take(httpd));
        assert_true(fcntl(fd, F_GETFD) >= 0);
    }
    close(fd);
}

/* In a child, whose descriptors from 3 on are what systemd would have passed. */
static int find_activated(void)
{
    auto_free char *pid = xasprintf("%d", getpid());
    int found[4] = {-1, -1, -1, -1};

    for (int i = 0; i < 4; i++)
        if (dup2(STDIN_FILENO, 3 + i) < 0)
            return 2;
    if (httpd_activated("http", found, 4) != 0)
        return 3;
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "4", 1);
    setenv("LISTEN_FDNAMES", "http:metrics:http:http", 1);
    if (httpd_activated("metrics", found, 4) != 1 || found[0] != 4 || found[1] != -1)
        return 4;
    if (httpd_activated("http", found, 2) != 2 || found[0] != 3 || found[1] != 5 || found[2] != -1)
        return 5;
    if (httpd_activated("http", found, 4) != 3 || found[2] != 6)
        return 6;
    return (int)httpd_activated("htt", found, 4);
}

static void finds_the_sockets_that_systemd_passed_by_name(void **state)
{
    (void)state;
    int status = -1;
    pid_t pid = fork();

    if (pid == 0)
        _exit(find_activated());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void waits_quietly_for_descriptors_to_be_free(void **state)
{
    (void)state;
    struct rlimit before, tight;
    int fd = client("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    struct timer *first = timer_after(loop, 50, end_loop, NULL);
    clock_t cpu = clock();

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    tight.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &tight);
    loop_run(loop);
    run_for(100);
    assert_true(clock() - cpu < CLOCKS_PER_SEC / 20);
    setrlimit(RLIMIT_NOFILE, &before);
    timer_free(first);
    client_finish(fd, 5000);
    assert_has(reply, " 200 OK\r\n");
}

static int free_reply(void **state)
{
    (void)state;
    free(reply);
    return 0;
}

#define HTTPD_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTPD_TEST(answers_get_and_head),
        HTTPD_TEST(refuses_every_other_method),
        HTTPD_TEST(takes_posts_up_to_a_size_where_it_is_told_to),
        HTTPD_TEST(answers_a_request_that_comes_in_pieces),
        HTTPD_TEST(sends_large_replies_whole),
        HTTPD_TEST(bounds_what_it_reads),
        HTTPD_TEST(survives_what_is_no_http),
        HTTPD_TEST(idle_clients_do_not_keep_out_the_one_that_asks),
        HTTPD_TEST(sleeps_while_its_clients_are_idle),
        HTTPD_TEST(a_client_that_sends_a_byte_now_and_then_has_ten_seconds),
        HTTPD_TEST(the_request_may_free_the_server),
        HTTPD_TEST(closes_its_port_and_its_connections_when_freed),
        HTTPD_TEST(says_who_has_the_port),
        HTTPD_TEST(listens_at_several_places),
        HTTPD_TEST(sockets_from_outside_stay_open),
        HTTPD_TEST(finds_the_sockets_that_systemd_passed_by_name),
        HTTPD_TEST(waits_quietly_for_descriptors_to_be_free),
    };
    return cmocka_run_group_tests(tests, NULL, free_reply);
}
