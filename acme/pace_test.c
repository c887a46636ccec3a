#include "acme/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static void polls_begin_eagerly_and_grow(void **state)
{
    (void)state;
    struct pace_poll p = {0};
    int64_t total = 0, delay = 0;

    assert_int_equal(pace_poll_ms(&p, NULL), 20);
    assert_int_equal(pace_poll_ms(&p, NULL), 40);
    for (int i = 0; i < 20; i++)
        delay = pace_poll_ms(&p, NULL);
    assert_int_equal(delay, 10000);

    /* As if the pauses had passed: after two seconds never more often than once a second. */
    p = (struct pace_poll){0};
    for (int i = 0; i < 12; i++) {
        delay = pace_poll_ms(&p, NULL);
        total += delay;
        p.since_ms -= delay;
        if (total > 2000)
            assert_true(delay >= 1000);
    }
}

static void a_slow_caller_is_slowed_down(void **state)
{
    (void)state;
    struct pace_poll p = {0};

    pace_poll_ms(&p, NULL);
    p.since_ms -= 1990; /* the replies took so long */
    assert_int_equal(pace_poll_ms(&p, NULL), 1000);
}

static void retry_after_wins_and_is_clamped(void **state)
{
    (void)state;
    struct pace_poll p = {0};

    assert_int_equal(pace_poll_ms(&p, "3"), 3000);
    assert_int_equal(pace_poll_ms(&p, "0"), 1000);
    assert_int_equal(pace_poll_ms(&p, "86400"), 60000);
    assert_int_equal(pace_poll_ms(&p, "Thu, 01 Jan 1970 00:00:00 GMT"), 1000);
    assert_int_equal(pace_poll_ms(&p, "Fri, 31 Dec 9999 23:59:59 GMT"), 60000);
    assert_true(pace_poll_ms(&p, "nonsense") >= 20);
}

static void transient_errors_are_retried_a_few_times(void **state)
{
    (void)state;
    struct pace_retry r = {0};
    struct err e = {.kind = ERR_TRANSIENT};
    int64_t pause, last = 0;
    int tries = 0;

    while (pace_retry_ms(&r, &e, &pause)) {
        assert_true(pause > 0 && pause <= 12000);
        assert_true(pause > last);
        last = pause;
        assert_true(++tries < 10);
    }
    assert_int_equal(tries, 3);
}

static void limits_are_waited_for_only_when_short(void **state)
{
    (void)state;
    struct pace_retry r = {0};
    struct err soon = {.kind = ERR_LIMITED, .retry_at = clock_now() + 5};
    struct err late = {.kind = ERR_LIMITED, .retry_at = clock_now() + 3600};
    struct err open = {.kind = ERR_LIMITED};
    int64_t pause = 0;

    assert_true(pace_retry_ms(&r, &soon, &pause));
    assert_in_range(pause, 4000, 5000);
    assert_false(pace_retry_ms(&r, &late, &pause));
    assert_false(pace_retry_ms(&r, &open, &pause));
}

static void refusals_are_not_retried(void **state)
{
    (void)state;
    static const enum err_kind kinds[] = {ERR_CONFIG, ERR_REFUSED, ERR_SYSTEM, ERR_BUG};
    struct pace_retry r = {0};
    int64_t pause;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct err e = {.kind = kinds[i]};
        assert_false(pace_retry_ms(&r, &e, &pause));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(polls_begin_eagerly_and_grow),
        cmocka_unit_test(a_slow_caller_is_slowed_down),
        cmocka_unit_test(retry_after_wins_and_is_clamped),
        cmocka_unit_test(transient_errors_are_retried_a_few_times),
        cmocka_unit_test(limits_are_waited_for_only_when_short),
        cmocka_unit_test(refusals_are_not_retried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
