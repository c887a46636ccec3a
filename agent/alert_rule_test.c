#include "agent/alert_rule.h"

#include <string.h>

#include "agent/manager_fake.h"

static struct test_pki pki;
static struct config_server nginx = {.server = {.name = (char[]){"nginx"}}};

static int make_pki(void **state)
{
    (void)state;
    test_pki_make(&pki);
    return 0;
}

static int drop_pki(void **state)
{
    (void)state;
    test_pki_done(&pki);
    return 0;
}

static void on_condition(const struct alert_condition *c, void *userdata)
{
    strv_addf(userdata, "%s%s%s", c->name, c->endpoint ? " " : "", c->endpoint ? c->endpoint : "");
}

/* The names of what is true, separated by commas; caller frees. */
static char *conditions(const struct manager *m, time_t now)
{
    auto_strv struct strv names = {0};
    auto_buf struct buf all;

    buf_init(&all, 1 << 20);
    alert_conditions(m, now, on_condition, &names);
    for (size_t i = 0; i < names.n; i++)
        buf_addf(&all, "%s%s", i > 0 ? ", " : "", names.items[i]);
    return buf_take(&all);
}

static void expect(const struct manager *m, time_t now, const char *wanted)
{
    auto_free char *names = conditions(m, now);

    assert_string_equal(names, wanted);
}

/* 90, 45 and 6 days: what is late is a share of each. */
static void thresholds_are_shares_of_the_lifetime(void **state)
{
    (void)state;
    static const int64_t lifetimes[] = {INT64_C(90) * 86400, INT64_C(45) * 86400,
                                        INT64_C(6) * 86400};

    for (size_t i = 0; i < ARRAY_LEN(lifetimes); i++) {
        struct manager m;
        int64_t life = lifetimes[i];
        auto_chain struct chain *chain =
            test_chain(&pki, test_leaf(&pki, (struct test_spec){.from_s = -60, .to_s = life - 60}));
        const struct cert *leaf = chain->items[0];

        fake_manager_init(&m, 1);
        struct managed *c = &m.certificates[0];
        fake_manager_live(c, 1, chain);
        c->view.renew_at = leaf->not_after - life / 3;
        expect(&m, leaf->not_before, "");
        expect(&m, c->view.renew_at + life / 20 - 60, "");
        expect(&m, c->view.renew_at + life / 20 + 60, "EverleafRenewalOverdue");
        expect(&m, leaf->not_after - life / 6 + 60,
               "EverleafCertificateExpiring, EverleafRenewalOverdue");
        expect(&m, leaf->not_after, "EverleafCertificateExpired");
        c->schedule.failures = 1;
        expect(&m, c->view.renew_at + life / 50 - 60, "");
        expect(&m, c->view.renew_at + life / 50 + 60, "EverleafRenewalFailing");
        c->schedule.failures = 3;
        expect(&m, c->view.renew_at, "EverleafRenewalFailing");
        fake_manager_done(&m);
    }
}

static void an_endpoint_with_something_else_is_not_served_a_silent_one_unproven(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 1);
    struct managed *c = &m.certificates[0];
    fake_manager_live(c, 1, chain);
    c->servers[c->config.n_servers++] = &nginx;
    struct server_row *s = deploy_record_server(&c->record, "nginx");
    expect(&m, clock_now(), "EverleafUnproven");
    s->state = SERVER_RELOADED;
    expect(&m, clock_now(), ""); /* no endpoint to prove it at */
    struct endpoint_row *e = server_row_add_endpoint(s);
    e->connect = xstrdup("a:443");
    expect(&m, clock_now(), "EverleafUnproven");
    e->answered = true;
    expect(&m, clock_now(), "EverleafNotServed a:443");
    e->serves_live = true;
    s->state = SERVER_PROVEN;
    expect(&m, clock_now(), "");
    fake_manager_done(&m);
}

static void what_was_put_back_is_told_until_it_is_deployed(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 1);
    struct managed *c = &m.certificates[0];
    fake_manager_live(c, 1, chain);
    c->record.outcome = OUTCOME_ROLLED_BACK;
    c->record.failures = 1;
    expect(&m, clock_now(), "EverleafRolledBack");
    c->record.outcome = OUTCOME_PROVEN;
    c->record.failures = 0;
    expect(&m, clock_now(), "");
    fake_manager_done(&m);
}

static void a_staple_in_its_last_quarter_and_a_revocation_are_told(void **state)
{
    (void)state;
    struct manager m;
    time_t now = clock_now();
    struct staple_facts staple = {
        .wanted = true, .held = true, .this_update = now - 700, .next_update = now + 300};
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 1);
    struct managed *c = &m.certificates[0];
    fake_manager_live(c, 1, chain);
    c->view.staple = &staple;
    expect(&m, now, "");
    expect(&m, now + 60, "EverleafStapleExpiring");
    staple.held = false;
    c->view.revoked = true;
    expect(&m, now, "EverleafCertificateRevoked");
    fake_manager_done(&m);
}

static void a_first_failure_without_a_certificate_is_news(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 1);
    expect(&m, clock_now(), "");
    m.certificates[0].schedule.failures = 1;
    expect(&m, clock_now(), "EverleafRenewalFailing");
    err_set(&m.reload_error, ERR_CONFIG, "bad");
    expect(&m, clock_now(), "EverleafRenewalFailing, EverleafConfigReloadFailed");
    fake_manager_done(&m);
}

static void a_clock_that_is_wrong_is_told_in_either_direction(void **state)
{
    (void)state;
    struct manager m;
    static const struct {
        int64_t skew;
        const char *wanted;
    } cases[] = {
        {0, ""}, {60, ""}, {-60, ""}, {61, "EverleafClockSkew"}, {-61, "EverleafClockSkew"}};

    fake_manager_init(&m, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        metrics_set(m.services.metrics, METRIC_CLOCK_SKEW, cases[i].skew, "ca", NULL);
        expect(&m, clock_now(), cases[i].wanted);
    }
    fake_manager_done(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_are_shares_of_the_lifetime),
        cmocka_unit_test(an_endpoint_with_something_else_is_not_served_a_silent_one_unproven),
        cmocka_unit_test(what_was_put_back_is_told_until_it_is_deployed),
        cmocka_unit_test(a_staple_in_its_last_quarter_and_a_revocation_are_told),
        cmocka_unit_test(a_first_failure_without_a_certificate_is_news),
        cmocka_unit_test(a_clock_that_is_wrong_is_told_in_either_direction),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
