/* Against `openssl s_server`, and against listeners that do not speak TLS. */
#include "pki/test_ca.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/proc.h"
#include "pki/probe.h"

static struct loop *loop;
static struct test_pki pki;
static struct cert *leaf;
static char dir[] = "/tmp/everleaf-probe-XXXXXX";

static void put(const char *name, const char *text, const char *more)
{
    auto_free char *path = xasprintf("%s/%s", dir, name);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fprintf(f, "%s%s", text, more);
    fclose(f);
}

static int start(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    if (!loop || !mkdtemp(dir))
        return -1;
    test_pki_make(&pki);
    leaf = test_leaf(&pki, (struct test_spec){.cn = "www"});
    auto_chain struct chain *c = test_chain(&pki, test_copy(leaf));
    auto_free char *cert = chain_to_pem(c, 0), *rest = chain_to_pem(c, 1);
    auto_secret struct secret *key = key_to_pem(pki.leaf_key);

    put("cert.pem", cert, "");
    put("chain.pem", rest, "");
    put("key.pem", (char *)key->data, "");
    put("staple.der", "not verified here", "");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    static const char *const names[] = {"cert.pem", "chain.pem", "key.pem", "staple.der"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        auto_free char *path = xasprintf("%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    cert_free(leaf);
    test_pki_done(&pki);
    loop_free(loop);
    return 0;
}

/* A bound loopback socket: nobody else gets its port. */
static int bound_socket(struct address *ret)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    *ret = (struct address){.len = len};
    memcpy(&ret->addr, &addr, sizeof(addr));
    snprintf(ret->text, sizeof(ret->text), "127.0.0.1:%u", ntohs(addr.sin_port));
    return fd;
}

struct seen {
    bool ok;
    size_t chain_n, staple_len;
    char sha256[65], version[16], error[256];
    int code;
};

static void on_probe(const struct probe_result *r, const struct err *e, void *userdata)
{
    struct seen *s = userdata;

    s->ok = r != NULL;
    if (r) {
        s->chain_n = r->chain->n;
        s->staple_len = r->staple_len;
        snprintf(s->sha256, sizeof(s->sha256), "%s", r->chain->items[0]->sha256_hex);
        snprintf(s->version, sizeof(s->version), "%s", r->version);
    } else {
        snprintf(s->error, sizeof(s->error), "%s", e->text);
        assert_int_equal(e->kind, ERR_TRANSIENT);
        s->code = e->code;
    }
    loop_exit(loop, 0);
}

static struct seen probe(const struct address *a, const char *sni, enum probe_key key, int64_t ms)
{
    struct seen s = {0};

    struct probe_spec spec = {.sni = sni, .key = key, .timeout_ms = ms};

    probe_start(loop, a, &spec, on_probe, &s);
    loop_run(loop);
    return s;
}

static void on_server_end(const struct proc_result *r, void *userdata)
{
    (void)r, (void)userdata;
}

/* Starts a server and waits until it answers. */
static struct proc *serve(struct address *ret, const char *option, const char *value)
{
    auto_free char *cert = xasprintf("%s/cert.pem", dir);
    auto_free char *chain = xasprintf("%s/chain.pem", dir);
    auto_free char *key = xasprintf("%s/key.pem", dir);
    int fd = bound_socket(ret);
    auto_free char *port = xasprintf("127.0.0.1:%s", strchr(ret->text, ':') + 1);
    const char *argv[] = {"openssl", "s_server", "-quiet",      "-accept", port,   "-cert", cert,
                          "-key",    key,        "-cert_chain", chain,     option, value,   NULL};
    struct proc_spec spec = {.argv = argv, .timeout_ms = 60000, .output_max = 1024};
    int64_t until = clock_boot_ms() + 20000;

    close(fd);
    struct proc *p = proc_start(loop, &spec, on_server_end, NULL, NULL);
    assert_non_null(p);
    while (!probe(ret, NULL, PROBE_ANY, 5000).ok)
        assert_true(clock_boot_ms() < until);
    return p;
}

static void sees_chain_and_version(void **state)
{
    (void)state;
    struct address a;
    struct proc *server = serve(&a, NULL, NULL);
    struct seen s = probe(&a, "www.example.org", PROBE_ANY, 5000);

    assert_true(s.ok);
    assert_string_equal(s.sha256, leaf->sha256_hex);
    assert_int_equal(s.chain_n, 2);
    assert_int_equal(s.staple_len, 0);
    assert_string_equal(s.version, "TLSv1.3");
    assert_true(probe(&a, "www.example.org", PROBE_ECDSA, 5000).ok);
    assert_false(probe(&a, "www.example.org", PROBE_RSA, 5000).ok);
    assert_true(probe(&a, "127.0.0.1", PROBE_ANY, 5000).ok);
    proc_free(server);
}

static void sees_a_server_that_wants_a_client_certificate(void **state)
{
    (void)state;
    struct address a;
    struct proc *server = serve(&a, "-Verify", "1");

    assert_string_equal(probe(&a, NULL, PROBE_ANY, 5000).sha256, leaf->sha256_hex);
    proc_free(server);
    server = serve(&a, "-tls1_2", NULL);
    struct seen s = probe(&a, NULL, PROBE_ANY, 5000);
    assert_string_equal(s.sha256, leaf->sha256_hex);
    assert_string_equal(s.version, "TLSv1.2");
    assert_true(probe(&a, NULL, PROBE_ECDSA, 5000).ok);
    assert_false(probe(&a, NULL, PROBE_RSA, 5000).ok);
    proc_free(server);
}

static void tells_a_silent_port_from_a_refused_one(void **state)
{
    (void)state;
    struct address a;
    int fd = bound_socket(&a);
    struct seen s = probe(&a, NULL, PROBE_ANY, 5000);

    assert_false(s.ok);
    assert_int_equal(s.code, ECONNREFUSED);
    assert_non_null(strstr(s.error, a.text));
    assert_int_equal(listen(fd, 1), 0); /* accepts, and says nothing */
    s = probe(&a, NULL, PROBE_ANY, 100);
    assert_false(s.ok);
    assert_non_null(strstr(s.error, "did not finish"));
    close(fd);
}

static void survives_a_peer_that_speaks_no_tls(void **state)
{
    (void)state;
    struct address a;
    int fd = bound_socket(&a);
    struct seen s = {0};

    assert_int_equal(listen(fd, 1), 0);
    probe_start(loop, &a, &(struct probe_spec){.timeout_ms = 5000}, on_probe, &s);
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    assert_true(write(peer, "220 hello\r\n", 11) == 11);
    close(peer);
    loop_run(loop);
    assert_false(s.ok);
    assert_non_null(strstr(s.error, a.text));
    close(fd);
}

/* A server that says what it has to say, however it was asked; then it is silent, or closes. */
struct scripted {
    enum starttls starttls;
    const char *says;
    size_t len;
    bool closes;
    const char *error;
};

static struct seen probe_scripted(const struct scripted *script, int64_t ms, char *heard,
                                  size_t max)
{
    struct address a;
    int fd = bound_socket(&a);
    struct seen s = {0};
    struct probe_spec spec = {.starttls = script->starttls, .timeout_ms = ms};

    assert_int_equal(listen(fd, 1), 0);
    probe_start(loop, &a, &spec, on_probe, &s);
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(peer >= 0);
    assert_int_equal(write(peer, script->says, script->len), script->len);
    if (script->closes)
        assert_int_equal(shutdown(peer, SHUT_WR), 0);
    loop_run(loop);
    ssize_t n = recv(peer, heard, max - 1, MSG_DONTWAIT);
    heard[n > 0 ? n : 0] = '\0';
    close(peer);
    close(fd);
    return s;
}

#define SAYS(text) .says = (text), .len = sizeof(text) - 1

static void refuses_servers_that_do_not_come_to_tls(void **state)
{
    (void)state;
    static const struct scripted scripts[] = {
        {STARTTLS_SMTP, SAYS("554 no\r\n"), false, "smtp: the server refuses: \"554 no\""},
        {STARTTLS_SMTP, SAYS("220 a\r\n250-b\r\n"), true, "closed the connection before TLS"},
        {STARTTLS_POP3, SAYS(""), true, "pop3: the server closed the connection before TLS"},
        {STARTTLS_POP3, SAYS("+OK\r\n+OK\r\n+OK injected\r\n"), false, "came along"},
        {STARTTLS_POSTGRES, SAYS("N"), false, "postgres: the server does not offer TLS"},
        {STARTTLS_LDAP, SAYS("garbage"), false, "ldap: this is no LDAP"},
    };

    for (size_t i = 0; i < ARRAY_LEN(scripts); i++) {
        char heard[512];
        struct seen s = probe_scripted(&scripts[i], 5000, heard, sizeof(heard));

        assert_false(s.ok);
        if (!strstr(s.error, scripts[i].error))
            fail_msg("%s instead of %s", s.error, scripts[i].error);
    }
}

static void waits_for_a_dialogue_until_its_deadline(void **state)
{
    (void)state;
    static const struct scripted silent = {STARTTLS_IMAP, SAYS("* OK"), false, NULL};
    char heard[512];
    struct seen s = probe_scripted(&silent, 100, heard, sizeof(heard));

    assert_false(s.ok);
    assert_non_null(strstr(s.error, "the server did not come to TLS within 100 ms"));
    assert_string_equal(heard, "");
}

struct drip {
    int listener, peer;
    struct timer *timer;
};

static void on_drip(void *userdata)
{
    struct drip *d = userdata;

    if (d->peer < 0)
        d->peer = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
    (void)!send(d->peer, "2", 1, MSG_NOSIGNAL);
    timer_free(d->timer);
    d->timer = timer_after(loop, 1, on_drip, d);
}

/* Each byte is news, but none moves the deadline. */
static void a_server_that_drips_does_not_get_more_time(void **state)
{
    (void)state;
    struct address a;
    struct drip d = {.listener = bound_socket(&a), .peer = -1};
    struct probe_spec spec = {.starttls = STARTTLS_SMTP, .timeout_ms = 150};
    struct seen s = {0};
    int64_t start_ms = clock_boot_ms();

    assert_int_equal(listen(d.listener, 1), 0);
    probe_start(loop, &a, &spec, on_probe, &s);
    d.timer = timer_after(loop, 1, on_drip, &d);
    loop_run(loop);
    timer_free(d.timer);
    close(d.peer);
    close(d.listener);
    assert_non_null(strstr(s.error, "the server did not come to TLS within 150 ms"));
    assert_true(clock_boot_ms() - start_ms >= 150);
}

/* The go-ahead of MySQL is our own request. */
static void begins_tls_after_the_dialogue(void **state)
{
    (void)state;
    static const struct scripted greeting = {STARTTLS_MYSQL,
                                             SAYS("\x1b\0\0\0\x0a"
                                                  "8.0.36\0\1\0\0\0"
                                                  "12345678\0\xff\xff\x21\2\0\xff"),
                                             false, NULL};
    char heard[1024];
    struct seen s = probe_scripted(&greeting, 200, heard, sizeof(heard));

    assert_non_null(strstr(s.error, "the TLS handshake did not finish"));
    assert_memory_equal(heard, "\x20\0\0\x01", 4);
    assert_memory_equal(heard + 36, "\x16\x03\x01", 3); /* a record with a ClientHello */
}

static void never(const struct probe_result *r, const struct err *e, void *userdata)
{
    (void)r, (void)e, (void)userdata;
    fail_msg("called after it was freed");
}

static void on_nothing(void *userdata)
{
    (void)userdata;
    loop_exit(loop, 0);
}

static void a_freed_probe_ends_unheard(void **state)
{
    (void)state;
    struct address a;
    int fd = bound_socket(&a);

    probe_free(probe_start(loop, &a, &(struct probe_spec){.timeout_ms = 10}, never, NULL));
    struct timer *t = timer_after(loop, 30, on_nothing, NULL);
    loop_run(loop);
    timer_free(t);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sees_chain_and_version),
        cmocka_unit_test(sees_a_server_that_wants_a_client_certificate),
        cmocka_unit_test(tells_a_silent_port_from_a_refused_one),
        cmocka_unit_test(survives_a_peer_that_speaks_no_tls),
        cmocka_unit_test(refuses_servers_that_do_not_come_to_tls),
        cmocka_unit_test(waits_for_a_dialogue_until_its_deadline),
        cmocka_unit_test(a_server_that_drips_does_not_get_more_time),
        cmocka_unit_test(begins_tls_after_the_dialogue),
        cmocka_unit_test(a_freed_probe_ends_unheard),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
