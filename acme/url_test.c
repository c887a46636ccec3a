#include "acme/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void is_taken(const char *url)
{
    auto_err struct err *err = NULL;

    if (!url_check(url, "finalize", &err))
        fail_msg("%s: %s", url, err->text);
}

static void is_refused(const char *url)
{
    auto_err struct err *err = NULL;

    if (url_check(url, "finalize", &err))
        fail_msg("taken: %s", url);
    assert_int_equal(err->kind, ERR_REFUSED);
    assert_non_null(strstr(err->text, "finalize"));
}

static void takes_https_urls(void **state)
{
    (void)state;
    is_taken("https://ca.example.org/acme/order/1?x=%20y&z=1");
    is_taken("HTTPS://ca.example.org");
    is_taken("https://[2001:db8::1]:14000/dir");
    is_taken("https://ca.example.org/@me");
}

static void refuses_everything_else(void **state)
{
    (void)state;
    is_refused(NULL);
    is_refused("");
    is_refused("http://ca.example.org/");
    is_refused("file:///etc/passwd");
    is_refused("https:/ca.example.org");
    is_refused("https://");
    is_refused("https:///path");
    is_refused("https://?x");
    is_refused("https://user:pass@ca.example.org/");
    is_refused("https://ca.example.org/#fragment");
    is_refused("https://ca.example.org/a b");
    is_refused("https://ca.example.org/\"},{\"");
    is_refused("https://ca.example.org/\r\nHost: x");
    is_refused("https://ca.example.org/\xc3\xa4");
    is_refused(" https://ca.example.org/");
}

static void refuses_what_is_too_long(void **state)
{
    (void)state;
    char url[URL_MAX + 2];

    memset(url, 'a', sizeof(url) - 1);
    url[sizeof(url) - 1] = '\0';
    memcpy(url, "https://", 8);
    is_refused(url);
    url[URL_MAX] = '\0';
    is_taken(url);
}

static void host_is(const char *url, const char *expected)
{
    auto_free char *host = url_host(url);

    assert_string_equal(host, expected);
}

static void names_the_host(void **state)
{
    (void)state;
    host_is("https://ca.example.org:14000/dir", "ca.example.org:14000");
    host_is("https://ca.example.org?x", "ca.example.org");
    host_is("https://", "?");
    host_is("nonsense", "?");
}

static void resolves(const char *reference, const char *expected)
{
    auto_free char *url = url_resolve("https://ca.example.org:1/a/b/c?q#f", reference);

    assert_string_equal(url, expected);
}

static void resolves_references(void **state)
{
    (void)state;
    resolves("https://other.example/x", "https://other.example/x");
    resolves("http://other.example/x", "http://other.example/x"); /* url_check's business */
    resolves("//other.example/x", "https://other.example/x");
    resolves("/x/y", "https://ca.example.org:1/x/y");
    resolves("x", "https://ca.example.org:1/a/b/x");
    resolves("./x", "https://ca.example.org:1/a/b/x");
    resolves("../x?y=/../z", "https://ca.example.org:1/a/x?y=/../z");
    resolves("../../../../x", "https://ca.example.org:1/x");
    resolves("..", "https://ca.example.org:1/a/");
    resolves("/a/./b/../c/.", "https://ca.example.org:1/a/c/");
    resolves("?r", "https://ca.example.org:1/a/b/c?r");
    resolves("", "https://ca.example.org:1/a/b/c?q");
}

static void resolves_against_a_bare_host(void **state)
{
    (void)state;
    auto_free char *url = url_resolve("https://ca.example.org", "x/y");

    assert_string_equal(url, "https://ca.example.org/x/y");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_https_urls),         cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(refuses_what_is_too_long), cmocka_unit_test(names_the_host),
        cmocka_unit_test(resolves_references),      cmocka_unit_test(resolves_against_a_bare_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
