#include "base/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rate_window.h"

#define HOUR_MS (3600 * 1000)

static void reads_and_writes_rates(void **state)
{
    static const struct {
        const char *text;
        int64_t count, period_s;
        const char *written;
    } good[] = {
        {"300/3h", 300, 10800, "300/3h"}, {"20/s", 20, 1, "20/s"},
        {"50/7d", 50, 604800, "50/7d"},   {"5/h", 5, 3600, "5/h"},
        {"5/1h", 5, 3600, "5/h"},         {"10/1h30m", 10, 5400, "10/1h30m"},
        {"1/1w", 1, 604800, "1/7d"},      {"1000000/d", 1000000, 86400, "1000000/d"},
        {"600/60s", 600, 60, "600/m"},    {"1152/1152d", 1152, 99532800, "1152/1152d"},
    };
    static const char *const bad[] = {
        "",        "300",    "/3h",   "300/",      "0/3h",
        "-1/3h",   "300/3",  "3 /h",  "1000001/h", "300/3h/2",
        "1.5/h",   "300/0s", "300/x", "+5/h",      "99999999999999999999/h",
        "5/9999w", "5/ h"};
    char text[RATE_TEXT_MAX];
    struct rate r = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!rate_parse(good[i].text, &r))
            fail_msg("%s was refused", good[i].text);
        assert_int_equal(r.count, good[i].count);
        assert_int_equal(r.period_s, good[i].period_s);
        assert_string_equal(rate_text(&r, text), good[i].written);
    }
    r = (struct rate){.count = 7};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (rate_parse(bad[i], &r))
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(r.count, 7);
    }
}

static void gives_tokens_back_one_by_one(void **state)
{
    static const struct rate r = {300, 3 * 3600};
    int64_t now = 1000000000000, full = 0;

    (void)state;
    assert_int_equal(rate_interval_ms(&r), 36000);
    for (int i = 0; i < 300; i++) {
        assert_true(bucket_free_at_ms(&r, full, 0, now) <= now);
        assert_int_equal(bucket_used(&r, full, now), i);
        full = bucket_spend(&r, full, now);
    }
    assert_int_equal(bucket_used(&r, full, now), 300);
    assert_int_equal(bucket_free_at_ms(&r, full, 0, now), now + 36000);
    assert_true(bucket_free_at_ms(&r, full, 0, now + 35999) > now + 35999);
    assert_true(bucket_free_at_ms(&r, full, 0, now + 36000) <= now + 36000);
    assert_int_equal(bucket_used(&r, full, now + 36000), 299);
    assert_int_equal(bucket_used(&r, full, now + 3 * HOUR_MS - 1), 1);
    assert_int_equal(bucket_used(&r, full, now + 3 * HOUR_MS), 0);
}

static void an_empty_bucket_owes_nothing_more(void **state)
{
    static const struct rate r = {5, 3600};
    int64_t now = 5000, full = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        full = bucket_spend(&r, full, now);
    assert_int_equal(full, now + HOUR_MS);
    assert_int_equal(bucket_used(&r, full, now), 5);
}

static void counts_what_is_reserved(void **state)
{
    static const struct rate r = {5, 3600};
    int64_t now = HOUR_MS, full = 0;

    (void)state;
    assert_true(bucket_free_at_ms(&r, full, 4, now) <= now);
    assert_true(bucket_free_at_ms(&r, full, 5, now) > now);
    full = bucket_spend(&r, full, now);
    assert_true(bucket_free_at_ms(&r, full, 3, now) <= now);
    assert_int_equal(bucket_free_at_ms(&r, full, 4, now), now + 720000);
    assert_true(bucket_free_at_ms(&r, full, 1000, now) > now);
}

static void rounds_against_us(void **state)
{
    static const struct rate r = {7, 1}; /* 142.857 ms each */

    (void)state;
    assert_int_equal(rate_interval_ms(&r), 143);
    assert_int_equal(bucket_used(&r, 1001, 1000), 1);
}

/* The promise itself, checked over every window that ends with an event. */
static void check_windows(const struct rate *r, int64_t step_ms, int64_t span_ms, size_t wanted)
{
    struct rate_window *w = rate_window_new(r);
    int64_t *at = xcalloc(100000, sizeof(*at));
    size_t n = 0;

    for (int64_t now = 0; now < span_ms; now += step_ms) {
        while (rate_window_wait_ms(w, now) == 0) {
            rate_window_take(w, now);
            at[n++] = now;
        }
    }
    for (size_t i = (size_t)r->count; i < n; i++)
        assert_true(at[i] - at[i - (size_t)r->count] >= r->period_s * 1000);
    assert_int_equal(n, wanted);
    free(at);
    rate_window_free(w);
}

static void no_window_has_more_than_the_rate(void **state)
{
    (void)state;
    check_windows(&(struct rate){20, 1}, 7, 5000, 20 * 5);
    check_windows(&(struct rate){1, 1}, 10, 5000, 5);
    check_windows(&(struct rate){250, 1}, 1, 3000, 750);
}

static void a_burst_late_in_a_window_counts_in_the_next(void **state)
{
    struct rate_window *w = rate_window_new(&(struct rate){3, 1});

    (void)state;
    rate_window_take(w, 0);
    rate_window_take(w, 900);
    rate_window_take(w, 990);
    assert_int_equal(rate_window_wait_ms(w, 990), 10);
    rate_window_take(w, 1000);
    assert_int_equal(rate_window_wait_ms(w, 1000), 900);
    assert_int_equal(rate_window_wait_ms(w, 1900), 0);
    rate_window_free(w);
}

static void a_large_rate_is_spread_and_a_missing_one_is_free(void **state)
{
    struct rate_window *w = rate_window_new(&(struct rate){20000, 1});
    int n = 0;

    (void)state;
    for (; rate_window_wait_ms(w, 0) == 0; n++)
        rate_window_take(w, 0);
    assert_int_equal(n, 10000);
    assert_int_equal(rate_window_wait_ms(w, 0), 500);
    rate_window_free(w);
    assert_int_equal(rate_window_wait_ms(NULL, 0), 0);
    rate_window_take(NULL, 0);
    rate_window_free(NULL);
}

static void a_clock_that_steps_back_frees_nothing(void **state)
{
    struct rate_window *w = rate_window_new(&(struct rate){2, 1});

    (void)state;
    rate_window_take(w, 5000);
    rate_window_take(w, 1000);
    assert_int_equal(rate_window_wait_ms(w, 5000), 1000);
    rate_window_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes_rates),
        cmocka_unit_test(gives_tokens_back_one_by_one),
        cmocka_unit_test(an_empty_bucket_owes_nothing_more),
        cmocka_unit_test(counts_what_is_reserved),
        cmocka_unit_test(rounds_against_us),
        cmocka_unit_test(no_window_has_more_than_the_rate),
        cmocka_unit_test(a_burst_late_in_a_window_counts_in_the_next),
        cmocka_unit_test(a_large_rate_is_spread_and_a_missing_one_is_free),
        cmocka_unit_test(a_clock_that_steps_back_frees_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
