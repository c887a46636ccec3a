#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOON ((time_t)1795514400) /* 2026-11-24T10:00:00Z */

static void writes_rfc3339(void **state)
{
    char text[CLOCK_TEXT_MAX];

    (void)state;
    assert_string_equal(clock_rfc3339(NOON, text), "2026-11-24T10:00:00Z");
    assert_string_equal(clock_rfc3339(0, text), "1970-01-01T00:00:00Z");
    assert_string_equal(clock_rfc3339(-1, text), "1969-12-31T23:59:59Z");
    assert_string_equal(clock_rfc3339(4294967296, text), "2106-02-07T06:28:16Z"); /* 64 bits */
    assert_string_equal(clock_rfc3339(253402300799, text), "9999-12-31T23:59:59Z");
    assert_string_equal(clock_rfc3339(253402300800, text), "9999-12-31T23:59:59Z");
    assert_string_equal(clock_rfc3339(INT64_MAX, text), "9999-12-31T23:59:59Z");
    assert_string_equal(clock_rfc3339(INT64_MIN, text), "0000-01-01T00:00:00Z");
    assert_string_equal(clock_rfc3339(-61000000000, text), "0036-12-26T11:33:20Z");
}

static void reads_rfc3339(void **state)
{
    static const struct {
        const char *text;
        time_t t;
    } good[] = {
        {"2026-11-24T10:00:00Z", NOON},
        {"2026-11-24t10:00:00z", NOON},
        {"2026-11-24 10:00:00Z", NOON},
        {"2026-11-24T10:00:00.999999999999Z", NOON},
        {"2026-11-24T12:30:00+02:30", NOON},
        {"2026-11-23T23:00:00.5-11:00", NOON},
        {"2024-02-29T00:00:00Z", 1709164800},
        {"2016-12-31T23:59:60Z", 1483228800}, /* a leap second */
        {"1969-12-31T23:59:59Z", -1},
        {"9999-12-31T23:59:59Z", 253402300799},
        {"0000-01-01T00:00:00Z", -62167219200},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        time_t t = 42;

        if (!clock_parse_rfc3339(good[i].text, &t) || t != good[i].t)
            fail_msg("%s gave %lld", good[i].text, (long long)t);
    }
}

static void refuses_what_is_no_instant(void **state)
{
    static const char *const bad[] = {
        "",
        "2026-11-24",
        "2026-11-24T10:00Z",
        "2026-11-24T10:00:00",   /* where? */
        "2026-11-24T10:00:00Z ", /* something behind */
        "2026-11-24T10:00:00ZZ",
        " 2026-11-24T10:00:00Z",
        "2026-11-24T10:00:00.Z",
        "2026-11-24T10:00:00,5Z",
        "2026-11-24T10:00:00+0200",
        "2026-11-24T10:00:00+24:00",
        "2026-11-24T10:00:00+02:60",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z", /* a century is no leap year */
        "2026-11-31T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T10:60:00Z",
        "2026-11-24T10:00:61Z",
        "12026-11-24T10:00:00Z",
        "-026-11-24T10:00:00Z",
        "2026-11-24T1:000:00Z",
        "2026-11-24X10:00:00Z",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        time_t t = 42;

        if (clock_parse_rfc3339(bad[i], &t) || t != 42)
            fail_msg("\"%s\" was read", bad[i]);
    }
}

static void reads_what_it_writes(void **state)
{
    char text[CLOCK_TEXT_MAX];

    (void)state;
    for (time_t t = -62167219200; t < 253402300799; t += 86400 * 997 + 12345) {
        time_t back;
        assert_true(clock_parse_rfc3339(clock_rfc3339(t, text), &back));
        assert_true(back == t);
    }
}

static void reads_http_dates_and_nothing_else(void **state)
{
    static const char *const bad[] = {
        "",
        "Tue, 24 Nov 2026 10:00:00",
        "Tue, 24 Nov 2026 10:00:00 UTC",
        "Tue, 24 Nov 2026 10:00:00 GMT ",
        "Tue, 24 Nov 2026 10:00:00 gmt",
        "Tue, 4 Nov 2026 10:00:00 GMT",
        "Tuesday, 24-Nov-26 10:00:00 GMT",
        "Tue Nov 24 10:00:00 2026",
        "Tue, 24 nov 2026 10:00:00 GMT",
        "Tue, 31 Nov 2026 10:00:00 GMT",
        "Xyz, 24 Nov 2026 10:00:00 GMT",
        "Tue, 24 Nov 2026 25:00:00 GMT",
    };
    time_t t;

    (void)state;
    assert_true(clock_parse_http_date("Tue, 24 Nov 2026 10:00:00 GMT", &t));
    assert_true(t == NOON);
    assert_true(clock_parse_http_date("Fri, 31 Dec 9999 23:59:59 GMT", &t));
    assert_true(t == 253402300799);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (clock_parse_http_date(bad[i], &t))
            fail_msg("\"%s\" was read", bad[i]);
}

static void retry_after_is_clamped_in_both_forms(void **state)
{
    static const struct {
        const char *text;
        int64_t wait_s;
    } good[] = {
        {"7", 7},
        {"0", 5},
        {"007", 7},
        {"86401", 3600},
        {"99999999999999999999999999999999999999", 3600},
        {"9223372036854775807", 3600},
        {"Tue, 24 Nov 2026 10:01:00 GMT", 60},
        {"Tue, 24 Nov 2026 09:00:00 GMT", 5}, /* their clock is behind */
        {"Fri, 31 Dec 9999 23:59:59 GMT", 3600},
    };
    static const char *const bad[] = {"", "-1", "+1", "1.5", "7 ", " 7", "7s", "soon", "0x10"};
    time_t t = 42;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!clock_parse_retry_after(good[i].text, NOON, 5, 3600, &t) || t - NOON != good[i].wait_s)
            fail_msg("\"%s\" gave %lld", good[i].text, (long long)(t - NOON));
    }
    t = 42;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (clock_parse_retry_after(bad[i], NOON, 5, 3600, &t) || t != 42)
            fail_msg("\"%s\" was read", bad[i]);
    assert_false(clock_parse_retry_after(NULL, NOON, 5, 3600, &t));
}

static void reads_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t s;
    } good[] = {
        {"0s", 0},
        {"1s", 1},
        {"90m", 5400},
        {"1h30m", 5400},
        {"45d", 3888000},
        {"2w", 1209600},
        {"1w2d3h4m5s", 788645},
        {"030s", 30},
        {"9223372036854775806s", INT64_MAX - 1},
    };
    static const char *const bad[] = {
        "",
        "5",
        "s",
        "1h30",
        "1 h",
        "1h 30m",
        "-1h",
        "+1h",
        "1.5h",
        "1y",
        "1H",
        "1ms",
        "h1",
        "1h\n",
        "9223372036854775808s",
        "99999999999999999999999s",
        "15250284452472w",
        "9223372036854775806s2s",
        "99999999999999999999w",
    };
    int64_t s;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (!duration_parse(good[i].text, &s) || s != good[i].s)
            fail_msg("\"%s\" gave %lld", good[i].text, (long long)s);
    s = 42;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (duration_parse(bad[i], &s) || s != 42)
            fail_msg("\"%s\" was read", bad[i]);
}

static void writes_the_two_largest_units(void **state)
{
    static const struct {
        int64_t s;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {59, "59s"},
        {60, "1m"},
        {61, "1m1s"},
        {5400, "1h30m"},
        {3601, "1h"},
        {86400, "1d"},
        {86400 + 3599, "1d"},
        {3812400, "44d 3h"},
        {-5400, "-1h30m"},
        {86399, "23h59m"},
        {INT64_MAX, "106751991167300d 15h"},
        {INT64_MIN, "-106751991167300d 15h"},
    };
    char text[CLOCK_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(duration_text(rows[i].s, text), rows[i].text);
}

static void tests_may_shift_the_wall_clock_only(void **state)
{
    time_t before = clock_now();
    int64_t boot = clock_boot_ms();

    (void)state;
    clock_shift_for_test(86400);
    clock_shift_for_test(86400);
    assert_in_range(clock_now() - before, 2 * 86400, 2 * 86400 + 60);
    assert_in_range(clock_now_us() / 1000000 - before, 2 * 86400, 2 * 86400 + 60);
    assert_in_range(clock_boot_ms() - boot, 0, 60000);
    clock_shift_for_test(-2 * 86400);
    assert_in_range(clock_now() - before, 0, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_rfc3339),
        cmocka_unit_test(reads_rfc3339),
        cmocka_unit_test(refuses_what_is_no_instant),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(reads_http_dates_and_nothing_else),
        cmocka_unit_test(retry_after_is_clamped_in_both_forms),
        cmocka_unit_test(reads_durations),
        cmocka_unit_test(writes_the_two_largest_units),
        cmocka_unit_test(tests_may_shift_the_wall_clock_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
