#include "base/http_proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static int clear(void **state)
{
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                        "all_proxy",  "ALL_PROXY",  "no_proxy",    "NO_PROXY"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
    return 0;
}

static void takes_the_variable_of_the_scheme_then_the_one_for_all(void **state)
{
    (void)state;
    assert_null(http_proxy_for("https", "ca.example.org"));
    setenv("ALL_PROXY", "socks5://all", 1);
    assert_string_equal(http_proxy_for("https", "ca.example.org"), "socks5://all");
    setenv("HTTPS_PROXY", "http://upper", 1);
    assert_string_equal(http_proxy_for("https", "ca.example.org"), "http://upper");
    assert_string_equal(http_proxy_for("http", "ca.example.org"), "socks5://all");
    setenv("https_proxy", "http://lower", 1);
    assert_string_equal(http_proxy_for("https", "ca.example.org"), "http://lower");
    setenv("http_proxy", "http://plain", 1);
    assert_string_equal(http_proxy_for("http", "ca.example.org"), "http://plain");
    setenv("https_proxy", "", 1);
    assert_null(http_proxy_for("https", "ca.example.org"));
}

static void does_not_trust_the_variable_that_a_cgi_client_can_set(void **state)
{
    (void)state;
    setenv("HTTP_PROXY", "http://evil", 1);
    assert_null(http_proxy_for("http", "ca.example.org"));
}

static void exempts_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *list, *host;
        bool exempt;
    } cases[] = {
        {"*", "ca.example.org", true},
        {"", "ca.example.org", false},
        {",, ,", "ca.example.org", false},
        {"example.org", "example.org", true},
        {"example.org", "ca.example.org", true},
        {".example.org", "ca.EXAMPLE.org", true},
        {".example.org", "example.org", true},
        {"example.org.", "ca.example.org", true},
        {"example.org", "ca.example.org.", true},
        {"example.org", "badexample.org", false},
        {"ca.example.org", "example.org", false},
        {".", "example.org", false},
        {"localhost, example.net ,ca.example.org", "ca.example.org", true},
        {"localhost example.org", "ca.example.org", true},
        {"127.0.0.1", "127.0.0.1", true},
        {"0.0.1", "127.0.0.1", false},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.0/8", "127.200.0.2", true},
        {"10.0.0.0/9", "10.127.255.255", true},
        {"10.0.0.0/9", "10.128.0.0", false},
        {"0.0.0.0/0", "10.128.0.0", true},
        {"10.0.0.0/33", "10.0.0.0", false},
        {"10.0.0.0/", "10.0.0.0", false},
        {"10.0.0.0/8x", "10.0.0.0", false},
        {"10.0.0.0/8", "example.org", false},
        {"::1", "[::1]", true},
        {"[::1]", "::1", true},
        {"2001:db8::/32", "[2001:db8:1::5]", true},
        {"2001:db8::/32", "[2001:db9::5]", false},
        {"2001:db8::/32", "32.1.13.184", false},
    };

    setenv("https_proxy", "http://proxy", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        setenv("no_proxy", cases[i].list, 1);
        bool exempt = http_proxy_for("https", cases[i].host) == NULL;
        if (exempt != cases[i].exempt)
            fail_msg("no_proxy=\"%s\" for %s: %d", cases[i].list, cases[i].host, exempt);
    }
}

static void survives_entries_of_any_length(void **state)
{
    (void)state;
    char list[2000];

    for (size_t i = 0; i < sizeof(list) - 1; i++)
        list[i] = 'a';
    list[sizeof(list) - 1] = '\0';
    setenv("https_proxy", "http://proxy", 1);
    setenv("NO_PROXY", list, 1);
    assert_non_null(http_proxy_for("https", "ca.example.org"));
    assert_non_null(http_proxy_for("https", list));
}

static void what_was_chosen_goes_before_the_environment(void **state)
{
    (void)state;
    setenv("https_proxy", "http://environment", 1);
    assert_string_equal(http_proxy_chosen(NULL, "https", "ca.example.org"), "http://environment");
    assert_string_equal(http_proxy_chosen("http://p:1", "https", "ca.example.org"), "http://p:1");
    assert_null(http_proxy_chosen("off", "https", "ca.example.org"));
}

static void refuses_what_is_no_proxy(void **state)
{
    (void)state;
    static const char *const good[] = {"off", "http://proxy:3128", "socks5h://[::1]:1080"};
    static const char *const bad[] = {"",        "proxy:3128", "ftp://proxy",
                                      "http://", "http://a b", "http://user:secret@proxy"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(http_proxy_check(good[i], NULL));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_err struct err *e = NULL;
        assert_false(http_proxy_check(bad[i], &e));
        assert_int_equal(e->kind, ERR_CONFIG);
        assert_non_null(e->hint);
        assert_null(strstr(e->text, "secret"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_the_variable_of_the_scheme_then_the_one_for_all, clear),
        cmocka_unit_test_setup(does_not_trust_the_variable_that_a_cgi_client_can_set, clear),
        cmocka_unit_test_setup(exempts_hosts, clear),
        cmocka_unit_test_setup(survives_entries_of_any_length, clear),
        cmocka_unit_test_setup(what_was_chosen_goes_before_the_environment, clear),
        cmocka_unit_test_setup(refuses_what_is_no_proxy, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
