#include "base/strv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void is_an_argv(void **state)
{
    (void)state;
    auto_strv struct strv v = {0};

    strv_add(&v, "one");
    strv_addf(&v, "%s-%d", "two", 2);
    strv_add_owned(&v, xstrdup(""));
    assert_int_equal(v.n, 3);
    assert_string_equal(v.items[0], "one");
    assert_string_equal(v.items[1], "two-2");
    assert_string_equal(v.items[2], "");
    assert_null(v.items[3]);
    assert_true(strv_has(&v, "two-2"));
    assert_false(strv_has(&v, "two"));
}

static void sorts_and_drops_duplicates(void **state)
{
    (void)state;
    auto_strv struct strv v = {0};

    strv_sort_unique(&v);
    assert_null(v.items);
    for (const char *c = "cabacbc"; *c; c++)
        strv_addf(&v, "%c", *c);
    strv_sort_unique(&v);
    auto_free char *text = strv_join(&v, ",");
    assert_string_equal(text, "a,b,c");
    assert_null(v.items[3]);
    strv_add(&v, "d"); /* still a list that grows */
    assert_int_equal(v.n, 4);
    assert_null(v.items[4]);
}

static void compares_in_order(void **state)
{
    (void)state;
    auto_strv struct strv a = {0}, b = {0};

    assert_true(strv_equal(&a, &b));
    strv_add(&a, "x");
    assert_false(strv_equal(&a, &b));
    strv_add(&b, "y");
    assert_false(strv_equal(&a, &b));
    strv_add(&a, "y");
    strv_add(&b, "x");
    assert_false(strv_equal(&a, &b));
    strv_copy(&b, &a);
    assert_true(strv_equal(&a, &b));
    assert_ptr_not_equal(a.items[0], b.items[0]);
    strv_copy(&b, &b);
    assert_int_equal(b.n, 2);
}

static void joins_nothing_to_an_empty_string(void **state)
{
    (void)state;
    auto_strv struct strv v = {0};
    auto_free char *nothing = strv_join(&v, ", ");

    assert_string_equal(nothing, "");
    strv_add(&v, "one");
    auto_free char *one = strv_join(&v, ", ");
    assert_string_equal(one, "one");
}

static void is_usable_after_done(void **state)
{
    (void)state;
    auto_strv struct strv v = {0};

    strv_add(&v, "x");
    strv_done(&v);
    assert_null(v.items);
    assert_int_equal(v.n, 0);
    strv_add(&v, "y");
    assert_string_equal(v.items[0], "y");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_an_argv),           cmocka_unit_test(sorts_and_drops_duplicates),
        cmocka_unit_test(compares_in_order),    cmocka_unit_test(joins_nothing_to_an_empty_string),
        cmocka_unit_test(is_usable_after_done),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
