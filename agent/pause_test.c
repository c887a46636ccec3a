#include "agent/pause.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void is_url(enum err_kind kind, const char *text, const char *wanted)
{
    auto_err struct err *e = NULL;

    err_set(&e, kind, "%s", text);
    auto_free char *url = pause_url(e);
    if (!wanted)
        assert_null(url);
    else
        assert_string_equal(url, wanted);
}

static void finds_the_link_of_a_paused_account(void **state)
{
    static const char url[] = "https://portal.example/sfe/v1/unpause?jwt=a.b-c_d";

    (void)state;
    is_url(ERR_LIMITED,
           "new-order at ca.example: Your account is temporarily prevented from requesting "
           "certificates for a.example and possibly others. Please visit: "
           "https://portal.example/sfe/v1/unpause?jwt=a.b-c_d (rateLimited, HTTP 429)",
           url);
    is_url(ERR_REFUSED, "x: https://portal.example/sfe/v1/unpause?jwt=a.b-c_d", url);
    is_url(ERR_LIMITED,
           "https://docs.example/ then https://portal.example/sfe/v1/unpause?jwt=a.b-c_d.", url);
    is_url(ERR_LIMITED, "\"https://portal.example/sfe/v1/unpause?jwt=a.b-c_d\"", url);
}

static void takes_nothing_else_for_one(void **state)
{
    (void)state;
    assert_null(pause_url(NULL));
    is_url(ERR_LIMITED, "see https://ca.example/docs/rate-limits/", NULL);
    is_url(ERR_LIMITED, "visit http://portal.example/sfe/v1/unpause", NULL);
    is_url(ERR_LIMITED, "https:///unpause", NULL);
    is_url(ERR_LIMITED, "https://", NULL);
    is_url(ERR_LIMITED, "/unpause", NULL);
    is_url(ERR_TRANSIENT, "https://portal.example/unpause", NULL);
    is_url(ERR_LIMITED, "https://portal.example/x \\x1b/unpause", NULL);
}

static void is_named(const char *text, const char *name, bool wanted)
{
    auto_err struct err *e = NULL;

    err_set(&e, ERR_LIMITED, "%s", text);
    assert_int_equal(pause_names(e, name), wanted);
}

static void finds_names_as_words(void **state)
{
    (void)state;
    is_named("for example.org and others", "example.org", true);
    is_named("for a.example, *.example.org.", "*.example.org", true);
    is_named("for example.org.", "example.org", true);
    is_named("example.org", "example.org", true);
    is_named("for www.example.org and others", "example.org", false);
    is_named("for example.org.uk and others", "example.org", false);
    is_named("for *.example.org and others", "example.org", false);
    is_named("for xexample.org, example.org", "example.org", true);
    is_named("anything", "", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_link_of_a_paused_account),
        cmocka_unit_test(takes_nothing_else_for_one),
        cmocka_unit_test(finds_names_as_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
