#include "pki/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void becomes(const char *typed, const char *expected)
{
    auto_err struct err *err = NULL;
    auto_free char *name = name_canonical(typed, &err);

    if (!name)
        fail_msg("%s: %s", typed, err->text);
    assert_string_equal(name, expected);
    assert_null(err);
    /* What is canonical stays as it is. */
    auto_free char *again = name_canonical(name, NULL);
    assert_non_null(again);
    assert_string_equal(again, expected);
}

static void is_refused(const char *typed, const char *reason)
{
    auto_err struct err *err = NULL;
    auto_free char *name = name_canonical(typed, &err);

    if (name)
        fail_msg("\"%s\" became \"%s\"", typed, name);
    assert_non_null(err);
    assert_int_equal(err->kind, ERR_CONFIG);
    if (!strstr(err->text, reason))
        fail_msg("\"%s\" lacks \"%s\"", err->text, reason);
}

static void lowers_and_drops_the_trailing_dot(void **state)
{
    (void)state;
    becomes("WWW.Example.ORG", "www.example.org");
    becomes("example.org.", "example.org");
    becomes("*.Example.org", "*.example.org");
    becomes("localhost", "localhost");
    becomes("r3---sn-aigl6nes.example.com", "r3---sn-aigl6nes.example.com");
    becomes("1and1.example", "1and1.example");
    becomes("service.onion", "service.onion");
}

static void converts_international_names(void **state)
{
    (void)state;
    becomes("Bücher.example", "xn--bcher-kva.example");
    becomes("*.BÜCHER.example", "*.xn--bcher-kva.example");
    becomes("straße.example", "xn--strae-oqa.example"); /* IDNA2008, not "strasse" */
    becomes("例え.テスト", "xn--r8jz45g.xn--zckzah");
    becomes("XN--BCHER-KVA.example", "xn--bcher-kva.example");
}

static void writes_addresses_in_rfc_5952_form(void **state)
{
    (void)state;
    becomes("192.0.2.1", "192.0.2.1");
    becomes("2001:DB8::1", "2001:db8::1");
    becomes("2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1");
    becomes("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1");
    becomes("::1", "::1");
}

static void refuses_what_is_no_host_name(void **state)
{
    (void)state;
    is_refused("", "empty");
    is_refused(".", "empty label");
    is_refused(".example.org", "empty label");
    is_refused("example..org", "empty label");
    is_refused("example.org..", "empty label");
    is_refused("*.", "empty label");
    is_refused("*", "wildcard");
    is_refused("*.*.example.org", "wildcard");
    is_refused("www.*.example.org", "wildcard");
    is_refused("w*.example.org", "wildcard");
    is_refused("www", "only one label");
    is_refused("*.com", "only one label");
    is_refused("a_b.example.org", "cannot be part");
    is_refused("a b.example.org", "cannot be part");
    is_refused("a\nb.example.org", "cannot be part");
    is_refused("-a.example.org", "hyphen");
    is_refused("a-.example.org", "hyphen");
    is_refused("https://example.org/", "not a name");
    is_refused("example.org:443", "neither");
    is_refused("[2001:db8::1]", "neither");
    is_refused("fe80::1%eth0", "neither");
    is_refused("10.0.0.256", "neither");
    is_refused("127.1", "neither");
    is_refused("*.192.0.2.1", "neither");
    is_refused("xn--\x7f.example", "cannot be part");
    is_refused("xn--999999999.example", "A-label");
}

static void refuses_tricks_that_appear_only_after_conversion(void **state)
{
    (void)state;
    is_refused("\xef\xbc\x8a.example.org", "wildcard"); /* full-width asterisk */
    /* Full-width digits would become an address that was never checked as one. */
    is_refused("\xef\xbc\x91\xef\xbc\x90.0.0.1", "neither");
    is_refused("example\xe3\x80\x82\xe3\x80\x82org", "empty"); /* two ideographic full stops */
    is_refused("\xff\xfe.example.org", "internationalised");   /* not UTF-8 */
}

static void keeps_the_limits_of_the_domain_name_system(void **state)
{
    char label[65], name[300];

    (void)state;
    memset(label, 'a', 63);
    label[63] = '\0';
    snprintf(name, sizeof(name), "%s.example", label);
    becomes(name, name);
    snprintf(name, sizeof(name), "%sa.example", label);
    is_refused(name, "longer than 63");

    snprintf(name, sizeof(name), "%s.%s.%s.%.61s", label, label, label, label); /* 253 */
    becomes(name, name);
    snprintf(name, sizeof(name), "%s.%s.%s.%.62s", label, label, label, label);
    is_refused(name, "longer than 253");

    auto_free char *huge = xmalloc(100001);
    memset(huge, 'a', 100000);
    huge[100000] = '\0';
    is_refused(huge, "longer than 253");
}

static void a_hint_helps_those_who_paste_an_url(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    assert_null(name_canonical("https://example.org", &err));
    assert_non_null(strstr(err->hint, "without scheme"));
}

static void tells_addresses_from_names(void **state)
{
    (void)state;
    assert_int_equal(name_type("192.0.2.1"), NAME_IP);
    assert_int_equal(name_type("2001:db8::1"), NAME_IP);
    assert_int_equal(name_type("example.org"), NAME_DNS);
    assert_int_equal(name_type("*.example.org"), NAME_DNS);
    assert_null(name_from_ip("12345", 5));
}

static void a_wildcard_covers_one_label(void **state)
{
    (void)state;
    assert_true(name_covers("example.org", "example.org"));
    assert_true(name_covers("*.example.org", "www.example.org"));
    assert_true(name_covers("*.example.org", "*.example.org"));
    assert_true(name_covers("192.0.2.1", "192.0.2.1"));
    assert_false(name_covers("*.example.org", "example.org"));
    assert_false(name_covers("*.example.org", "a.b.example.org"));
    assert_false(name_covers("*.example.org", ".example.org"));
    assert_false(name_covers("example.org", "www.example.org"));
    assert_false(name_covers("*.0.2.1", "192.0.2.1"));
    assert_string_equal(name_base("*.example.org"), "example.org");
    assert_string_equal(name_base("example.org"), "example.org");
    assert_true(name_is_wildcard("*.example.org"));
    assert_false(name_is_wildcard("example.org"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowers_and_drops_the_trailing_dot),
        cmocka_unit_test(converts_international_names),
        cmocka_unit_test(writes_addresses_in_rfc_5952_form),
        cmocka_unit_test(refuses_what_is_no_host_name),
        cmocka_unit_test(refuses_tricks_that_appear_only_after_conversion),
        cmocka_unit_test(keeps_the_limits_of_the_domain_name_system),
        cmocka_unit_test(a_hint_helps_those_who_paste_an_url),
        cmocka_unit_test(tells_addresses_from_names),
        cmocka_unit_test(a_wildcard_covers_one_label),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
