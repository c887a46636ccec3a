#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void is_always_terminated(void **state)
{
    (void)state;
    auto_buf struct buf b;

    buf_init(&b, 100);
    assert_string_equal(b.data, "");
    assert_true(buf_add_str(&b, "ab"));
    assert_true(buf_add(&b, "\0c", 2));
    assert_true(buf_addf(&b, "%d", 7));
    assert_true(buf_add(&b, NULL, 0));
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.data, "ab\0c7", 6);
    assert_false(b.overflow);
}

static void keeps_what_fits_and_says_that_more_came(void **state)
{
    (void)state;
    auto_buf struct buf b;

    buf_init(&b, 5);
    assert_true(buf_add_str(&b, "12345"));
    assert_false(b.overflow);
    assert_false(buf_add_str(&b, "6"));
    assert_true(b.overflow);
    assert_string_equal(b.data, "12345");

    buf_clear(&b);
    assert_false(b.overflow);
    assert_false(buf_addf(&b, "%s", "abcdefgh"));
    assert_string_equal(b.data, "abcde");
    assert_int_equal(b.len, 5);
}

static void grows_far_beyond_its_start(void **state)
{
    (void)state;
    auto_buf struct buf b;

    buf_init(&b, SIZE_MAX);
    for (int i = 0; i < 100000; i++)
        assert_true(buf_add(&b, "x", 1));
    assert_int_equal(b.len, 100000);
    assert_int_equal(strlen(b.data), 100000);
}

static void take_leaves_an_empty_buffer_of_the_same_kind(void **state)
{
    (void)state;
    auto_buf struct buf b;

    buf_init(&b, 4);
    b.wipe = true;
    buf_add_str(&b, "abcdef");
    auto_free char *taken = buf_take(&b);
    assert_string_equal(taken, "abcd");
    assert_string_equal(b.data, "");
    assert_int_equal(b.len, 0);
    assert_int_equal(b.max, 4);
    assert_true(b.wipe);
    assert_false(b.overflow);
}

static void a_zeroed_buffer_is_a_buffer_without_room(void **state)
{
    (void)state;
    auto_buf struct buf b = {0};
    auto_buf struct buf other = {0};

    assert_false(buf_add_str(&b, "x"));
    assert_string_equal(b.data, "");
    auto_free char *taken = buf_take(&other);
    assert_string_equal(taken, "");
}

static void secrets_survive_growth(void **state)
{
    (void)state;
    auto_buf struct buf b;
    char expected[1001] = "";

    buf_init(&b, 1000);
    b.wipe = true;
    for (int i = 0; i < 100; i++) {
        assert_true(buf_addf(&b, "%010d", i));
        snprintf(expected + 10 * i, 11, "%010d", i);
    }
    assert_string_equal(b.data, expected);
    buf_clear(&b);
    for (size_t i = 0; i < b.cap; i++)
        assert_int_equal(b.data[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_always_terminated),
        cmocka_unit_test(keeps_what_fits_and_says_that_more_came),
        cmocka_unit_test(grows_far_beyond_its_start),
        cmocka_unit_test(take_leaves_an_empty_buffer_of_the_same_kind),
        cmocka_unit_test(a_zeroed_buffer_is_a_buffer_without_room),
        cmocka_unit_test(secrets_survive_growth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
