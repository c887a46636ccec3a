/* Against a server of a few lines on the same loop, which replies what it is told byte by byte, and
 * against nginx for TLS and HTTP/2. */
#include "base/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/proc.h"

static struct loop *loop;
static struct http *http;

/* The server ---------------------------------------------------------------------------------- */

#define PEERS_MAX 64

static struct server {
    int fd;
    struct io *io;
    char url[64];
    const char *reply; /* NULL: silence */
    size_t reply_len;
    bool close_after, hang_up_idle;
    size_t connections, requests;
    char request[4096]; /* the last one */
    struct peer {
        int fd;
        struct io *io;
        char data[4096];
        size_t len;
    } peers[PEERS_MAX];
} server;

static void peer_end(struct peer *p)
{
    io_free(take(p->io));
    if (p->fd >= 0)
        close(p->fd);
    *p = (struct peer){.fd = -1};
}

static bool is_whole(const struct peer *p)
{
    const char *end = strstr(p->data, "\r\n\r\n"), *length = strstr(p->data, "Content-Length: ");

    return end &&
           p->len >= (size_t)(end + 4 - p->data) + (length ? strtoul(length + 16, NULL, 10) : 0);
}

static void on_peer(struct io *io, uint32_t events, void *userdata)
{
    struct peer *p = userdata;
    ssize_t n = recv(p->fd, p->data + p->len, sizeof(p->data) - 1 - p->len, 0);

    (void)io, (void)events;
    if (n <= 0) {
        peer_end(p);
        return;
    }
    p->len += (size_t)n;
    p->data[p->len] = '\0';
    if (!is_whole(p))
        return;
    server.requests++;
    memcpy(server.request, p->data, p->len + 1);
    p->len = 0;
    if (!server.reply)
        return;
    send(p->fd, server.reply, server.reply_len, MSG_NOSIGNAL);
    if (server.close_after || server.hang_up_idle)
        peer_end(p);
}

static void on_accept(struct io *io, uint32_t events, void *userdata)
{
    int fd = accept4(server.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct peer *p = server.peers;

    (void)io, (void)events, (void)userdata;
    assert_true(fd >= 0);
    server.connections++;
    while (p->fd >= 0)
        assert_true(++p < server.peers + PEERS_MAX);
    p->fd = fd;
    p->io = io_new(loop, fd, EPOLLIN, on_peer, p, NULL);
    assert_non_null(p->io);
}

static int bound_socket(unsigned *ret_port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

static void reply_with(const char *reply)
{
    server.reply = reply;
    server.reply_len = reply ? strlen(reply) : 0;
}

static int setup(void **state)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy",
                                        "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    unsigned port;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    loop = loop_new(NULL);
    http = http_new(loop, NULL);
    server = (struct server){.fd = bound_socket(&port)};
    for (size_t i = 0; i < PEERS_MAX; i++)
        server.peers[i].fd = -1;
    assert_int_equal(listen(server.fd, PEERS_MAX), 0);
    server.io = io_new(loop, server.fd, EPOLLIN, on_accept, NULL, NULL);
    snprintf(server.url, sizeof(server.url), "http://127.0.0.1:%u/dir", port);
    reply_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http_free(http);
    for (size_t i = 0; i < PEERS_MAX; i++)
        peer_end(&server.peers[i]);
    io_free(server.io);
    close(server.fd);
    loop_free(loop);
    return 0;
}

/* The client ---------------------------------------------------------------------------------- */

struct seen {
    size_t calls, wanted;
    long status;
    time_t date;
    size_t body_len;
    char body[256], nonce[64];
    enum err_kind kind;
    int code;
    char error[512], hint[512];
};

static void on_reply(const struct http_reply *r, const struct err *e, void *userdata)
{
    struct seen *s = userdata;

    assert_true(!r != !e);
    s->calls++;
    if (r) {
        const char *nonce = http_header(r, "replay-nonce");
        s->status = r->status;
        s->date = r->date;
        s->body_len = r->body_len;
        assert_int_equal(r->body[r->body_len], '\0');
        snprintf(s->body, sizeof(s->body), "%s", r->body);
        snprintf(s->nonce, sizeof(s->nonce), "%s", nonce ? nonce : "none");
        assert_true(r->took_ms >= 0);
    } else {
        s->kind = e->kind;
        s->code = e->code;
        snprintf(s->error, sizeof(s->error), "%s", e->text);
        snprintf(s->hint, sizeof(s->hint), "%s", e->hint ? e->hint : "");
    }
    if (s->calls == s->wanted)
        loop_exit(loop, 0);
}

static struct http_request get(const char *url)
{
    return (struct http_request){
        .method = "GET", .url = url, .body_max = 1000, .timeout_ms = 20000, .allow_http = true};
}

static struct seen perform(struct http_request request)
{
    struct seen s = {.wanted = 1};

    assert_non_null(http_start(http, &request, on_reply, &s));
    assert_int_equal(s.calls, 0); /* never at once */
    loop_run(loop);
    return s;
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

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is not in \"%s\"", part, text);
}

/* Requests and replies ------------------------------------------------------------------------- */

static void gets_status_headers_and_body(void **state)
{
    (void)state;
    reply_with("HTTP/1.1 201 Created\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
               "Replay-Nonce: abc\r\nContent-Length: 5\r\n\r\nhello");
    struct seen s = perform(get(server.url));

    assert_int_equal(s.status, 201);
    assert_int_equal(s.date, 784111777);
    assert_string_equal(s.body, "hello");
    assert_int_equal(s.body_len, 5);
    assert_string_equal(s.nonce, "abc");
    assert_int_equal(strncmp(server.request, "GET /dir HTTP/1.1\r\n", 19), 0);
    assert_has(server.request, "\r\nUser-Agent: everleaf/" EVERLEAF_VERSION " libcurl/");
    assert_has(server.request, "\r\nAccept-Language: en\r\n");
}

static void posts_exactly_the_given_body_and_headers(void **state)
{
    (void)state;
    static const char *const headers[] = {"Content-Type: application/jose+json", NULL};
    struct http_request r = get(server.url);
    char body[] = "{\"a\":1}trailing";

    r.method = "POST";
    r.headers = headers;
    r.body = body;
    r.body_len = 7;
    struct seen s = {.wanted = 1};
    http_start(http, &r, on_reply, &s);
    memset(body, 'x', sizeof(body)); /* copied */
    loop_run(loop);
    assert_int_equal(s.status, 200);
    assert_has(server.request, "POST /dir HTTP/1.1\r\n");
    assert_has(server.request, "\r\nContent-Type: application/jose+json\r\n");
    assert_has(server.request, "\r\nContent-Length: 7\r\n");
    assert_has(server.request, "\r\n\r\n{\"a\":1}");
    assert_null(strstr(server.request, "Expect"));
    r.headers = NULL;
    r.body = NULL;
    r.body_len = 0;
    perform(r);
    assert_null(strstr(server.request, "Content-Type"));
    assert_has(server.request, "\r\nContent-Length: 0\r\n");
}

static void a_head_request_has_no_body(void **state)
{
    (void)state;
    struct http_request r = get(server.url);

    r.method = "HEAD";
    reply_with("HTTP/1.1 200 OK\r\nReplay-Nonce: n\r\nContent-Length: 500000\r\n\r\n");
    struct seen s = perform(r);
    assert_int_equal(s.status, 200);
    assert_string_equal(s.nonce, "n");
    assert_int_equal(s.body_len, 0);
    assert_int_equal(strncmp(server.request, "HEAD ", 5), 0);
}

static void does_not_follow_redirects(void **state)
{
    (void)state;
    reply_with("HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(perform(get(server.url)).status, 302);
    assert_int_equal(server.requests, 1);
}

static void takes_the_headers_of_the_last_response_only(void **state)
{
    (void)state;
    reply_with("HTTP/1.1 103 Early Hints\r\nReplay-Nonce: early\r\n\r\n"
               "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    struct seen s = perform(get(server.url));
    assert_int_equal(s.status, 200);
    assert_string_equal(s.nonce, "none");
}

static void refuses_urls_that_are_not_https(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "http://127.0.0.1:1/",
        "ftp://ca.example.org/",
        "file:///etc/passwd",
        "ca.example.org",
        "",
        "https://user:pw@ca.example/",
        "https://",
        "nonsense://x/",
        "https://a b/\r\nX: y/",
        "https://ca.example:99999/",
        "gopher://x/",
    };

    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct http_request r = get(urls[i]);
        r.allow_http = false;
        struct seen s = perform(r);
        assert_int_equal(s.calls, 1);
        if (s.kind != ERR_CONFIG)
            fail_msg("%s: %s", urls[i], s.error);
    }
}

/* A hostile server ------------------------------------------------------------------------------
 */

static void refuses_bodies_over_the_maximum(void **state)
{
    (void)state;
    char reply[3000] = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    size_t begin = strlen(reply);

    memset(reply + begin, 'x', 1000);
    reply_with(reply);
    assert_int_equal(perform(get(server.url)).body_len, 1000);

    snprintf(reply, sizeof(reply), "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n%01001d", 0);
    reply_with(reply);
    struct seen s = perform(get(server.url));
    assert_int_equal(s.kind, ERR_REFUSED);
    assert_has(s.error, "127.0.0.1:");
    assert_has(s.error, "1000 bytes");

    /* Without a length, and without an end. */
    snprintf(reply, sizeof(reply),
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5dc\r\n%01500d\r\n", 0);
    reply_with(reply);
    s = perform(get(server.url));
    assert_int_equal(s.kind, ERR_REFUSED);
}

static void refuses_headers_without_end(void **state)
{
    (void)state;
    struct buf b;

    buf_init(&b, 1 << 20);
    buf_add_str(&b, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 2000; i++)
        buf_addf(&b, "X-%04d: %050d\r\n", i, 0);
    reply_with(b.data);
    struct seen s = perform(get(server.url));
    assert_int_equal(s.kind, ERR_REFUSED);
    assert_has(s.error, "65536 bytes");
    buf_done(&b);
}

static void gives_up_on_a_silent_server(void **state)
{
    (void)state;
    struct http_request r = get(server.url);
    int64_t begin = clock_boot_ms();

    reply_with(NULL);
    r.timeout_ms = 150;
    struct seen s = perform(r);
    assert_int_equal(s.kind, ERR_TRANSIENT);
    assert_int_equal(s.code, ETIMEDOUT);
    assert_has(s.error, "no answer from 127.0.0.1:");
    assert_true(clock_boot_ms() - begin >= 149);
    assert_true(clock_boot_ms() - begin < 5000);
    reply_with("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nhalf of it");
    assert_int_equal(perform(r).code, ETIMEDOUT);
}

static void broken_replies_are_worth_another_try(void **state)
{
    (void)state;
    static const char *const replies[] = {
        "220 mail.example.org ESMTP\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\ncut",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nNam",
        "",
        "\r\n\r\n",
    };

    server.close_after = true;
    for (size_t i = 0; i < ARRAY_LEN(replies); i++) {
        reply_with(replies[i]);
        struct seen s = perform(get(server.url));
        assert_int_equal(s.calls, 1);
        if (s.status || s.kind != ERR_TRANSIENT)
            fail_msg("%s: status %ld, %s", replies[i], s.status, s.error);
        assert_has(s.error, "127.0.0.1:");
    }
}

static void names_the_peer_that_is_not_there(void **state)
{
    (void)state;
    unsigned port;
    int fd = bound_socket(&port); /* bound, and nobody listens */
    auto_free char *url = xasprintf("https://127.0.0.1:%u/", port);
    auto_free char *peer = xasprintf("no connection to 127.0.0.1:%u: Connection refused", port);
    struct seen s = perform(get(url));

    assert_int_equal(s.kind, ERR_TRANSIENT);
    assert_int_equal(s.code, ECONNREFUSED);
    assert_string_equal(s.error, peer);
    close(fd);
}

/* Connections --------------------------------------------------------------------------------- */

static void keeps_the_connection_for_the_next_request(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(perform(get(server.url)).status, 200);
    assert_int_equal(server.requests, 5);
    assert_int_equal(server.connections, 1);
}

static void a_connection_that_the_server_closed_meanwhile_is_no_error(void **state)
{
    (void)state;
    struct http_request r = get(server.url);

    server.hang_up_idle = true; /* without having said so */
    r.method = "POST";
    r.body = "x";
    r.body_len = 1;
    for (int i = 0; i < 3; i++)
        assert_int_equal(perform(r).status, 200);
    assert_int_equal(server.requests, 3);
}

static void many_requests_share_few_connections(void **state)
{
    (void)state;
    struct seen s = {.wanted = 40};
    struct http_request r = get(server.url);

    for (size_t i = 0; i < s.wanted; i++)
        http_start(http, &r, on_reply, &s);
    loop_run(loop);
    assert_int_equal(s.status, 200);
    assert_int_equal(server.requests, 40);
    assert_true(server.connections <= 8);
}

/* Freeing ---------------------------------------------------------------------------------------
 */

static void not_called(const struct http_reply *r, const struct err *e, void *userdata)
{
    (void)r, (void)e, (void)userdata;
    fail_msg("a freed call was heard of");
}

static void a_freed_call_ends_unheard(void **state)
{
    (void)state;
    struct http_request r = get(server.url), bad = get("ftp://x/");

    http_call_free(NULL);
    http_call_free(http_start(http, &r, not_called, NULL));
    http_call_free(http_start(http, &bad, not_called, NULL));
    struct http_call *c = http_start(http, &r, not_called, NULL);
    reply_with(NULL);
    while (server.requests == 0) /* in the middle of it */
        run_for(1);
    http_call_free(c);
    run_for(20);
    reply_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_int_equal(perform(get(server.url)).status, 200);
}

struct trio {
    struct http_call *calls[3];
    size_t heard;
};

static void free_the_others(const struct http_reply *r, const struct err *e, void *userdata)
{
    struct trio *t = userdata;

    (void)r, (void)e;
    t->heard++;
    for (size_t i = 0; i < 3; i++)
        http_call_free(t->calls[i]); /* the own one as well */
    loop_exit(loop, 0);
}

static void a_callback_may_free_all_calls(void **state)
{
    (void)state;
    struct trio t = {0};
    struct http_request bad = get("ftp://x/");

    for (size_t i = 0; i < 3; i++)
        t.calls[i] = http_start(http, &bad, free_the_others, &t);
    loop_run(loop);
    run_for(10);
    assert_int_equal(t.heard, 1);
}

static void free_the_client(const struct http_reply *r, const struct err *e, void *userdata)
{
    (void)e, (void)userdata;
    assert_non_null(r);
    http_free(take(http));
    loop_exit(loop, 0);
}

static void a_callback_may_free_the_client(void **state)
{
    (void)state;
    struct http_request r = get(server.url);

    http_start(http, &r, free_the_client, NULL);
    loop_run(loop);
    assert_null(http);
}

static void freeing_the_client_cancels_everything(void **state)
{
    (void)state;
    struct http_request r = get(server.url), bad = get("ftp://x/");

    reply_with(NULL);
    http_start(http, &r, not_called, NULL);
    http_start(http, &bad, not_called, NULL);
    http_free(take(http));
    run_for(10);
}

/* Proxies ---------------------------------------------------------------------------------------
 */

static void says_when_it_was_the_proxy(void **state)
{
    (void)state;
    unsigned port;
    int fd = bound_socket(&port);
    auto_free char *dead = xasprintf("http://user:secret@127.0.0.1:%u", port);
    auto_free char *alive = xstrndup(server.url, strlen(server.url) - strlen("/dir"));

    setenv("https_proxy", dead, 1);
    struct seen s = perform(get("https://ca.example.org/"));
    auto_free char *text =
        xasprintf("no connection to the proxy 127.0.0.1:%u (for ca.example.org:443): "
                  "Connection refused",
                  port);
    assert_int_equal(s.kind, ERR_TRANSIENT);
    assert_int_equal(s.code, ECONNREFUSED);
    assert_string_equal(s.error, text);

    setenv("https_proxy", alive, 1);
    reply_with("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    s = perform(get("https://ca.example.org/"));
    assert_int_equal(s.kind, ERR_TRANSIENT);
    assert_has(s.error, "proxy 127.0.0.1:");
    assert_has(s.error, "407");
    assert_int_equal(strncmp(server.request, "CONNECT ca.example.org:443 HTTP/1.1", 35), 0);

    setenv("https_proxy", "http://no-such-proxy.invalid:3128", 1);
    s = perform(get("https://ca.example.org/"));
    assert_int_equal(s.kind, ERR_TRANSIENT);
    assert_has(s.error, "proxy no-such-proxy.invalid:3128");

    setenv("http_proxy", alive, 1);
    reply_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_int_equal(perform(get("http://ocsp.example.org/")).status, 200);
    assert_int_equal(strncmp(server.request, "GET http://ocsp.example.org/ HTTP/1.1", 37), 0);
    setenv("no_proxy", "127.0.0.1", 1);
    assert_int_equal(perform(get(server.url)).status, 200);
    assert_int_equal(strncmp(server.request, "GET /dir", 8), 0);
    close(fd);
}

/* TLS: nginx --------------------------------------------------------------------------------------
 */

static char dir[] = "/tmp/everleaf-http-XXXXXX";
static struct proc *nginx;
static unsigned tls_port;
static char *good_ca, *other_ca;

static void on_proc_end(const struct proc_result *r, void *userdata)
{
    auto_err struct err *e = NULL;

    (void)userdata;
    if (!proc_result_ok(r, "helper", &e))
        fail_msg("%s", e->text);
    loop_exit(loop, 0);
}

static void make_certificate(const char *name, const char *names)
{
    auto_free char *key = xasprintf("%s/%s.key", dir, name),
                   *pem = xasprintf("%s/%s.pem", dir, name);
    auto_free char *san = xasprintf("subjectAltName=%s", names);
    const char *argv[] = {
        "openssl", "req",     "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes",  "-keyout", key,     "-out",    pem,  "-subj",    "/CN=test",
        "-addext", san,       NULL};
    struct proc_spec spec = {.argv = argv, .timeout_ms = 30000, .output_max = 1000};

    assert_non_null(proc_start(loop, &spec, on_proc_end, NULL, NULL));
    loop_run(loop);
}

static void on_nginx_end(const struct proc_result *r, void *userdata)
{
    (void)userdata;
    fail_msg("nginx ended: %s", r->output);
}

static int start_nginx(void **state)
{
    assert_int_equal(setup(state), 0);
    int fd = bound_socket(&tls_port);
    auto_free char *conf = xasprintf("%s/nginx.conf", dir);
    FILE *f = fopen(conf, "we");

    close(fd);
    make_certificate("good", "IP:127.0.0.1");
    make_certificate("other", "IP:127.0.0.1");
    good_ca = xasprintf("%s/good.pem", dir);
    other_ca = xasprintf("%s/other.pem", dir);
    fprintf(f,
            "daemon off; master_process off; pid %s/pid; error_log stderr;\n"
            "events { worker_connections 256; }\n"
            "http { access_log off; client_body_temp_path %s/1; proxy_temp_path %s/2;\n"
            "fastcgi_temp_path %s/3; uwsgi_temp_path %s/4; scgi_temp_path %s/5;\n"
            "server { listen 127.0.0.1:%u ssl http2; ssl_certificate %s/good.pem;\n"
            "ssl_certificate_key %s/good.key; ssl_protocols TLSv1.2 TLSv1.3;\n"
            "location / { return 200 \"$server_protocol $connection $ssl_protocol\"; } } }\n",
            dir, dir, dir, dir, dir, dir, tls_port, dir, dir);
    fclose(f);
    const char *argv[] = {"nginx", "-c", conf, NULL};
    struct proc_spec spec = {.argv = argv, .timeout_ms = 60000, .output_max = 4000};
    nginx = proc_start(loop, &spec, on_nginx_end, NULL, NULL);
    assert_non_null(nginx);
    return 0;
}

static int stop_nginx(void **state)
{
    proc_free(nginx);
    free(good_ca);
    free(other_ca);
    return teardown(state);
}

static struct http_request tls_get(const char *ca_file)
{
    static char url[64];
    struct http_request r = get(url);

    snprintf(url, sizeof(url), "https://127.0.0.1:%u/", tls_port);
    r.ca_file = ca_file;
    r.allow_http = false;
    return r;
}

static void wait_for_nginx(void)
{
    int64_t until = clock_boot_ms() + 20000;

    while (perform(tls_get(good_ca)).status != 200) {
        assert_true(clock_boot_ms() < until);
        run_for(10);
    }
}

static void many_requests_share_one_tls_connection(void **state)
{
    (void)state;
    struct seen s[60] = {{0}};
    struct http_request r = tls_get(good_ca);

    wait_for_nginx();
    http_free(http); /* a fresh client: all of them meet while the connection is being made */
    http = http_new(loop, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        http_start(http, &r, on_reply, &s[i]);
    for (size_t i = 0; i < ARRAY_LEN(s); i++)
        while (s[i].calls == 0)
            run_for(1);
    for (size_t i = 0; i < ARRAY_LEN(s); i++) {
        assert_int_equal(s[i].status, 200);
        assert_int_equal(strncmp(s[i].body, "HTTP/2.0 ", 9), 0);
        assert_string_equal(s[i].body, s[0].body); /* the number of the connection is in it */
    }
    assert_has(s[0].body, "TLSv1.3");
    assert_string_equal(perform(r).body, s[0].body); /* and is kept */
}

static void refuses_servers_that_the_roots_do_not_vouch_for(void **state)
{
    (void)state;
    wait_for_nginx();
    struct seen s = perform(tls_get(other_ca));
    assert_int_equal(s.kind, ERR_REFUSED);
    assert_has(s.error, "127.0.0.1:");
    assert_has(s.hint, "ca_file");
    assert_has(s.hint, other_ca);

    s = perform(tls_get(NULL));
    assert_int_equal(s.kind, ERR_REFUSED);
    assert_has(s.hint, "private CA");
    assert_int_equal(perform(tls_get(good_ca)).status, 200); /* the other roots taint nothing */

    auto_free char *url = xasprintf("https://localhost:%u/", tls_port);
    struct http_request r = tls_get(good_ca);
    r.url = url;
    s = perform(r);
    assert_int_equal(s.kind, ERR_REFUSED);
    assert_has(s.hint, "other names");
}

static void says_which_ca_file_cannot_be_used(void **state)
{
    (void)state;
    auto_free char *missing = xasprintf("%s/missing.pem", dir);
    struct seen s = perform(tls_get(missing));

    wait_for_nginx();
    s = perform(tls_get(missing));
    assert_int_equal(s.kind, ERR_CONFIG);
    assert_has(s.hint, missing);
}

static void says_when_a_server_speaks_no_tls(void **state)
{
    (void)state;
    auto_free char *url = xasprintf("https%s", server.url + 4);

    reply_with("220 hello\r\n");
    server.close_after = true;
    struct http_request r = get(url);
    r.timeout_ms = 1000; /* our server waits for the end of a request that never comes */
    struct seen s = perform(r);
    assert_int_equal(s.kind, ERR_TRANSIENT);
    assert_has(s.error, "127.0.0.1:");
}

static void does_not_write_the_secrets_of_connections(void **state)
{
    (void)state;
    auto_free char *path = xasprintf("%s/keys", dir);
    struct stat st;

    wait_for_nginx();
    http_free(http);
    setenv("SSLKEYLOGFILE", path, 1);
    http = http_new(loop, NULL);
    assert_int_equal(perform(tls_get(good_ca)).status, 200);
    assert_int_equal(stat(path, &st), -1);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const files[] = {"good.pem",   "good.key", "other.pem", "other.key",
                                        "nginx.conf", "pid",      "1",         "2",
                                        "3",          "4",        "5"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        auto_free char *path = xasprintf("%s/%s", dir, files[i]);
        remove(path);
    }
    return rmdir(dir);
}

#define HTTP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TLS_TEST(f)  cmocka_unit_test_setup_teardown(f, start_nginx, stop_nginx)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HTTP_TEST(gets_status_headers_and_body),
        HTTP_TEST(posts_exactly_the_given_body_and_headers),
        HTTP_TEST(a_head_request_has_no_body),
        HTTP_TEST(does_not_follow_redirects),
        HTTP_TEST(takes_the_headers_of_the_last_response_only),
        HTTP_TEST(refuses_urls_that_are_not_https),
        HTTP_TEST(refuses_bodies_over_the_maximum),
        HTTP_TEST(refuses_headers_without_end),
        HTTP_TEST(gives_up_on_a_silent_server),
        HTTP_TEST(broken_replies_are_worth_another_try),
        HTTP_TEST(names_the_peer_that_is_not_there),
        HTTP_TEST(keeps_the_connection_for_the_next_request),
        HTTP_TEST(a_connection_that_the_server_closed_meanwhile_is_no_error),
        HTTP_TEST(many_requests_share_few_connections),
        HTTP_TEST(a_freed_call_ends_unheard),
        HTTP_TEST(a_callback_may_free_all_calls),
        HTTP_TEST(a_callback_may_free_the_client),
        HTTP_TEST(freeing_the_client_cancels_everything),
        HTTP_TEST(says_when_it_was_the_proxy),
        HTTP_TEST(says_when_a_server_speaks_no_tls),
        TLS_TEST(many_requests_share_one_tls_connection),
        TLS_TEST(refuses_servers_that_the_roots_do_not_vouch_for),
        TLS_TEST(says_which_ca_file_cannot_be_used),
        TLS_TEST(does_not_write_the_secrets_of_connections),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
