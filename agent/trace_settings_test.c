#include "agent/trace_settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

static int clean_environment(void **state)
{
    (void)state;
    clearenv();
    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return 0;
}

static void off_without_an_endpoint(void **state)
{
    (void)state;
    struct trace_settings s;

    assert_false(trace_settings_read(&s));
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "", 1);
    setenv("OTEL_SERVICE_NAME", "tls", 1);
    assert_false(trace_settings_read(&s));
}

static void the_common_endpoint_is_a_base_that_of_traces_is_the_url(void **state)
{
    (void)state;
    struct trace_settings s;

    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example:4318/", 1);
    assert_true(trace_settings_read(&s));
    assert_string_equal(s.url, "https://c.example:4318/v1/traces");
    trace_settings_done(&s);
    setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t.example/x/", 1);
    assert_true(trace_settings_read(&s));
    assert_string_equal(s.url, "https://t.example/x/");
    trace_settings_done(&s);
}

static void lists_are_percent_encoded(void **state)
{
    (void)state;
    struct trace_settings s;

    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c", 1);
    setenv("OTEL_EXPORTER_OTLP_HEADERS", " a = b%20c ,,=x,novalue,d=e=f,g=%zz%4,h=", 1);
    setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=svc,k%3D=v%2C", 1);
    assert_true(trace_settings_read(&s));
    assert_int_equal(s.headers.n, 4);
    assert_string_equal(s.headers.items[0], "a: b c");
    assert_string_equal(s.headers.items[1], "d: e=f");
    assert_string_equal(s.headers.items[2], "g: %zz%4");
    assert_string_equal(s.headers.items[3], "h: ");
    auto_free char *resource = json_compact(s.resource);
    assert_non_null(
        strstr(resource, "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"svc\"}}"));
    assert_non_null(strstr(resource, "{\"key\":\"k=\",\"value\":{\"stringValue\":\"v,\"}}"));
    trace_settings_done(&s);
}

static void headers_cannot_smuggle_others(void **state)
{
    (void)state;
    struct trace_settings s;

    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c", 1);
    setenv("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ax: y,c%3a=d,e f=g", 1);
    assert_true(trace_settings_read(&s));
    assert_int_equal(s.headers.n, 0);
    trace_settings_done(&s);
}

static void numbers_that_are_none_are_the_presets(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t timeout;
    } cases[] = {{"250", 250}, {"0", 10000},  {"-5", 10000},
                 {"x", 10000}, {"5s", 10000}, {"99999999999999999999", 60000}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trace_settings s;
        setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c", 1);
        setenv("OTEL_EXPORTER_OTLP_TIMEOUT", cases[i].text, 1);
        assert_true(trace_settings_read(&s));
        assert_int_equal(s.timeout_ms, cases[i].timeout);
        assert_int_equal(s.delay_ms, 5000);
        trace_settings_done(&s);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(off_without_an_endpoint, clean_environment),
        cmocka_unit_test_setup(the_common_endpoint_is_a_base_that_of_traces_is_the_url,
                               clean_environment),
        cmocka_unit_test_setup(lists_are_percent_encoded, clean_environment),
        cmocka_unit_test_setup(headers_cannot_smuggle_others, clean_environment),
        cmocka_unit_test_setup(numbers_that_are_none_are_the_presets, clean_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
