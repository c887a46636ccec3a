#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static json_t *parse(const char *text)
{
    auto_err struct err *err = NULL;
    json_t *j = json_parse(text, strlen(text), &err);

    if (!j)
        fail_msg("%s: %s", text, err->text);
    assert_null(err);
    return j;
}

static void is_refused(const char *text, size_t len, const char *reason)
{
    auto_err struct err *err = NULL;
    auto_json json_t *j = json_parse(text, len, &err);

    if (j)
        fail_msg("%.*s was parsed", (int)len, text);
    assert_int_equal(err->kind, ERR_REFUSED);
    if (!strstr(err->text, reason))
        fail_msg("\"%s\" lacks \"%s\"", err->text, reason);
}

#define REFUSED(text, reason) is_refused("" text, sizeof(text) - 1, reason)

static void says_where_foreign_text_stops_being_json(void **state)
{
    (void)state;
    REFUSED("<html>", "not JSON: ");
    REFUSED("<html>", "(line 1, column 1)");
    REFUSED("{\n \"a\": }", "(line 2, column 7)");
    REFUSED("", "not JSON: ");
    REFUSED("{", "not JSON: ");
    REFUSED("{} x", "not JSON: ");
    REFUSED("{}{}", "not JSON: ");
    REFUSED("[1,]", "not JSON: ");
    REFUSED("[NaN]", "not JSON: ");
    REFUSED("[1e999]", "not JSON: ");
    REFUSED("[123456789012345678901234567890]", "not JSON: ");
}

static void wants_an_object_or_an_array(void **state)
{
    (void)state;
    REFUSED("1", "not JSON: ");
    REFUSED("\"text\"", "not JSON: ");
    REFUSED("null", "not JSON: ");
    auto_json json_t *object = parse(" {} \n");
    auto_json json_t *array = parse("[]");
    assert_true(json_is_object(object));
    assert_true(json_is_array(array));
}

static void refuses_what_parsers_disagree_about(void **state)
{
    (void)state;
    REFUSED("{\"a\":1,\"a\":2}", "duplicate");
    REFUSED("{\"x\":{\"a\":1,\"\\u0061\":2}}", "duplicate");
    REFUSED("[\"a\\u0000b\"]", "not JSON: ");
    REFUSED("{\"a\\u0000b\":1}", "not JSON: ");
    REFUSED("[\"a\0b\"]", "not JSON: ");
    REFUSED("[]\0", "not JSON: ");
    REFUSED("[\"\xff\"]", "not JSON: ");
    REFUSED("[\"\\ud800\"]", "not JSON: ");
    REFUSED("[\"\n\"]", "not JSON: ");
}

static void shows_no_foreign_control_characters(void **state)
{
    auto_err struct err *err = NULL;
    static const char text[] = "{\"a\": \x1b[31mx\xc2\x9b}";

    (void)state;
    assert_null(json_parse(text, sizeof(text) - 1, &err));
    assert_null(strchr(err->text, 0x1b));
    assert_null(strstr(err->text, "\xc2\x9b"));
}

static void nests_64_deep_and_no_deeper(void **state)
{
    static const struct {
        const char *open, *close;
    } shapes[] = {{"[", "]"}, {"{\"a\":", "}"}};

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        for (int depth = 63; depth <= 66; depth++) {
            auto_strv struct strv v = {0};

            for (int i = 0; i < depth; i++)
                strv_add(&v, i == depth - 1 ? (s ? "{" : "[") : shapes[s].open);
            for (int i = 0; i < depth; i++)
                strv_add(&v, shapes[s].close);
            auto_free char *text = strv_join(&v, "");
            if (depth > 64) {
                is_refused(text, strlen(text), "64 deep");
            } else {
                auto_json json_t *j = parse(text);
                assert_non_null(j);
            }
        }
    }
    auto_free char *bomb = xmalloc(1000000);
    memset(bomb, '[', 1000000);
    is_refused(bomb, 1000000, "not JSON: ");
}

static void optional_members_may_be_absent_or_null(void **state)
{
    auto_json json_t *j = parse("{\"n\":null}");
    static const char *const names[] = {"n", "absent"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct err *err = NULL;
        const char *s = "kept";
        int64_t n = 42;
        bool b = true;
        time_t t = 42;

        assert_false(json_opt_string(j, names[i], &s, &err));
        assert_false(json_opt_int(j, names[i], &n, &err));
        assert_false(json_opt_bool(j, names[i], &b, &err));
        assert_false(json_opt_time(j, names[i], &t, &err));
        assert_null(err);
        assert_string_equal(s, "kept");
        assert_int_equal(n, 42);
        assert_true(b);
        assert_int_equal(t, 42);
        assert_null(json_str(j, names[i]));
        assert_int_equal(json_int(j, names[i]), 0);
        assert_false(json_bool(j, names[i]));
        assert_int_equal(json_time(j, names[i]), 0);
    }
}

static void reads_members_of_the_right_type(void **state)
{
    auto_json json_t *j = parse("{\"s\":\"x\",\"i\":-9223372036854775808,\"b\":true,\"f\":false,"
                                "\"t\":\"2026-11-24T10:00:00Z\"}");
    const char *s;
    int64_t n;
    bool b;
    time_t t;

    (void)state;
    assert_true(json_opt_string(j, "s", &s, NULL) && json_need_string(j, "s", &s, NULL));
    assert_string_equal(s, "x");
    assert_true(json_opt_int(j, "i", &n, NULL) && json_need_int(j, "i", &n, NULL));
    assert_true(n == INT64_MIN);
    assert_true(json_opt_bool(j, "b", &b, NULL) && b);
    assert_true(json_opt_bool(j, "f", &b, NULL) && !b);
    assert_true(json_opt_time(j, "t", &t, NULL));
    assert_int_equal(t, 1795514400);
    assert_int_equal(json_time(j, "t"), 1795514400);
    assert_true(json_bool(j, "b"));
    assert_string_equal(json_str(j, "s"), "x");
}

static void a_wrong_type_is_named(void **state)
{
    auto_json json_t *j = parse("{\"s\":1,\"i\":1.5,\"b\":\"true\",\"t\":\"today\",\"t2\":5}");
    auto_err struct err *err = NULL;
    const char *s;
    int64_t n;
    bool b;
    time_t t;

    (void)state;
    assert_false(json_opt_string(j, "s", &s, &err));
    assert_string_equal(err->text, "s: expected a string");
    assert_int_equal(err->kind, ERR_REFUSED);
    assert_false(json_need_string(j, "s", &s, &err));
    assert_string_equal(err->text, "s: expected a string");
    assert_false(json_opt_int(j, "i", &n, &err));
    assert_string_equal(err->text, "i: expected an integer");
    assert_false(json_opt_bool(j, "b", &b, &err));
    assert_string_equal(err->text, "b: expected true or false");
    assert_false(json_opt_time(j, "t", &t, &err));
    assert_string_equal(err->text, "t: expected a time (RFC 3339)");
    assert_false(json_opt_time(j, "t2", &t, &err));
    assert_string_equal(err->text, "t2: expected a time (RFC 3339)");
    assert_false(json_opt_string(j, "s", &s, NULL));
}

static void required_members_must_be_there(void **state)
{
    auto_json json_t *j = parse("{\"n\":null}");
    auto_err struct err *err = NULL;
    const char *s;
    int64_t n;

    (void)state;
    assert_false(json_need_string(j, "url", &s, &err));
    assert_string_equal(err->text, "url: missing");
    assert_int_equal(err->kind, ERR_REFUSED);
    assert_false(json_need_int(j, "n", &n, &err));
    assert_string_equal(err->text, "n: missing");
}

static void what_is_no_object_has_no_members(void **state)
{
    auto_json json_t *array = parse("[1]");
    auto_strv struct strv v = {0};

    (void)state;
    assert_null(json_get(NULL, "a"));
    assert_null(json_get(array, "a"));
    assert_null(json_str(NULL, "a"));
    assert_int_equal(json_int(array, "a"), 0);
    assert_false(json_opt_string(NULL, "a", &(const char *){NULL}, NULL));
    json_read_strv(NULL, "a", &v);
    assert_int_equal(v.n, 0);
    assert_null(err_from_json(NULL));
    assert_null(err_from_json(array));
}

static void lists_of_strings_come_back(void **state)
{
    auto_json json_t *j = parse("{\"mixed\":[\"a\",1],\"text\":\"a\",\"good\":[\"a\",\"b\"]}");
    auto_strv struct strv v = {0}, back = {0};

    (void)state;
    strv_add(&back, "old");
    json_read_strv(j, "mixed", &back);
    assert_int_equal(back.n, 0);
    json_read_strv(j, "text", &back);
    assert_int_equal(back.n, 0);
    json_read_strv(j, "good", &back);
    assert_int_equal(back.n, 2);

    strv_add(&v, "one");
    strv_add(&v, "\xff");
    json_put_strv(j, "new", &v);
    json_read_strv(j, "new", &back);
    assert_int_equal(back.n, 2);
    assert_string_equal(back.items[0], "one");
    assert_string_equal(back.items[1], "\\xff");
}

static void setters_write_null_for_nothing(void **state)
{
    auto_json json_t *j = json_object();

    (void)state;
    json_put_str(j, "s", "text");
    json_put_str(j, "none", NULL);
    json_put_str(j, "bad", "x\xc3");
    json_put_int(j, "i", INT64_MAX);
    json_put_bool(j, "b", false);
    json_put_time(j, "t", 1795514400);
    json_put_time(j, "never", 0);
    json_put(j, "list", json_array());
    auto_free char *text = json_compact(j);
    assert_string_equal(text, "{\"b\":false,\"bad\":\"x\\\\xc3\",\"i\":9223372036854775807,"
                              "\"list\":[],\"never\":null,\"none\":null,\"s\":\"text\","
                              "\"t\":\"2026-11-24T10:00:00Z\"}");
}

static void texts_are_ascii(void **state)
{
    auto_json json_t *j = json_object();

    (void)state;
    json_put_str(j, "b", "\xc3\xbc\x1b\xc2\x9b\xe2\x80\xae");
    json_put_str(j, "a", "x");
    auto_free char *text = json_text(j);
    auto_free char *compact = json_compact(j);
    auto_free char *null = json_compact(NULL);
    assert_string_equal(text, "{\n  \"b\": \"\\u00FC\\u001B\\u009B\\u202E\",\n  \"a\": \"x\"\n}\n");
    assert_string_equal(compact, "{\"a\":\"x\",\"b\":\"\\u00FC\\u001B\\u009B\\u202E\"}");
    assert_string_equal(null, "null");
}

static void errors_come_back_whole(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    err_set(&err, ERR_LIMITED, "too many orders");
    err_step(&err, "new-order");
    err_hint(&err, "wait");
    err->where = xstrdup("f.yaml:1:2");
    err->problem = xstrdup("rateLimited");
    err->code = 429;
    err->at = 1795514400;
    err->retry_at = 1795514460;
    auto_json json_t *j = err_to_json(err);
    auto_free char *text = json_compact(j);
    assert_string_equal(
        text,
        "{\"at\":\"2026-11-24T10:00:00Z\",\"code\":429,\"hint\":\"wait\",\"kind\":\"limited\","
        "\"problem\":\"rateLimited\",\"retry_at\":\"2026-11-24T10:01:00Z\","
        "\"step\":\"new-order\",\"text\":\"too many orders\",\"where\":\"f.yaml:1:2\"}");

    auto_err struct err *back = err_from_json(j);
    auto_json json_t *again = err_to_json(back);
    assert_true(json_equal(j, again));
}

static void no_error_is_null(void **state)
{
    auto_json json_t *null = err_to_json(NULL);
    auto_err struct err *err = NULL;

    (void)state;
    assert_true(json_is_null(null));
    assert_null(err_from_json(null));
    err_set(&err, ERR_BUG, "x");
    auto_json json_t *j = err_to_json(err);
    assert_true(json_is_null(json_get(j, "code")));
    assert_true(json_is_null(json_get(j, "hint")));
    assert_true(json_is_null(json_get(j, "retry_at")));
}

static void errors_from_edited_files_are_tamed(void **state)
{
    static const char *const nonsense[] = {
        "{}",
        "{\"kind\":\"odd\",\"text\":\"x\"}",
        "{\"kind\":\"bug\"}",
        "{\"kind\":\"bug\",\"text\":5}",
        "{\"kind\":1,\"text\":\"x\"}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
        auto_json json_t *j = parse(nonsense[i]);
        assert_null(err_from_json(j));
    }
    auto_json json_t *j = parse("{\"kind\":\"bug\",\"text\":\"a\\u001b\",\"hint\":\"\\u009b\","
                                "\"code\":99999999999,\"at\":\"never\",\"step\":[]}");
    auto_err struct err *err = err_from_json(j);
    assert_string_equal(err->text, "a\\x1b");
    assert_string_equal(err->hint, "\\u009b");
    assert_null(err->step);
    assert_int_equal(err->code, 0);
    assert_int_equal(err->at, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_where_foreign_text_stops_being_json),
        cmocka_unit_test(wants_an_object_or_an_array),
        cmocka_unit_test(refuses_what_parsers_disagree_about),
        cmocka_unit_test(shows_no_foreign_control_characters),
        cmocka_unit_test(nests_64_deep_and_no_deeper),
        cmocka_unit_test(optional_members_may_be_absent_or_null),
        cmocka_unit_test(reads_members_of_the_right_type),
        cmocka_unit_test(a_wrong_type_is_named),
        cmocka_unit_test(required_members_must_be_there),
        cmocka_unit_test(what_is_no_object_has_no_members),
        cmocka_unit_test(lists_of_strings_come_back),
        cmocka_unit_test(setters_write_null_for_nothing),
        cmocka_unit_test(texts_are_ascii),
        cmocka_unit_test(errors_come_back_whole),
        cmocka_unit_test(no_error_is_null),
        cmocka_unit_test(errors_from_edited_files_are_tamed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
