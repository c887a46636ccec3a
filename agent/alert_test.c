#include "agent/alert.h"

#include <string.h>

#include "agent/alert_send.h"
#include "agent/manager_fake.h"

/* Take the places of base/loop and agent/alert_send: time passes when a test says so, a message is
 * what was handed over. */
struct timer {
    timer_fn *fn;
    void *userdata;
};

static struct timer *pending;
static int64_t pending_ms;

struct timer *timer_after(struct loop *l, int64_t ms, timer_fn *fn, void *userdata)
{
    struct timer *t = xcalloc(1, sizeof *t);

    (void)l;
    assert_null(pending);
    t->fn = fn;
    t->userdata = userdata;
    pending = t;
    pending_ms = ms;
    return t;
}

void timer_free(struct timer *t)
{
    if (t && t == pending)
        pending = NULL;
    free(t);
}

static struct {
    char *json, *text;
    bool firing, open;
    unsigned count;
    alert_send_fn *fn;
    void *userdata;
} sent;

struct alert_send *alert_send_start(const struct services *services,
                                    const struct config_alerts *config,
                                    const struct alert_message *message, alert_send_fn *fn,
                                    void *userdata)
{
    (void)services;
    assert_non_null(config->url);
    assert_false(sent.open);
    set_string(&sent.json, alert_message_json(message));
    set_string(&sent.text, alert_message_text(message));
    sent.firing = alert_message_is_firing(message);
    sent.count++;
    sent.open = true;
    sent.fn = fn;
    sent.userdata = userdata;
    return (struct alert_send *)&sent;
}

void alert_send_free(struct alert_send *s)
{
    if (s)
        sent.open = false;
}

static struct manager m;
static struct alerts *alerts;
static struct test_pki pki;
static int64_t shifted;

static void pass(int64_t seconds)
{
    shifted += seconds;
    clock_shift_for_test(seconds);
}

/* The next look. */
static void look(void)
{
    struct timer *t = pending;

    assert_non_null(t);
    t->fn(t->userdata);
}

static void arrive(void)
{
    assert_true(sent.open);
    sent.open = false;
    sent.fn(NULL, sent.userdata);
}

static void get_lost(void)
{
    auto_err struct err *e = NULL;

    err_set(&e, ERR_TRANSIENT, "nobody there");
    assert_true(sent.open);
    sent.open = false;
    sent.fn(e, sent.userdata);
}

static int set_up(void **state)
{
    (void)state;
    sent.count = 0;
    test_pki_make(&pki);
    fake_manager_init(&m, 3);
    m.config.alerts = (struct config_alerts){
        .url = secret_new("https://a.example/", 18), .repeat_s = 86400, .timeout_s = 30};
    alerts = alerts_new(&m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alerts_free(alerts);
    assert_null(pending);
    assert_false(sent.open);
    secret_free(m.config.alerts.url);
    fake_manager_done(&m);
    test_pki_done(&pki);
    set_string(&sent.json, NULL);
    set_string(&sent.text, NULL);
    clock_shift_for_test(-shifted);
    shifted = 0;
    return 0;
}

static void break_certificate(size_t i, const char *text)
{
    struct schedule *s = &m.certificates[i].schedule;

    s->failures = 1;
    err_set(&s->error, ERR_REFUSED, "%s", text);
    err_hint(&s->error, "open port 80");
}

static void repair_certificate(size_t i)
{
    struct schedule *s = &m.certificates[i].schedule;

    s->failures = 0;
    err_free(s->error);
    s->error = NULL;
}

static void says_nothing_while_all_is_well(void **state)
{
    (void)state;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    for (size_t i = 0; i < m.n; i++)
        fake_manager_live(&m.certificates[i], 1, chain);
    look();
    look();
    assert_int_equal(sent.count, 0);
}

static void tells_that_it_began_and_that_it_is_over(void **state)
{
    (void)state;
    break_certificate(1, "refused");
    look();
    assert_int_equal(sent.count, 1);
    assert_true(sent.firing);
    assert_string_equal(sent.text, "ALERT: Certificate c1: 1 failure in a row\n"
                                   "  cause: refused\n  what to do: open port 80\n");
    arrive();
    pass(60);
    look();
    assert_int_equal(sent.count, 1);
    repair_certificate(1);
    pass(60);
    look();
    assert_int_equal(sent.count, 2);
    assert_false(sent.firing);
    assert_string_equal(sent.text, "RESOLVED: Certificate c1: 1 failure in a row\n");
    arrive();
    pass(86400 * 3);
    look();
    assert_int_equal(sent.count, 2);
}

static void a_message_is_alertmanagers(void **state)
{
    (void)state;
    break_certificate(0, "re\"fused\x1b<b>");
    look();
    auto_json json_t *j = json_parse(sent.json, strlen(sent.json), NULL);
    const json_t *alert = json_array_get(json_get(j, "alerts"), 0);
    const json_t *labels = json_get(alert, "labels");

    assert_string_equal(json_str(j, "version"), "4");
    assert_string_equal(json_str(j, "status"), "firing");
    assert_string_equal(json_str(alert, "status"), "firing");
    assert_string_equal(json_str(labels, "alertname"), "EverleafRenewalFailing");
    assert_string_equal(json_str(labels, "certificate"), "c0");
    assert_string_equal(json_str(labels, "severity"), "critical"); /* there is none at all */
    assert_null(json_str(labels, "server"));
    assert_string_equal(json_str(json_get(alert, "annotations"), "cause"), "re\"fused\\x1b<b>");
    assert_string_equal(json_str(alert, "endsAt"), "0001-01-01T00:00:00Z");
    assert_int_equal(json_time(alert, "startsAt"), clock_now());
    arrive();
    repair_certificate(0);
    pass(5);
    look();
    auto_json json_t *over = json_parse(sent.json, strlen(sent.json), NULL);
    alert = json_array_get(json_get(over, "alerts"), 0);
    assert_string_equal(json_str(over, "status"), "resolved");
    assert_string_equal(json_str(alert, "status"), "resolved");
    assert_in_range(json_time(alert, "endsAt") - json_time(alert, "startsAt"), 5, 6);
    arrive();
}

static void what_happens_together_is_one_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < m.n; i++) {
        break_certificate(i, "refused");
        alerts_poke(alerts);
    }
    assert_int_equal(pending_ms, 1000);
    look();
    assert_int_equal(sent.count, 1);
    auto_json json_t *j = json_parse(sent.json, strlen(sent.json), NULL);
    assert_int_equal(json_array_size(json_get(j, "alerts")), 3);
    arrive();
}

static void what_lasts_is_told_again_after_a_while(void **state)
{
    (void)state;
    break_certificate(0, "refused");
    look();
    arrive();
    pass(86400 - 60);
    look();
    assert_int_equal(sent.count, 1);
    pass(60);
    look();
    assert_int_equal(sent.count, 2);
    arrive();
}

static void what_was_not_delivered_is_in_the_next_message(void **state)
{
    (void)state;
    break_certificate(0, "refused");
    look();
    get_lost();
    look(); /* not at once */
    assert_int_equal(sent.count, 1);
    break_certificate(1, "refused");
    pass(60);
    look();
    assert_int_equal(sent.count, 2);
    auto_json json_t *j = json_parse(sent.json, strlen(sent.json), NULL);
    assert_int_equal(json_array_size(json_get(j, "alerts")), 2);
    get_lost();
    pass(60);
    look(); /* the second pause is longer */
    assert_int_equal(sent.count, 2);
    pass(60);
    look();
    assert_int_equal(sent.count, 3);
    arrive();
    pass(60);
    look();
    assert_int_equal(sent.count, 3);
}

static void what_nobody_heard_of_ends_quietly(void **state)
{
    (void)state;
    break_certificate(0, "refused");
    look();
    get_lost();
    repair_certificate(0);
    pass(3600);
    look();
    /* The message may have arrived all the same: its end is told. */
    assert_int_equal(sent.count, 2);
    assert_false(sent.firing);
    arrive();
}

static void what_comes_back_while_its_end_is_told_is_told_again(void **state)
{
    (void)state;
    break_certificate(0, "refused");
    look();
    arrive();
    repair_certificate(0);
    look();
    assert_false(sent.firing);
    break_certificate(0, "refused");
    look();
    arrive(); /* that it was over */
    look();
    assert_int_equal(sent.count, 3);
    assert_true(sent.firing);
    arrive();
}

static void flapping_is_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        if (i % 2)
            repair_certificate(0);
        else
            break_certificate(0, "refused");
        pass(1);
        look();
        if (sent.open)
            arrive();
    }
    assert_in_range(sent.count, 10, 13); /* a burst of ten, then one a minute */
    pass(-7200);                         /* a clock that steps back silences nobody for long */
    look();
    break_certificate(0, "refused");
    break_certificate(1, "refused");
    pass(600);
    unsigned before = sent.count;
    look();
    assert_int_equal(sent.count, before + 1);
    arrive();
}

static void held_conditions_must_last(void **state)
{
    (void)state;
    err_set(&m.reload_error, ERR_CONFIG, "line 3");
    look();
    assert_int_equal(sent.count, 0);
    pass(299);
    look();
    assert_int_equal(sent.count, 0);
    pass(1);
    look();
    assert_int_equal(sent.count, 1);
    assert_non_null(strstr(sent.json, "EverleafConfigReloadFailed"));
    arrive();
}

static void ten_thousand_failures_are_one_message_of_bounded_size(void **state)
{
    (void)state;
    fake_manager_done(&m);
    struct config_alerts kept = m.config.alerts;
    fake_manager_init(&m, 10000);
    m.config.alerts = kept;
    for (size_t i = 0; i < m.n; i++)
        break_certificate(i, "refused");
    look();
    assert_int_equal(sent.count, 1);
    auto_json json_t *j = json_parse(sent.json, strlen(sent.json), NULL);
    assert_int_equal(json_array_size(json_get(j, "alerts")), ALERT_MESSAGE_MAX);
    assert_int_equal(json_int(j, "truncatedAlerts"), 10000 - ALERT_MESSAGE_MAX);
    assert_non_null(strstr(sent.text, "and 9900 more\n"));
    arrive();
    pass(60);
    look();
    assert_int_equal(sent.count, 1); /* all of them were told of */
}

static void without_a_receiver_nothing_wakes_up(void **state)
{
    (void)state;
    struct config_alerts kept = m.config.alerts;

    m.config.alerts = (struct config_alerts){0};
    break_certificate(0, "refused");
    look();
    assert_null(pending);
    alerts_poke(alerts);
    assert_null(pending);
    m.config.alerts = kept; /* a reload */
    alerts_poke(alerts);
    look();
    assert_int_equal(sent.count, 1);
    arrive();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(says_nothing_while_all_is_well),
        TEST(tells_that_it_began_and_that_it_is_over),
        TEST(a_message_is_alertmanagers),
        TEST(what_happens_together_is_one_message),
        TEST(what_lasts_is_told_again_after_a_while),
        TEST(what_was_not_delivered_is_in_the_next_message),
        TEST(what_nobody_heard_of_ends_quietly),
        TEST(what_comes_back_while_its_end_is_told_is_told_again),
        TEST(flapping_is_bounded),
        TEST(held_conditions_must_last),
        TEST(ten_thousand_failures_are_one_message_of_bounded_size),
        TEST(without_a_receiver_nothing_wakes_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
