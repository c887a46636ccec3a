#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "agent/staple_plan.h"

#define DAY 86400L

static const struct staple_times week = {1000000, 1000000 + 7 * DAY};

static void rests_until_half_life_and_spreads_the_rest(void **state)
{
    (void)state;
    time_t half = week.this_update + 7 * DAY / 2;
    time_t first = staple_next_fetch(week, 0, week.this_update + 60, 0);
    time_t last = staple_next_fetch(week, 0, week.this_update + 60, UINT32_MAX);

    assert_int_equal(first, half);
    assert_true(last > half + DAY / 4 && last < half + 7 * DAY / 16 + 1);
}

static void asks_hourly_then_every_few_minutes(void **state)
{
    (void)state;
    time_t past_half = week.this_update + 4 * DAY, late = week.next_update - DAY;

    assert_int_equal(staple_next_fetch(week, 0, past_half, 0), past_half + 3600);
    assert_true(staple_next_fetch(week, 0, past_half, UINT32_MAX) > past_half + 2600);
    assert_int_equal(staple_next_fetch(week, 0, late, 0), late + 300);
}

static void a_cache_may_postpone_but_not_into_the_last_quarter(void **state)
{
    (void)state;
    time_t now = week.this_update + 60, half = week.this_update + 7 * DAY / 2;
    time_t quarter = week.this_update + 7 * DAY / 4 * 3, late = week.next_update - DAY;

    assert_int_equal(staple_next_fetch(week, half + 7000, now, 0), half + 7000);
    assert_int_equal(staple_next_fetch(week, week.next_update, now, 0), quarter);
    assert_int_equal(staple_next_fetch(week, now + 10, now, 0), half); /* never advances */
    assert_int_equal(staple_next_fetch(week, week.next_update, late, 0), late + 300);
}

static void minutes_come_out_of_the_same_rule(void **state)
{
    (void)state;
    struct staple_times t = {5000, 5060};

    assert_int_equal(staple_next_fetch(t, 0, 5001, 0), 5030);
    assert_int_equal(staple_next_fetch(t, 0, 5040, 0), 5043);
    assert_int_equal(staple_next_fetch(t, 0, 5050, 0), 5052);
    assert_int_equal(staple_withdraw_at(t), 5053);
    for (time_t now = 4990; now < 5070; now++)
        assert_true(staple_next_fetch(t, 0, now, 7) > now);
}

static void is_withdrawn_before_the_end(void **state)
{
    (void)state;
    struct staple_times odd = {5000, 5001};

    assert_int_equal(staple_withdraw_at(week), week.next_update - 600);
    assert_true(staple_withdraw_at(odd) < odd.next_update);
}

static void is_patient_with_a_new_certificate_and_slow_with_a_hopeless_one(void **state)
{
    (void)state;
    time_t born = 1000000, old = born + 30 * DAY;

    assert_true(staple_is_young(born, born + 3600 + 800));
    assert_false(staple_is_young(born, born + 3600 + 901));
    for (int i = 1; i < 40; i++) {
        time_t now = born + 60;
        time_t at = staple_next_try(i, OCSP_STATUS_UNAUTHORIZED, born, 0, now, 99);
        assert_true(at > now && at <= now + 75);
    }
    assert_true(staple_next_try(30, OCSP_STATUS_UNAUTHORIZED, born, 0, old, 0) > old + 4 * 3600);
    assert_true(staple_next_try(30, OCSP_STATUS_TRY_LATER, born, 0, old, 0) < old + 2 * 3600);
    assert_int_equal(staple_next_try(1, OCSP_STATUS_TRY_LATER, born, old + 500, old, 0), old + 500);
    assert_true(staple_next_try(1, OCSP_STATUS_TRY_LATER, born, old + 90 * DAY, old, 0) < old + 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rests_until_half_life_and_spreads_the_rest),
        cmocka_unit_test(asks_hourly_then_every_few_minutes),
        cmocka_unit_test(a_cache_may_postpone_but_not_into_the_last_quarter),
        cmocka_unit_test(minutes_come_out_of_the_same_rule),
        cmocka_unit_test(is_withdrawn_before_the_end),
        cmocka_unit_test(is_patient_with_a_new_certificate_and_slow_with_a_hopeless_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
