#include "acme/authz_object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct challenge_type http = {.acme = "http-01", .addresses = true};
static const struct challenge_type dns = {.acme = "dns-01", .wildcards = true};
static struct strv names;

static int setup(void **state)
{
    (void)state;
    strv_add(&names, "www.example.org");
    strv_add(&names, "*.wild.example");
    strv_add(&names, "2001:db8::1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    strv_done(&names);
    return 0;
}

/* The authorization of `name` with the given members and challenges. */
static bool read_authz(const char *name, const char *members, const char *challenges,
                       const struct challenge_type *type, struct authz_object *o, struct err **err)
{
    auto_free char *text =
        xasprintf("{\"identifier\":{\"type\":\"dns\",\"value\":\"%s\"},%s,\"challenges\":[%s]}",
                  name, members, challenges);
    auto_json json_t *json = json_parse(text, strlen(text), NULL);

    assert_non_null(json);
    return authz_object_read(json, type, &names, o, err);
}

static void is_refused(const char *name, const char *members, const char *challenges,
                       const char *reason)
{
    struct authz_object o;
    auto_err struct err *err = NULL;

    if (read_authz(name, members, challenges, &http, &o, &err))
        fail_msg("taken: %s %s %s", name, members, challenges);
    if (!strstr(err->text, reason))
        fail_msg("\"%s\" lacks \"%s\"", err->text, reason);
}

#define PENDING "\"status\":\"pending\""
#define HTTP(token)                                                                                \
    "{\"type\":\"http-01\",\"status\":\"pending\",\"url\":\"https://ca.example/"                   \
    "c\",\"token\":\"" token "\"}"
/* dns-persist-01 has no token; the others are none of ours. */
#define OTHERS                                                                                     \
    "{\"type\":\"dns-persist-01\",\"url\":\"https://ca.example/p\"},7,{},{\"type\":\"http-01\"},"  \
    "{\"type\":\"brand-new-01\",\"url\":9,\"token\":\"../x\"}"

static void picks_our_challenge_among_strange_ones(void **state)
{
    (void)state;
    struct authz_object o;
    auto_err struct err *err = NULL;

    assert_true(
        read_authz("www.example.org", PENDING, OTHERS "," HTTP("tok-EN_1"), &http, &o, &err));
    assert_int_equal(o.status, AUTHZ_STATUS_PENDING);
    assert_string_equal(o.token, "tok-EN_1");
    assert_string_equal(o.challenge_url, "https://ca.example/c");
    assert_false(o.answered);
    authz_object_done(&o);
}

static void a_valid_one_needs_no_challenge(void **state)
{
    (void)state;
    struct authz_object o;

    assert_true(read_authz("WWW.Example.ORG", "\"status\":\"valid\"", "", &http, &o, NULL));
    assert_int_equal(o.status, AUTHZ_STATUS_VALID);
    authz_object_done(&o);
}

static void sees_that_the_ca_works_already(void **state)
{
    (void)state;
    struct authz_object o;

    assert_true(read_authz("www.example.org", PENDING,
                           "{\"type\":\"http-01\",\"status\":\"processing\",\"token\":\"t\","
                           "\"url\":\"https://ca.example/c\"}",
                           &http, &o, NULL));
    assert_true(o.answered);
    authz_object_done(&o);
}

static void refuses_tokens_that_could_be_a_path(void **state)
{
    (void)state;
    static const char reason[] = "token is not base64url";
    char long_token[TOKEN_MAX + 2];

    is_refused("www.example.org", PENDING, HTTP("../../etc/passwd"), reason);
    is_refused("www.example.org", PENDING, HTTP(""), reason);
    is_refused("www.example.org", PENDING, HTTP("a b"), reason);
    is_refused("www.example.org", PENDING, HTTP("a="), reason);
    is_refused("www.example.org", PENDING, HTTP("a\\nb"), reason);
    memset(long_token, 'a', sizeof(long_token) - 1);
    long_token[sizeof(long_token) - 1] = '\0';
    auto_free char *challenge = xasprintf("{\"type\":\"http-01\",\"token\":\"%s\"}", long_token);
    is_refused("www.example.org", PENDING, challenge, reason);
}

static void refuses_foreign_identifiers(void **state)
{
    (void)state;
    is_refused("other.example", PENDING, HTTP("t"), "not in the order");
    is_refused("ww.example.org", PENDING, HTTP("t"), "not in the order");
    is_refused("a.www.example.org", PENDING, HTTP("t"), "not in the order");
}

static void takes_the_domain_above_and_addresses(void **state)
{
    (void)state;
    struct authz_object o;

    assert_true(read_authz("example.org", PENDING, HTTP("t"), &http, &o, NULL)); /* RFC 9444 */
    authz_object_done(&o);
    assert_true(read_authz("2001:DB8:0::1", PENDING, HTTP("t"), &http, &o, NULL));
    assert_string_equal(o.identifier, "2001:db8::1");
    authz_object_done(&o);
}

static void wildcards_need_a_type_that_can(void **state)
{
    (void)state;
    struct authz_object o;

    is_refused("wild.example", PENDING ",\"wildcard\":true", HTTP("t"), "wildcard");
    assert_true(read_authz("wild.example", PENDING ",\"wildcard\":true",
                           "{\"type\":\"dns-01\",\"token\":\"t\",\"url\":\"https://ca.example/\"}",
                           &dns, &o, NULL));
    assert_true(o.wildcard);
    authz_object_done(&o);
}

static void says_what_the_ca_offers_instead(void **state)
{
    (void)state;
    is_refused("www.example.org", PENDING, "{\"type\":\"dns-01\"},{\"type\":\"tls-alpn-01\"}",
               "dns-01, tls-alpn-01");
    is_refused("www.example.org", PENDING, "", "none");
}

static void a_failed_one_tells_the_challenge_and_its_error(void **state)
{
    (void)state;
    struct authz_object o;

    assert_true(read_authz("www.example.org", "\"status\":\"invalid\"",
                           "{\"type\":\"dns-01\",\"status\":\"pending\"},"
                           "{\"type\":\"http-01\",\"status\":\"invalid\",\"error\":{\"type\":"
                           "\"urn:ietf:params:acme:error:connection\",\"detail\":\"refused\"}}",
                           &http, &o, NULL));
    assert_int_equal(o.status, AUTHZ_STATUS_OVER);
    assert_string_equal(o.error->text, "http-01: refused (connection)");
    assert_string_equal(o.error->problem, "connection");
    authz_object_done(&o);
    assert_true(read_authz("www.example.org", "\"status\":\"deactivated\"", "", &http, &o, NULL));
    assert_non_null(strstr(o.error->text, "deactivated"));
    authz_object_done(&o);
}

static void refuses_wrong_types(void **state)
{
    (void)state;
    is_refused("www.example.org", "\"status\":1", "", "status");
    is_refused("www.example.org", PENDING ",\"wildcard\":\"yes\"", HTTP("t"), "wildcard");
    is_refused("www.example.org", PENDING,
               "{\"type\":\"http-01\",\"token\":\"t\",\"url\":\"http://ca.example/\"}", "https");
    is_refused("www.example.org", PENDING, "{\"type\":\"http-01\",\"token\":\"t\"}", "url");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(picks_our_challenge_among_strange_ones),
        cmocka_unit_test(a_valid_one_needs_no_challenge),
        cmocka_unit_test(sees_that_the_ca_works_already),
        cmocka_unit_test(refuses_tokens_that_could_be_a_path),
        cmocka_unit_test(refuses_foreign_identifiers),
        cmocka_unit_test(takes_the_domain_above_and_addresses),
        cmocka_unit_test(wildcards_need_a_type_that_can),
        cmocka_unit_test(says_what_the_ca_offers_instead),
        cmocka_unit_test(a_failed_one_tells_the_challenge_and_its_error),
        cmocka_unit_test(refuses_wrong_types),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
