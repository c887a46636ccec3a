#include "base/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MIDDLE (UINT32_MAX / 2) /* no jitter, up to rounding */

static void is_near(int64_t delay, int64_t expected)
{
    if (delay < expected - 1 || delay > expected + 1)
        fail_msg("%lld is not %lld", (long long)delay, (long long)expected);
}

static void grows_by_the_factor_up_to_the_cap(void **state)
{
    (void)state;
    is_near(backoff_delay(1, 60, 10, 86400, MIDDLE), 60);
    is_near(backoff_delay(2, 60, 10, 86400, MIDDLE), 600);
    is_near(backoff_delay(3, 60, 10, 86400, MIDDLE), 6000);
    is_near(backoff_delay(4, 60, 10, 86400, MIDDLE), 60000);
    is_near(backoff_delay(5, 60, 10, 86400, MIDDLE), 86400);
    is_near(backoff_delay(1000000, 60, 10, 86400, MIDDLE), 86400);
}

static void jitter_is_a_fifth_in_both_directions(void **state)
{
    (void)state;
    is_near(backoff_delay(1, 1000, 2, 100000, 0), 800);
    is_near(backoff_delay(1, 1000, 2, 100000, UINT32_MAX), 1200);
    is_near(backoff_delay(99, 1000, 2, 100000, UINT32_MAX), 120000);
}

static void nonsense_counts_as_the_first_failure(void **state)
{
    (void)state;
    is_near(backoff_delay(0, 60, 10, 86400, MIDDLE), 60);
    is_near(backoff_delay(INT32_MIN, 60, 10, 86400, MIDDLE), 60);
    assert_true(backoff_delay(1, 0, 0, 0, 0) >= 1);
    assert_true(backoff_delay(5, -7, -7, -7, 0) >= 1);
    assert_int_equal(backoff_delay(3, 1, 1, 1, 0), 1);
}

static void nothing_overflows(void **state)
{
    (void)state;
    assert_true(backoff_delay(INT32_MAX, INT64_MAX, INT64_MAX, INT64_MAX, UINT32_MAX) > 0);
    assert_true(backoff_delay(INT32_MAX, 1, 2, INT64_MAX, UINT32_MAX) > 0);
    assert_true(backoff_delay(INT32_MAX, 3, 1, INT64_MAX, 0) >= 1); /* and ends soon */
    assert_true(backoff_delay(64, 1, INT64_MAX, INT64_MAX, 0) >= INT64_MAX / 2);
}

static void random_numbers_differ(void **state)
{
    (void)state;
    uint32_t first = random_u32();
    int same = 0;

    for (int i = 0; i < 8; i++)
        same += random_u32() == first;
    assert_true(same < 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_by_the_factor_up_to_the_cap),
        cmocka_unit_test(jitter_is_a_fifth_in_both_directions),
        cmocka_unit_test(nonsense_counts_as_the_first_failure),
        cmocka_unit_test(nothing_overflows),
        cmocka_unit_test(random_numbers_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
