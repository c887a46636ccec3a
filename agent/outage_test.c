#include "agent/outage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW ((time_t)1800000000)

static struct outage down(void)
{
    struct outage o = {0};

    assert_false(outage_failed(&o, NOW));
    assert_false(outage_failed(&o, NOW));
    assert_true(outage_failed(&o, NOW));
    assert_false(outage_failed(&o, NOW)); /* told once */
    return o;
}

static void one_lost_reply_is_no_outage(void **state)
{
    struct outage o = {0};
    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_false(outage_failed(&o, NOW));
        assert_true(outage_may_try(&o, NOW));
        assert_false(outage_answered(&o));
    }
}

static void five_days_cost_one_try_in_five_minutes(void **state)
{
    struct outage o = down();
    int tries = 0;
    (void)state;
    for (int64_t s = 0; s < 5 * 86400; s++) {
        if (!outage_may_try(&o, NOW + s))
            continue;
        tries++;
        assert_false(outage_may_try(&o, NOW + s)); /* the others wait */
        assert_false(outage_failed(&o, NOW + s));
    }
    assert_in_range(tries, 5 * 288 - 1, 5 * 288);
}

static void a_reply_opens_the_way_for_all(void **state)
{
    struct outage o = down();
    (void)state;
    assert_false(outage_may_try(&o, NOW + 1));
    assert_true(outage_answered(&o));
    for (int i = 0; i < 100; i++)
        assert_true(outage_may_try(&o, NOW + 1));
}

static void a_pause_is_kept_to_the_second(void **state)
{
    struct outage o = {0};
    (void)state;
    outage_pause(&o, NOW, NOW + 3600);
    outage_pause(&o, NOW, NOW + 60); /* a shorter one does not end it */
    assert_false(outage_may_try(&o, NOW + 3599));
    assert_int_equal(outage_next_try(&o, NOW), NOW + 3600);
    assert_true(outage_may_try(&o, NOW + 3600));
    assert_true(outage_may_try(&o, NOW + 3600)); /* it was no outage */

    struct outage both = down();
    outage_pause(&both, NOW, NOW + 86400);
    assert_false(outage_may_try(&both, NOW + 86399));
    assert_true(outage_may_try(&both, NOW + 86400));
    assert_false(outage_may_try(&both, NOW + 86400));
}

static void a_clock_that_jumps_does_not_lock_anybody_out(void **state)
{
    struct outage o = down();
    (void)state;
    assert_true(outage_may_try(&o, NOW - INT64_C(10) * 365 * 86400));
    outage_pause(&o, NOW, NOW + INT64_C(10) * 365 * 86400);
    assert_int_equal(outage_next_try(&o, NOW), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_lost_reply_is_no_outage),
        cmocka_unit_test(five_days_cost_one_try_in_five_minutes),
        cmocka_unit_test(a_reply_opens_the_way_for_all),
        cmocka_unit_test(a_pause_is_kept_to_the_second),
        cmocka_unit_test(a_clock_that_jumps_does_not_lock_anybody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
