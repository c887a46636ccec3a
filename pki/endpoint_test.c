#include "pki/endpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/loop.h"

static void reads(const char *text, const char *host, const char *port, const char *path)
{
    struct endpoint e = {0};
    auto_err struct err *err = NULL;

    if (!endpoint_parse(text, &e, &err))
        fail_msg("%s: %s", text, err->text);
    assert_true(host ? strcmp(e.host, host) == 0 : !e.host);
    assert_true(port ? strcmp(e.port, port) == 0 : !e.port);
    assert_true(path ? strcmp(e.path, path) == 0 : !e.path);
    endpoint_done(&e);
}

static void reads_all_forms(void **state)
{
    (void)state;
    reads("127.0.0.1:443", "127.0.0.1", "443", NULL);
    reads("[::1]:8443", "::1", "8443", NULL);
    reads("app_1:443", "app_1", "443", NULL);
    reads("www.example.org:65535", "www.example.org", "65535", NULL);
    reads("unix:/run/x.sock", NULL, NULL, "/run/x.sock");
}

static void refuses_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "443",
        "host",
        "host:",
        "host:0",
        "host:65536",
        "host:99999999999",
        "::1:443",
        "[::1]",
        "[::1]443",
        "[x]:443",
        ":443",
        "unix:",
        "unix:relative",
        "a b:443",
        "host:4 43",
        "host:-1",
        "ho\nst:443",
        "[::1:443",
        "host:443x",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct endpoint e = {0};
        auto_err struct err *err = NULL;
        if (endpoint_parse(bad[i], &e, &err))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(err->kind, ERR_CONFIG);
    }
}

struct seen {
    struct loop *loop;
    size_t n;
    char first[128];
    bool failed;
};

static void on_resolved(const struct address *addresses, size_t n, const struct err *e,
                        void *userdata)
{
    struct seen *s = userdata;

    s->failed = e != NULL;
    s->n = n;
    if (n > 0)
        strncat(s->first, addresses[0].text, sizeof(s->first) - 1);
    loop_exit(s->loop, 0);
}

static struct seen resolve(const char *text)
{
    struct seen s = {.loop = loop_new(NULL)};
    struct worker *w = worker_new(s.loop, 1, NULL);
    struct endpoint e = {0};

    assert_true(endpoint_parse(text, &e, NULL));
    resolve_start(w, &e, on_resolved, &s);
    loop_run(s.loop);
    endpoint_done(&e);
    worker_free(w);
    loop_free(s.loop);
    return s;
}

static void finds_addresses(void **state)
{
    (void)state;
    struct seen s = resolve("127.0.0.1:443");
    assert_int_equal(s.n, 1);
    assert_string_equal(s.first, "127.0.0.1:443");
    s = resolve("[::1]:443");
    assert_string_equal(s.first, "[::1]:443");
    s = resolve("unix:/run/x");
    assert_string_equal(s.first, "unix:/run/x");
    s = resolve("localhost:443");
    assert_true(s.n >= 1);
}

static void tells_a_name_without_addresses(void **state)
{
    (void)state;
    struct seen s = resolve("does-not-exist.invalid:443");
    assert_true(s.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_forms),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(finds_addresses),
        cmocka_unit_test(tells_a_name_without_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
