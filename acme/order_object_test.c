#include "acme/order_object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define URLS "\"finalize\":\"https://ca.example/f\",\"authorizations\":[\"https://ca.example/a\"]"

static bool read_text(const char *text, struct order_object *o, struct err **err)
{
    auto_json json_t *json = json_parse(text, strlen(text), NULL);

    assert_non_null(json);
    return order_object_read(json, o, err);
}

static void is_refused(const char *text, const char *reason)
{
    struct order_object o;
    auto_err struct err *err = NULL;

    if (read_text(text, &o, &err))
        fail_msg("taken: %s", text);
    assert_int_equal(err->kind, ERR_REFUSED);
    if (!strstr(err->text, reason))
        fail_msg("\"%s\" lacks \"%s\"", err->text, reason);
}

static void reads_a_pending_order_with_members_nobody_knows(void **state)
{
    (void)state;
    struct order_object o;
    auto_err struct err *err = NULL;

    assert_true(
        read_text("{\"status\":\"pending\",\"x\":{\"y\":[1]},\"expires\":7," URLS "}", &o, &err));
    assert_int_equal(o.status, ORDER_STATUS_PENDING);
    assert_int_equal(o.authorizations.n, 1);
    assert_string_equal(o.finalize, "https://ca.example/f");
    assert_null(o.certificate);
    assert_null(o.error);
    order_object_done(&o);
}

static void the_same_authorization_twice_counts_once(void **state)
{
    (void)state;
    struct order_object o;

    assert_true(read_text("{\"status\":\"ready\",\"finalize\":\"https://ca.example/f\","
                          "\"authorizations\":[\"https://ca.example/a\",\"https://ca.example/a\"]}",
                          &o, NULL));
    assert_int_equal(o.authorizations.n, 1);
    order_object_done(&o);
}

static void a_processing_order_needs_nothing_else(void **state)
{
    (void)state;
    struct order_object o;

    assert_true(read_text("{\"status\":\"processing\"}", &o, NULL));
    assert_int_equal(o.status, ORDER_STATUS_PROCESSING);
    order_object_done(&o);
}

static void keeps_the_error_of_an_invalid_order(void **state)
{
    (void)state;
    struct order_object o;

    assert_true(read_text("{\"status\":\"invalid\",\"error\":{\"type\":"
                          "\"urn:ietf:params:acme:error:caa\",\"detail\":\"no\"}}",
                          &o, NULL));
    assert_int_equal(o.status, ORDER_STATUS_INVALID);
    assert_string_equal(o.error->problem, "caa");
    order_object_done(&o);
}

static void refuses_wrong_types(void **state)
{
    (void)state;
    is_refused("{}", "status");
    is_refused("{\"status\":7}", "status");
    is_refused("{\"status\":\"canceled\"}", "canceled");
    is_refused("{\"status\":\"processing\",\"finalize\":1}", "finalize");
    is_refused("{\"status\":\"processing\",\"certificate\":[]}", "certificate");
    is_refused("{\"status\":\"processing\",\"authorizations\":\"x\"}", "authorizations");
    is_refused("{\"status\":\"processing\",\"authorizations\":[{}]}", "authorizations[0]");
}

static void refuses_urls_that_are_not_https(void **state)
{
    (void)state;
    is_refused("{\"status\":\"processing\",\"finalize\":\"http://ca.example/f\"}", "finalize");
    is_refused("{\"status\":\"valid\",\"certificate\":\"file:///etc/passwd\"}", "certificate");
    is_refused("{\"status\":\"processing\",\"authorizations\":[\"http://ca.example/\"]}",
               "authorization");
}

static void refuses_what_lacks_a_needed_member(void **state)
{
    (void)state;
    is_refused("{\"status\":\"pending\",\"authorizations\":[\"https://ca.example/a\"]}",
               "finalize");
    is_refused("{\"status\":\"pending\",\"finalize\":\"https://ca.example/f\"}", "authorizations");
    is_refused("{\"status\":\"ready\"}", "finalize");
    is_refused("{\"status\":\"valid\"," URLS "}", "certificate");
}

static void refuses_endless_lists(void **state)
{
    (void)state;
    auto_json json_t *json = json_pack("{s:s,s:[]}", "status", "processing", "authorizations");
    auto_err struct err *err = NULL;
    struct order_object o;

    for (int i = 0; i <= ORDER_AUTHORIZATIONS_MAX; i++)
        json_array_append_new(json_get(json, "authorizations"), json_string("https://ca.example/"));
    assert_false(order_object_read(json, &o, &err));
    assert_non_null(strstr(err->text, "too many"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_pending_order_with_members_nobody_knows),
        cmocka_unit_test(the_same_authorization_twice_counts_once),
        cmocka_unit_test(a_processing_order_needs_nothing_else),
        cmocka_unit_test(keeps_the_error_of_an_invalid_order),
        cmocka_unit_test(refuses_wrong_types),
        cmocka_unit_test(refuses_urls_that_are_not_https),
        cmocka_unit_test(refuses_what_lacks_a_needed_member),
        cmocka_unit_test(refuses_endless_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
