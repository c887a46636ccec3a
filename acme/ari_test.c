#include "acme/ari.h"

#include <stdio.h>

#include "acme/session_private.h"
#include "acme/test_http.h"
#include "base/clock.h"

#define BASE    "https://ca.example"
#define CERT_ID "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE" /* RFC 9773 4.1 */
#define NOW     ((time_t)1800000000)                  /* 2027-01-15T08:00:00Z */
#define HOURS   3600

static struct loop *loop;
static struct session *session;

/* What the CA does, and what was seen. */
static struct {
    const char *renewal_info; /* of the directory, or NULL */
    const char *retry_after;
    const char *body;
    const char *type;
    int status;
    int lose, fail; /* so many replies are lost, or are a 500, before the good one */
    unsigned asked, directories;
    const char *operation;
    time_t asked_at;
} ca;

static struct {
    unsigned calls;
    struct ari_answer answer;
    struct err *err;
} got;

static void on_exchange(const char *operation, int code, int64_t took_ms, void *userdata)
{
    (void)code;
    (void)took_ms;
    (void)userdata;
    ca.operation = operation;
}

static void on_query(const struct test_query *q, struct test_answer *a, void *userdata)
{
    (void)userdata;
    assert_string_equal(q->method, "GET");
    assert_null(q->header); /* unauthenticated */
    if (strcmp(q->url, BASE "/dir") == 0) {
        json_t *j = json_pack("{s:s,s:s,s:s}", "newNonce", BASE "/nonce", "newAccount",
                              BASE "/acct", "newOrder", BASE "/order");
        json_put_str(j, "renewalInfo", ca.renewal_info);
        ca.directories++;
        answer_json(a, 200, j);
        return;
    }
    assert_string_equal(q->url, BASE "/ari/" CERT_ID);
    assert_string_equal(q->accept, "application/json");
    ca.asked++;
    ca.asked_at = clock_now();
    if (ca.lose > 0) {
        ca.lose--;
        a->lost = true;
    } else if (ca.fail > 0) {
        ca.fail--;
        answer_problem(a, 500, "serverInternal", "oh");
    } else {
        answer_text(a, ca.status, ca.type, ca.body);
        if (ca.retry_after)
            answer_header(a, "retry-after", ca.retry_after);
    }
}

static void on_answer(const struct ari_answer *a, const struct err *e, void *userdata)
{
    assert_ptr_equal(userdata, &got);
    got.calls++;
    got.answer = *a;
    got.answer.url = xstrdup(a->url);
    got.err = err_copy(e);
    loop_exit(loop, 0);
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    memset(&ca, 0, sizeof(ca));
    memset(&got, 0, sizeof(got));
    memset(&test_http, 0, sizeof(test_http));
    test_http.loop = loop;
    test_http.fn = on_query;
    ca.renewal_info = BASE "/ari";
    ca.status = 200;
    ca.type = "application/json";
    ca.body = "{\"suggestedWindow\":{\"start\":\"2027-01-20T00:00:00Z\","
              "\"end\":\"2027-01-21T00:00:00Z\"}}";
    clock_shift_for_test(NOW - clock_now());
    session = session_new(&(struct session_settings){
        .loop = loop, .directory_url = BASE "/dir", .on_exchange = on_exchange});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ari_answer_done(&got.answer);
    err_free(got.err);
    session_free(session);
    assert_int_equal(test_http.under_way, 0);
    loop_free(loop);
    return 0;
}

static void ask(void)
{
    ari_answer_done(&got.answer);
    err_free(take(got.err));
    ari_start(session, CERT_ID, on_answer, &got);
    loop_run(loop);
}

static void is_failure(enum err_kind kind, const char *part)
{
    if (!got.err || got.err->kind != kind || !strstr(got.err->text, part))
        fail_msg("%s", got.err ? got.err->text : "no error");
    assert_int_equal(got.answer.start, 0);
    assert_int_equal(got.answer.end, 0);
    assert_null(got.answer.url);
}

static int64_t poll_in(void)
{
    return got.answer.next_poll - ca.asked_at;
}

static void asks_without_a_signature_and_reads_the_window(void **state)
{
    (void)state;
    ask();
    assert_null(got.err);
    assert_int_equal(got.answer.start, 1800403200);
    assert_int_equal(got.answer.end, 1800403200 + 24 * HOURS);
    assert_null(got.answer.url);
    assert_string_equal(ca.operation, "renewal-info");
    assert_int_equal(ca.asked, 1);
}

static void puts_exactly_one_slash_before_the_id(void **state)
{
    (void)state;
    ca.renewal_info = BASE "/ari//";
    ask();
    assert_null(got.err);
    assert_int_equal(ca.asked, 1);
}

static void comes_back_when_the_ca_says(void **state)
{
    static const struct {
        const char *header;
        int64_t wait_s;
    } cases[] = {
        {NULL, 6 * HOURS},
        {"21600", 6 * HOURS},
        {"7200", 2 * HOURS},
        {"0", 60},
        {"59", 60},
        {"61", 61},
        {"-5", 6 * HOURS},
        {"soon", 6 * HOURS},
        {"86400", 24 * HOURS},
        {"86401", 24 * HOURS},
        {"315360000", 24 * HOURS}, /* ten years */
        {"99999999999999999999999", 24 * HOURS},
        {"Fri, 15 Jan 2027 10:00:00 GMT", 2 * HOURS},
        {"Thu, 14 Jan 2027 10:00:00 GMT", 60},
        {"Fri, 15 Jan 2037 10:00:00 GMT", 24 * HOURS},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ca.retry_after = cases[i].header;
        clock_shift_for_test(NOW - clock_now());
        ask();
        assert_null(got.err);
        if (poll_in() < cases[i].wait_s - 1 || poll_in() > cases[i].wait_s + 1)
            fail_msg("%s: %ld", cases[i].header, (long)poll_in());
    }
}

static void a_ca_without_renewal_information_is_asked_later(void **state)
{
    (void)state;
    ca.renewal_info = NULL;
    ca.asked_at = NOW;
    ask();
    is_failure(ERR_REFUSED, "offers no renewal information");
    assert_in_range(poll_in(), 6 * HOURS - 1, 6 * HOURS + 2);
    assert_int_equal(ca.asked, 0);
}

static void tries_again_after_a_lost_reply(void **state)
{
    (void)state;
    ca.lose = 1;
    ca.fail = 1;
    ask();
    assert_null(got.err);
    assert_int_equal(ca.asked, 3);
    assert_int_equal(ca.directories, 1);
}

static void gives_up_after_a_few_tries_and_asks_in_six_hours(void **state)
{
    (void)state;
    ca.fail = 1000;
    session->settings.timeout_ms = 1000;
    ask();
    is_failure(ERR_TRANSIENT, "renewal-info at ca.example");
    assert_in_range(ca.asked, 2, 5);
    assert_in_range(poll_in(), 6 * HOURS - 2, 6 * HOURS + 2);
}

static void a_refusal_is_final_and_asked_about_in_six_hours(void **state)
{
    (void)state;
    ca.status = 404;
    ca.type = "application/problem+json";
    ca.body = "{\"type\":\"urn:ietf:params:acme:error:malformed\",\"detail\":\"unknown serial\"}";
    ca.retry_after = "60";
    ask();
    is_failure(ERR_REFUSED, "unknown serial");
    assert_int_equal(ca.asked, 1);
    assert_in_range(poll_in(), 6 * HOURS - 2, 6 * HOURS + 2);
}

static void a_limit_is_kept_within_a_day(void **state)
{
    (void)state;
    ca.status = 429;
    ca.retry_after = "7200";
    ask();
    is_failure(ERR_LIMITED, "429");
    assert_in_range(poll_in(), 2 * HOURS - 2, 2 * HOURS + 2);
    ca.retry_after = "600000";
    ask();
    assert_in_range(poll_in(), 24 * HOURS - 2, 24 * HOURS + 2);
    assert_int_equal(ca.asked, 2);
}

static void asks_nothing_while_everybody_has_to_wait(void **state)
{
    (void)state;
    ask();
    session->paused_until = clock_now() + 2 * HOURS;
    ask();
    is_failure(ERR_LIMITED, "unavailable until");
    assert_int_equal(ca.asked, 1);
    assert_in_range(poll_in(), 2 * HOURS - 2, 2 * HOURS + 2);
}

static void a_503_makes_everybody_wait(void **state)
{
    (void)state;
    ca.status = 503;
    ca.retry_after = "7200";
    ask();
    is_failure(ERR_LIMITED, "503");
    assert_true(session_is_paused(session, NULL));
}

static void what_is_no_window_is_no_answer(void **state)
{
    static const char *const bad[] = {
        "<html>",
        "[]",
        "{}",
        "{\"suggestedWindow\":null}",
        "{\"suggestedWindow\":[]}",
        "{\"suggestedWindow\":{\"start\":\"2027-01-20T00:00:00Z\"}}",
        "{\"suggestedWindow\":{\"end\":\"2027-01-20T00:00:00Z\"}}",
        "{\"suggestedWindow\":{\"start\":1800403200,\"end\":1800403300}}",
        "{\"suggestedWindow\":{\"start\":\"now\",\"end\":\"2027-01-20T00:00:00Z\"}}",
        "{\"suggestedWindow\":{\"start\":\"2027-01-20T00:00:00Z\",\"end\":\"2027-01-20T00:00:00Z\"}"
        "}",
        "{\"suggestedWindow\":{\"start\":\"2027-01-20T00:00:01Z\",\"end\":\"2027-01-20T00:00:00Z\"}"
        "}",
        "{\"suggestedWindow\":{\"start\":\"2027-01-20T00:00:00Z\",\"end\":\"9999-01-20T00:00:00Z\"}"
        "}",
        "{\"suggestedWindow\":{\"start\":\"2037-01-20T00:00:00Z\",\"end\":\"2037-01-20T01:00:00Z\"}"
        "}",
    };

    (void)state;
    ca.retry_after = "7200";
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ca.body = bad[i];
        clock_shift_for_test(NOW - clock_now());
        ask();
        is_failure(ERR_REFUSED, "renewal-info at ca.example");
        assert_in_range(poll_in(), 2 * HOURS - 2, 2 * HOURS + 2);
    }
    assert_int_equal(ca.asked, ARRAY_LEN(bad));
    ca.body = "{}";
    ca.type = "text/html";
    ask();
    is_failure(ERR_REFUSED, "text/html instead of JSON");
}

static bool parse(const char *body, struct ari_answer *ret)
{
    return ari_parse(body, strlen(body), NOW, ret, NULL);
}

static void reads_fractions_of_seconds_and_offsets(void **state)
{
    struct ari_answer a = {0};

    (void)state;
    assert_true(parse("{\"suggestedWindow\":{\"start\":\"2027-01-20T00:00:00.123Z\",\"end\":"
                      "\"2027-01-20T02:00:00.999999999+01:00\"}}",
                      &a));
    assert_int_equal(a.start, 1800403200);
    assert_int_equal(a.end, 1800403200 + HOURS);
}

static void a_window_of_long_ago_means_now(void **state)
{
    struct ari_answer a = {0};

    (void)state;
    assert_true(parse("{\"suggestedWindow\":{\"start\":\"0001-01-01T00:00:00Z\",\"end\":"
                      "\"0001-01-02T00:00:00Z\"}}",
                      &a));
    assert_true(a.start > 0 && a.end > a.start);
    assert_true(ari_is_past(a.end, NOW));
}

static void a_window_within_400_days_is_taken(void **state)
{
    struct ari_answer a = {0};

    (void)state;
    assert_true(parse("{\"suggestedWindow\":{\"start\":\"2028-02-18T00:00:00Z\",\"end\":"
                      "\"2028-02-19T08:00:00Z\"}}",
                      &a));
    assert_false(parse("{\"suggestedWindow\":{\"start\":\"2028-02-18T00:00:00Z\",\"end\":"
                       "\"2028-02-19T08:00:01Z\"}}",
                       &a));
}

static char *url_of(const char *url)
{
    struct ari_answer a = {0};
    auto_json json_t *o =
        json_pack("{s:{s:s,s:s},s:s}", "suggestedWindow", "start", "2027-01-20T00:00:00Z", "end",
                  "2027-01-21T00:00:00Z", "explanationURL", url);
    auto_free char *body = json_compact(o);

    assert_true(parse(body, &a));
    return a.url;
}

static void shows_only_links_that_are_links(void **state)
{
    static const char *const bad[] = {"javascript:alert(1)", "ftp://ca.example/x", "",
                                      "data:text/html,x",    "//ca.example/x",     "http"};
    char longer[3000] = "https://ca.example/";

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_null(url_of(bad[i]));
    memset(longer + strlen(longer), 'x', sizeof(longer) - strlen(longer) - 1);
    assert_null(url_of(longer));

    auto_free char *https = url_of("https://ca.example/why?x=1");
    auto_free char *http = url_of("HTTP://ca.example/why");
    auto_free char *escaped = url_of("https://ca.example/\x1b[31m");
    assert_string_equal(https, "https://ca.example/why?x=1");
    assert_string_equal(http, "HTTP://ca.example/why");
    assert_null(strchr(escaped, 0x1b));
}

static void chooses_evenly_inside_the_window(void **state)
{
    unsigned tenths[10] = {0};

    (void)state;
    assert_int_equal(ari_choose(1000, 2000, 0), 1000);
    assert_int_equal(ari_choose(1000, 2000, UINT32_MAX), 1999);
    assert_int_equal(ari_choose(1000, 2000, UINT32_MAX / 2 + 1), 1500);
    assert_int_equal(ari_choose(1000, 1000, UINT32_MAX), 1000);
    assert_int_equal(ari_choose(2000, 1000, UINT32_MAX), 2000);
    for (uint32_t i = 0; i < 10000; i++) {
        time_t t = ari_choose(NOW, NOW + 10 * 86400, i * 429496u);
        assert_true(t >= NOW && t < NOW + 10 * 86400);
        tenths[(t - NOW) / 86400]++;
    }
    for (size_t i = 0; i < 10; i++)
        assert_in_range(tenths[i], 990, 1011);
    assert_true(ari_choose(1, INT64_MAX, UINT32_MAX) > 1); /* no overflow */
}

static void tells_a_past_window_from_one_that_is_open(void **state)
{
    (void)state;
    assert_true(ari_is_past(NOW - 1, NOW));
    assert_true(ari_is_past(NOW, NOW));
    assert_false(ari_is_past(NOW + 1, NOW));
}

static void nobody_hears_of_a_question_that_was_dropped(void **state)
{
    (void)state;
    ari_free(ari_start(session, CERT_ID, on_answer, &got));
    ask();
    assert_int_equal(got.calls, 1);
    ari_free(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(asks_without_a_signature_and_reads_the_window),
        TEST(puts_exactly_one_slash_before_the_id),
        TEST(comes_back_when_the_ca_says),
        TEST(a_ca_without_renewal_information_is_asked_later),
        TEST(tries_again_after_a_lost_reply),
        TEST(gives_up_after_a_few_tries_and_asks_in_six_hours),
        TEST(a_refusal_is_final_and_asked_about_in_six_hours),
        TEST(a_limit_is_kept_within_a_day),
        TEST(asks_nothing_while_everybody_has_to_wait),
        TEST(a_503_makes_everybody_wait),
        TEST(what_is_no_window_is_no_answer),
        TEST(nobody_hears_of_a_question_that_was_dropped),
        cmocka_unit_test(reads_fractions_of_seconds_and_offsets),
        cmocka_unit_test(a_window_of_long_ago_means_now),
        cmocka_unit_test(a_window_within_400_days_is_taken),
        cmocka_unit_test(shows_only_links_that_are_links),
        cmocka_unit_test(chooses_evenly_inside_the_window),
        cmocka_unit_test(tells_a_past_window_from_one_that_is_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
