#include "agent/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char *text_of(const struct metrics *m, enum metrics_format format)
{
    auto_buf struct buf b;

    buf_init(&b, 1 << 20);
    metrics_write(m, format, &b);
    return buf_take(&b);
}

static void expect_line(const char *text, const char *line)
{
    auto_free char *whole = xasprintf("\n%s\n", line);

    if (!strstr(text, whole))
        fail_msg("\"%s\" is missing in:\n%s", line, text);
}

static void counters_are_there_before_the_first_event(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();

    metrics_expect_issuer(m, "ca");
    metrics_count(m, METRIC_ROLLBACKS, 0, "www", NULL);
    auto_free char *text = text_of(m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_renewals_total{result=\"renewed\"} 0");
    expect_line(text, "everleaf_renewals_total{result=\"rolled-back\"} 0");
    expect_line(text, "everleaf_renewal_failures_total{reason=\"limited\"} 0");
    expect_line(text, "everleaf_deploys_total{result=\"proven\"} 0");
    expect_line(text, "everleaf_rollbacks_total{certificate=\"www\"} 0");
    expect_line(text, "everleaf_acme_requests_total{issuer=\"ca\",operation=\"new-order\","
                      "code=\"201\"} 0");
    expect_line(text, "everleaf_acme_requests_total{issuer=\"ca\",operation=\"new-order\","
                      "code=\"429\"} 0");
    expect_line(text, "everleaf_renewal_duration_seconds_count 0");
    expect_line(text, "everleaf_acme_request_duration_seconds_count{issuer=\"ca\"} 0");
    metrics_free(m);
}

static void counts_each_series_by_itself(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();

    metrics_count(m, METRIC_RENEWALS, 2, "renewed", NULL);
    metrics_count(m, METRIC_RENEWALS, 1, "renewed", NULL);
    metrics_count(m, METRIC_RENEWALS, 1, "failed", NULL);
    auto_free char *text = text_of(m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_renewals_total{result=\"renewed\"} 3");
    expect_line(text, "everleaf_renewals_total{result=\"failed\"} 1");
    metrics_free(m);
}

static void codes_of_a_ca_cannot_make_series_without_end(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();

    for (int code = 100; code < 1100; code++) {
        auto_free char *label = xasprintf("%d", code);
        metrics_count(m, METRIC_ACME_REQUESTS, 1, "ca", "order", label, NULL);
    }
    auto_free char *text = text_of(m, METRICS_PROMETHEUS);
    size_t series = 0;

    for (const char *at = text; (at = strstr(at, "\neverleaf_acme_requests_total{")); at++)
        series++;
    assert_in_range(series, 10, 25);
    expect_line(text, "everleaf_acme_requests_total{issuer=\"ca\",operation=\"order\","
                      "code=\"429\"} 1");
    expect_line(text, "everleaf_acme_requests_total{issuer=\"ca\",operation=\"order\","
                      "code=\"1xx\"} 100");
    expect_line(text, "everleaf_acme_requests_total{issuer=\"ca\",operation=\"order\","
                      "code=\"other\"} 500");
    metrics_free(m);
}

static void a_gauge_is_what_it_was_set_to_last(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();

    int64_t value = 7;

    assert_false(metrics_get(m, METRIC_CLOCK_SKEW, &value, "ca", NULL));
    metrics_set(m, METRIC_CLOCK_SKEW, 90, "ca", NULL);
    assert_true(metrics_get(m, METRIC_CLOCK_SKEW, &value, "ca", NULL));
    assert_false(metrics_get(m, METRIC_CLOCK_SKEW, &value, "other", NULL));
    assert_int_equal(value, 90);
    metrics_set(m, METRIC_CLOCK_SKEW, -3, "ca", NULL);
    auto_free char *text = text_of(m, METRICS_OPENMETRICS);

    expect_line(text, "# TYPE everleaf_clock_skew_seconds gauge");
    expect_line(text, "everleaf_clock_skew_seconds{issuer=\"ca\"} -3");
    metrics_free(m);
}

static void label_values_are_escaped(void **state)
{
    (void)state;
    auto_buf struct buf b;

    buf_init(&b, 100);
    metrics_label_value(&b, "a\"b\\c\nz");
    assert_string_equal(b.data, "a\\\"b\\\\c\\nz");
}

static void seconds_have_a_fraction_and_no_zeros_behind_it(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "0.0"},    {5, "0.005"},    {250, "0.25"},
                 {1000, "1.0"}, {10500, "10.5"}, {1800000, "1800.0"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_buf struct buf b;
        buf_init(&b, 100);
        metrics_seconds(&b, cases[i].ms);
        assert_string_equal(b.data, cases[i].text);
    }
}

static void buckets_are_cumulative_and_end_with_all(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();

    metrics_observe(m, METRIC_HOOK_DURATION, "nginx", -5); /* a clock that stepped */
    metrics_observe(m, METRIC_HOOK_DURATION, "nginx", 10); /* on the bound: inside */
    metrics_observe(m, METRIC_HOOK_DURATION, "nginx", 11);
    metrics_observe(m, METRIC_HOOK_DURATION, "nginx", 99000);
    auto_free char *text = text_of(m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_hook_duration_seconds_bucket{server=\"nginx\",le=\"0.005\"} 1");
    expect_line(text, "everleaf_hook_duration_seconds_bucket{server=\"nginx\",le=\"0.01\"} 2");
    expect_line(text, "everleaf_hook_duration_seconds_bucket{server=\"nginx\",le=\"0.025\"} 3");
    expect_line(text, "everleaf_hook_duration_seconds_bucket{server=\"nginx\",le=\"30.0\"} 3");
    expect_line(text, "everleaf_hook_duration_seconds_bucket{server=\"nginx\",le=\"+Inf\"} 4");
    expect_line(text, "everleaf_hook_duration_seconds_sum{server=\"nginx\"} 99.021");
    expect_line(text, "everleaf_hook_duration_seconds_count{server=\"nginx\"} 4");
    metrics_free(m);
}

static void openmetrics_names_a_family_of_counters_without_total(void **state)
{
    (void)state;
    struct metrics *m = metrics_new();
    auto_free char *old = text_of(m, METRICS_PROMETHEUS);
    auto_free char *new = text_of(m, METRICS_OPENMETRICS);

    expect_line(old, "# TYPE everleaf_renewal_failures_total counter");
    expect_line(new, "# TYPE everleaf_renewal_failures counter");
    expect_line(new, "everleaf_renewal_failures_total{reason=\"bug\"} 0");
    expect_line(new, "# TYPE everleaf_renewal_duration_seconds histogram");
    metrics_free(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_are_there_before_the_first_event),
        cmocka_unit_test(counts_each_series_by_itself),
        cmocka_unit_test(codes_of_a_ca_cannot_make_series_without_end),
        cmocka_unit_test(a_gauge_is_what_it_was_set_to_last),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(seconds_have_a_fraction_and_no_zeros_behind_it),
        cmocka_unit_test(buckets_are_cumulative_and_end_with_all),
        cmocka_unit_test(openmetrics_names_a_family_of_counters_without_total),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
