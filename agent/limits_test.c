#include "agent/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

#define PRODUCTION "https://acme-v02.api.letsencrypt.org/directory"
#define STAGING    "https://acme-staging-v02.api.letsencrypt.org/directory"
#define NOW        ((time_t)1800000000)
#define MINUTE     60
#define HOUR       3600
#define DAY        86400

static struct limits *l;
static struct strv names;
static struct limits_order order = {.names = &names};
static struct limits_config config;

static int setup(void **state)
{
    l = limits_new(*state ? *state : PRODUCTION, NULL);
    strv_done(&names);
    strv_add(&names, "www.example.org");
    order = (struct limits_order){.names = &names};
    config = (struct limits_config){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    limits_free(l);
    strv_done(&names);
    return 0;
}

static void name_is(const char *name)
{
    strv_done(&names);
    strv_add(&names, name);
}

static void name_number(int i)
{
    char name[64];

    snprintf(name, sizeof(name), "www.example-%d.org", i);
    name_is(name);
}

static bool may(time_t now)
{
    return limits_may_order(l, &order, now, NULL);
}

static void issue(time_t now)
{
    limits_order_placed(l, &order, now);
    limits_order_ended(l, &order, true, now);
}

/* What another count with the same rows says: the one under test does not see its time. */
static bool would(time_t now, time_t then)
{
    auto_json json_t *j = limits_to_json(l, now);
    struct limits *copy = limits_new(PRODUCTION, &config);

    limits_read(copy, j, now);
    bool yes = limits_may_order(copy, &order, then, NULL);
    limits_free(copy);
    return yes;
}

/* Refused now and one second before `at`, allowed at it; the error says so. */
static void is_free_at(time_t now, time_t at, const char *part)
{
    auto_err struct err *e = NULL;
    char when[CLOCK_TEXT_MAX];

    assert_false(limits_may_order(l, &order, now, &e));
    assert_int_equal(e->kind, ERR_LIMITED);
    if (!strstr(e->text, part))
        fail_msg("\"%s\" lacks \"%s\"", e->text, part);
    assert_int_equal(e->retry_at, at);
    assert_non_null(strstr(e->text, clock_rfc3339(at, when)));
    assert_non_null(e->hint);
    assert_false(would(now, at - 1));
    assert_true(would(now, at));
}

/* Let's Encrypt's numbers ---------------------------------------------------------------------- */

static void lets_300_orders_through_in_3_hours(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        name_number(i);
        assert_true(may(NOW));
        limits_order_placed(l, &order, NOW);
    }
    name_is("other.example");
    is_free_at(NOW, NOW + 36, "new orders per account (300/3h)");
    limits_order_placed(l, &order, NOW + 36);
    is_free_at(NOW + 36, NOW + 72, "new orders");
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW + 3 * HOUR), 299);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW + 3 * HOUR + 36), 300);
}

static void lets_50_certificates_of_a_registered_domain_through_in_7_days(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s%d.example.co.uk", i % 2 ? "*.x" : "x", i);
        name_is(name);
        assert_true(may(NOW));
        issue(NOW);
    }
    name_is("another.example.co.uk");
    is_free_at(NOW, NOW + 12096, "certificates per registered domain (50/7d)"); /* 201.6 min */
    is_free_at(NOW, NOW + 12096, "for example.co.uk until");
    name_is("another.other.co.uk");
    assert_true(may(NOW));
}

static void counts_ipv4_addresses_and_ipv6_networks(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        char name[64];
        snprintf(name, sizeof(name), "2001:db8:0:1::%x", i + 1);
        name_is(name);
        issue(NOW);
    }
    name_is("2001:db8:0:1:ffff::1");
    is_free_at(NOW, NOW + 12096, "2001:db8:0:1::/64");
    name_is("2001:db8:0:2::1");
    assert_true(may(NOW));
    name_is("192.0.2.1");
    assert_true(may(NOW));
}

static void lets_5_certificates_with_the_same_names_through_in_7_days(void **state)
{
    (void)state;
    strv_add(&names, "example.org");
    for (int i = 0; i < 5; i++) {
        assert_true(may(NOW));
        issue(NOW);
    }
    is_free_at(NOW, NOW + 120960, "certificates with exactly the same names (5/7d)"); /* 33.6 h */
    strv_done(&names); /* the order of the names does not count */
    strv_add(&names, "example.org");
    strv_add(&names, "www.example.org");
    is_free_at(NOW, NOW + 120960, "example.org and 1 more");
    strv_add(&names, "third.example.org");
    assert_true(may(NOW));
}

static void lets_5_validations_of_a_name_fail_in_an_hour(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(may(NOW));
        limits_failed(l, "www.example.org", NOW);
    }
    is_free_at(NOW, NOW + 12 * MINUTE, "failed validations per name (5/h) is used up for www.ex");
    strv_add(&names, "other.example.org");
    assert_false(may(NOW)); /* one name is enough */
    name_is("other.example.org");
    assert_true(may(NOW));
    limits_validated(l, "www.example.org", NOW); /* a success gives nothing back */
    name_is("www.example.org");
    assert_false(may(NOW));
}

static void stops_before_the_1152nd_failure_in_a_row_pauses_a_name(void **state)
{
    time_t t = NOW;

    (void)state;
    for (int i = 0; i < 1152; i++) {
        assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW), 1152 - i);
        limits_failed(l, "www.example.org", NOW);
    }
    t += 13 * MINUTE; /* the other limit is free again */
    is_free_at(t, NOW + DAY, "failed validations in a row per name (1152/1152d)");
    limits_validated(l, "www.example.org", NOW + DAY);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW + DAY), 1152);
}

static void forgets_one_failure_in_a_row_a_day(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        limits_failed(l, "www.example.org", NOW);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW + DAY - 1), 1149);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW + DAY), 1150);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW + 3 * DAY), 1152);
}

static void lets_10_accounts_through_in_3_hours(void **state)
{
    auto_err struct err *e = NULL;

    (void)state;
    for (int i = 0; i < 10; i++) {
        assert_true(limits_may_register(l, NOW, NULL));
        limits_registered(l, NOW);
    }
    assert_false(limits_may_register(l, NOW, &e));
    assert_int_equal(e->kind, ERR_LIMITED);
    assert_int_equal(e->retry_at, NOW + 18 * MINUTE);
    assert_non_null(strstr(e->text, "new accounts per IP address (10/3h)"));
    assert_true(limits_may_register(l, NOW + 18 * MINUTE, NULL));
}

static void counts_500_accounts_in_an_ipv6_range(void **state)
{
    (void)state;
    assert_int_equal(limits_remaining(l, LIMIT_ACCOUNTS_IN_RANGE, NOW), 500);
    limits_registered(l, NOW);
    assert_int_equal(limits_remaining(l, LIMIT_ACCOUNTS_IN_RANGE, NOW + 21), 499);
    assert_int_equal(limits_remaining(l, LIMIT_ACCOUNTS_IN_RANGE, NOW + 22), 500); /* 21.6 s */
}

/* How many pass at once; measured again if a second went by meanwhile. */
static int burst(const char *directory, const char *operation, struct loop *loop)
{
    int64_t began;
    int n;

    do {
        struct gate *gate = limits_make_gate(directory, NULL, loop);
        n = 0;
        began = clock_boot_ms();
        while (gate_try(gate, operation))
            n++;
        gate_free(gate);
    } while (clock_boot_ms() - began >= 1000);
    return n;
}

static void no_request_exceeds_the_rate_of_its_kind(void **state)
{
    static const struct {
        const char *operation;
        int production, staging;
    } wanted[] = {
        {"new-nonce", 20, 20},  {"new-account", 5, 5},        {"new-order", 300, 20},
        {"revoke", 10, 10},     {"renewal-info", 1000, 1000}, {"directory", 40, 40},
        {"challenge", 250, 20},
    };
    const struct limit_set *sets[] = {limit_set_of(PRODUCTION), limit_set_of(STAGING)};
    struct loop *loop = loop_new(NULL);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        assert_int_equal(burst(PRODUCTION, wanted[i].operation, loop), wanted[i].production);
        assert_int_equal(burst(STAGING, wanted[i].operation, loop), wanted[i].staging);
    }
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        for (size_t k = 0; k < sets[i]->n_requests; k++)
            assert_int_equal(sets[i]->requests[k].rate.period_s, 1);
    }
    loop_free(loop);
}

static void staging_counts_as_production_does(void **state)
{
    (void)state; /* which made it staging */
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 300);
    assert_int_equal(limits_remaining(l, LIMIT_CERTIFICATES, NOW), 50);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, NOW), 5);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES, NOW), 5);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW), 1152);
}

/* Exemptions ----------------------------------------------------------------------------------- */

/* Every limit of an order used up. */
static void use_everything_up(void)
{
    for (int i = 0; i < 50; i++)
        issue(NOW);
    for (int i = 0; i < 250; i++) {
        limits_order_placed(l, &order, NOW);
        limits_order_ended(l, &order, false, NOW);
    }
    for (int i = 0; i < 1152; i++)
        limits_failed(l, "www.example.org", NOW);
}

static void a_replacement_by_ari_is_exempt_from_all(void **state)
{
    (void)state;
    use_everything_up();
    assert_false(may(NOW));
    order.replaces = true;
    assert_true(may(NOW));
}

static void a_replacement_by_ari_uses_no_order(void **state)
{
    (void)state;
    order.replaces = order.same_names = true;
    issue(NOW);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 300);
    assert_int_equal(limits_remaining(l, LIMIT_CERTIFICATES, NOW), 50);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, NOW), 4);
}

static void a_renewal_of_the_same_names_is_exempt_from_two(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        name_number(i);
        limits_order_placed(l, &order, NOW);
        limits_order_ended(l, &order, false, NOW);
    }
    for (int i = 0; i < 50; i++) {
        char name[64];
        snprintf(name, sizeof(name), "x%d.example.org", i);
        name_is(name);
        issue(NOW);
    }
    name_is("www.example.org");
    assert_false(would(NOW, NOW + 40)); /* an order is free, a certificate is not */
    order.same_names = true;
    assert_true(may(NOW));
    for (int i = 0; i < 5; i++)
        issue(NOW);
    is_free_at(NOW, NOW + 120960, "exactly the same names");
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 0);
}

static void a_renewal_of_the_same_names_can_still_fail_too_often(void **state)
{
    (void)state;
    order.same_names = true;
    for (int i = 0; i < 5; i++)
        limits_failed(l, "www.example.org", NOW);
    assert_false(may(NOW));
}

static void says_the_limit_that_lasts_longest(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        issue(NOW);
        limits_failed(l, "www.example.org", NOW);
    }
    is_free_at(NOW, NOW + 120960, "exactly the same names");
}

/* Orders under way ----------------------------------------------------------------------------- */

static void orders_under_way_count_before_their_certificates_do(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_true(may(NOW));
        limits_order_placed(l, &order, NOW);
    }
    assert_false(may(NOW));
    limits_order_ended(l, &order, false, NOW); /* no certificate: the CA counts none */
    assert_true(may(NOW));
    for (int i = 0; i < 4; i++)
        limits_order_ended(l, &order, false, NOW);
    limits_order_ended(l, &order, false, NOW); /* one too many does no harm */
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, NOW), 5);
    assert_int_equal(limits_remaining(l, LIMIT_CERTIFICATES, NOW), 50);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 295);
}

static void an_order_resumed_after_a_restart_is_no_new_one(void **state)
{
    (void)state;
    limits_order_resumed(l, &order, NOW);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 300);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, NOW), 4);
    limits_order_ended(l, &order, true, NOW);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, NOW), 4);
}

/* The clock ------------------------------------------------------------------------------------ */

static void a_clock_that_goes_back_gives_and_takes_nothing(void **state)
{
    static const int64_t steps[] = {1, HOUR, 365 * DAY, 10 * 365 * (int64_t)DAY};

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        for (int k = 0; k < 5; k++)
            issue(NOW);
        time_t back = NOW - steps[i];
        assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, back), 0);
        assert_int_equal(limits_remaining(l, LIMIT_ORDERS, back), 295);
        is_free_at(back, back + 120960, "exactly the same names");
        assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, back + 7 * DAY), 5);
        teardown(state);
        setup(state);
    }
}

static void a_clock_that_jumps_ahead_only_fills(void **state)
{
    (void)state;
    use_everything_up();
    assert_true(may(NOW + 10 * 365 * (int64_t)DAY));
    for (int i = 0; i < LIMITS_N; i++)
        assert_true(limits_remaining(l, (enum limit)i, NOW + 10 * 365 * (int64_t)DAY) > 0);
    assert_true(may(NOW)); /* and back */
}

/* On disk -------------------------------------------------------------------------------------- */

static void reload(time_t saved, time_t now)
{
    json_t *j = limits_to_json(l, saved);
    auto_free char *text = json_text(j);

    json_decref(j);
    limits_free(l);
    l = limits_new(PRODUCTION, NULL);
    j = json_parse(text, strlen(text), NULL);
    limits_read(l, j, now);
    json_decref(j);
}

static void survives_a_restart(void **state)
{
    (void)state;
    strv_add(&names, "example.org");
    for (int i = 0; i < 5; i++)
        issue(NOW);
    limits_failed(l, "www.example.org", NOW);
    limits_order_placed(l, &order, NOW); /* what is under way is said again by its owner */
    reload(NOW + 10, NOW + 20);
    is_free_at(NOW + 20, NOW + 120960, "exactly the same names");
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW + 20), 294);
    assert_int_equal(limits_remaining(l, LIMIT_CERTIFICATES, NOW + 20), 45);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES, NOW + 20), 4);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW + 20), 1151);
}

static void a_clock_that_went_back_over_a_restart_gives_and_takes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        issue(NOW);
    reload(NOW, NOW - 400 * DAY);
    is_free_at(NOW - 400 * DAY, NOW - 400 * DAY + 120960, "exactly the same names");
}

static void a_document_of_long_ago_means_full_buckets(void **state)
{
    (void)state;
    use_everything_up();
    reload(NOW, NOW + 4 * 365 * DAY);
    assert_true(may(NOW + 4 * 365 * DAY));
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW + 4 * 365 * DAY), 1152);
}

static void what_is_damaged_counts_for_nothing(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "{\"at\":5}",
        "{\"at\":\"2027-01-15T08:00:00Z\"}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"rows\":[]}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"rows\":{\"orders\":5}}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"rows\":{\"orders\":{\"\":\"x\"}}}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"rows\":{\"orders\":{\"\":-5}}}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"rows\":{\"unheard-of\":{\"\":5}}}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"rows\":{\"failures\":{\"\\u001b[31m\":5000}}}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"paused\":{\"www.example.org\":5}}",
        "{\"at\":\"2027-01-15T08:00:00Z\",\"paused\":[],\"account\":7}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_json json_t *j = json_parse(bad[i], strlen(bad[i]), NULL);
        assert_non_null(j);
        limits_read(l, j, NOW);
        for (int k = 0; k < LIMITS_N; k++)
            assert_true(limits_remaining(l, (enum limit)k, NOW) >= 5);
        assert_true(may(NOW));
    }
    limits_read(l, NULL, NOW);
}

static void no_document_makes_a_bucket_emptier_than_empty(void **state)
{
    auto_json json_t *j = json_pack("{s:s,s:{s:{s:I}}}", "at", "2027-01-15T08:00:00Z", "rows",
                                    "orders", "", (json_int_t)INT64_MAX);

    (void)state;
    limits_read(l, j, NOW);
    is_free_at(NOW, NOW + 36, "new orders");
}

static void counts_changes_worth_saving(void **state)
{
    uint64_t before = limits_changes(l);

    (void)state;
    assert_true(may(NOW));
    assert_int_equal(limits_changes(l), before);
    limits_order_placed(l, &order, NOW);
    assert_true(limits_changes(l) > before);
    before = limits_changes(l);
    limits_order_ended(l, &order, true, NOW);
    assert_true(limits_changes(l) > before);
    before = limits_changes(l);
    limits_validated(l, "www.example.org", NOW); /* never failed */
    assert_int_equal(limits_changes(l), before);
    limits_failed(l, "www.example.org", NOW);
    assert_true(limits_changes(l) > before);
}

/* Configuration -------------------------------------------------------------------------------- */

static void other_cas_have_no_limits_until_configured(void **state)
{
    struct limits *other = limits_new("https://ca.example/directory", NULL);
    (void)state;
    config.orders = (struct rate){2, HOUR};
    for (int i = 0; i < 1000; i++) {
        assert_true(limits_may_order(other, &order, NOW, NULL));
        limits_order_placed(other, &order, NOW);
    }
    assert_int_equal(limits_remaining(other, LIMIT_ORDERS, NOW), -1);
    assert_int_equal(limits_remaining(other, LIMIT_CERTIFICATES, NOW), -1);
    assert_null(limits_make_gate("https://ca.example/directory", NULL, NULL));
    auto_json json_t *j = limits_to_json(other, NOW);
    assert_int_equal(json_object_size(json_get(j, "rows")), 0);

    limits_configure(other, &config);
    limits_order_placed(other, &order, NOW);
    limits_order_placed(other, &order, NOW);
    assert_false(limits_may_order(other, &order, NOW, NULL));
    assert_true(limits_may_order(other, &order, NOW + HOUR / 2, NULL));
    limits_free(other);
}

static void configured_numbers_replace_known_ones(void **state)
{
    (void)state;
    config.orders = (struct rate){3000, 3 * HOUR};
    config.certificates = (struct rate){1000, 7 * DAY};
    limits_configure(l, &config);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 3000);
    assert_int_equal(limits_remaining(l, LIMIT_CERTIFICATES, NOW), 1000);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, NOW), 5);
}

static void a_new_configuration_keeps_the_count(void **state)
{
    (void)state;
    config.orders = (struct rate){10, 30 * DAY};
    limits_configure(l, &config);
    for (int i = 0; i < 10; i++) {
        name_number(i);
        limits_order_placed(l, &order, NOW);
    }
    name_is("other.example");
    assert_false(may(NOW));
    config.orders = (struct rate){5, HOUR};
    limits_configure(l, &config);
    is_free_at(NOW, NOW + 12 * MINUTE, "(5/h)"); /* not in days */
}

static void configured_requests_hold_over_all_kinds(void **state)
{
    struct loop *loop = loop_new(NULL);
    int n = 0;

    (void)state;
    config.requests = (struct rate){7, 60};
    struct gate *gate = limits_make_gate("https://ca.example/directory", &config, loop);
    for (int i = 0; i < 100; i++)
        n += gate_try(gate, i % 2 ? "order" : "directory");
    assert_int_equal(n, 7);
    gate_free(gate);
    loop_free(loop);
}

/* Accounts and pauses -------------------------------------------------------------------------- */

static void another_account_starts_with_what_is_counted_per_domain(void **state)
{
    (void)state;
    limits_set_account(l, "https://ca.example/acct/1");
    issue(NOW);
    limits_failed(l, "www.example.org", NOW);
    limits_set_account(l, "https://ca.example/acct/1");
    limits_set_account(l, NULL);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 299);
    reload(NOW, NOW);
    limits_set_account(l, "https://ca.example/acct/2");
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, NOW), 300);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES, NOW), 5);
    assert_int_equal(limits_remaining(l, LIMIT_FAILURES_IN_A_ROW, NOW), 1152);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, NOW), 4);
    assert_int_equal(limits_remaining(l, LIMIT_CERTIFICATES, NOW), 49);
}

#define PORTAL "https://portal.example/sfe/v1/unpause?jwt=abc.def"

static void say_paused(const char *text)
{
    auto_err struct err *e = NULL;

    err_set(&e, ERR_LIMITED, "%s", text);
    assert_true(limits_refused(l, &order, e, NOW));
}

static void a_paused_name_stops_its_orders_and_says_where_to_go(void **state)
{
    auto_err struct err *e = NULL;

    (void)state;
    strv_add(&names, "example.org");
    assert_false(limits_is_paused(l));
    say_paused("prevented from requesting certificates for example.org and possibly others. Please "
               "visit: " PORTAL);
    assert_true(limits_is_paused(l));
    assert_false(limits_may_order(l, &order, NOW + HOUR, &e));
    assert_int_equal(e->kind, ERR_LIMITED);
    assert_string_equal(e->text, "the CA has paused example.org for this account");
    assert_non_null(strstr(e->hint, PORTAL));
    assert_int_equal(e->retry_at, NOW + DAY);
    order.replaces = true; /* ARI does not help */
    assert_false(may(NOW + HOUR));
    assert_true(may(NOW + DAY)); /* one try a day: has somebody been there? */
    name_is("www.example.org");
    assert_true(may(NOW + HOUR));
}

static void a_pause_survives_a_restart_and_ends_with_a_success(void **state)
{
    (void)state;
    say_paused("Please visit: " PORTAL); /* names none: all of the order */
    reload(NOW, NOW + 10);
    assert_false(may(NOW + 10));
    assert_false(may(NOW + 20));
    limits_validated(l, "www.example.org", NOW + 20);
    assert_true(may(NOW + 20));
    assert_false(limits_is_paused(l));

    say_paused("Please visit: " PORTAL);
    limits_order_ended(l, &order, true, NOW);
    assert_false(limits_is_paused(l));
}

static void a_pause_ends_with_the_clock_going_back(void **state)
{
    (void)state;
    say_paused("Please visit: " PORTAL);
    assert_true(may(NOW - 365 * DAY));
}

static void another_refusal_is_no_pause(void **state)
{
    auto_err struct err *e = NULL;

    (void)state;
    err_set(&e, ERR_LIMITED, "too many certificates, see https://ca.example/docs/rate-limits");
    assert_false(limits_refused(l, &order, e, NOW));
    assert_false(limits_refused(l, &order, NULL, NOW));
    assert_true(may(NOW));
}

/* Size ----------------------------------------------------------------------------------------- */

static void forgets_what_is_full_again(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++) {
        name_number(i);
        issue(NOW + (time_t)i * DAY);
    }
    auto_json json_t *j = limits_to_json(l, NOW + 5000 * (time_t)DAY);
    size_t n = 0;
    for (int i = 0; i < LIMITS_N; i++)
        n += json_object_size(json_get(json_get(j, "rows"), limit_names[i]));
    assert_in_range(n, 1, 10);
}

static void is_quick_with_thousands_of_domains(void **state)
{
    int64_t began = clock_boot_ms();

    (void)state;
    order.replaces = true;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 10000; i++) {
            name_number(i);
            assert_true(may(NOW + round));
            issue(NOW + round);
        }
    }
    assert_int_equal(limits_remaining(l, LIMIT_CERTIFICATES, NOW), 47);
    assert_true(clock_boot_ms() - began < 20000); /* milliseconds without sanitizers */
}

/* Status --------------------------------------------------------------------------------------- */

static void is_row(const json_t *list, size_t i, const char *name, int64_t used, int64_t max,
                   time_t free_at)
{
    const json_t *row = json_array_get(list, i);

    assert_int_equal(json_object_size(row), 4);
    assert_string_equal(json_str(row, "name"), name);
    assert_int_equal(json_int(row, "used"), used);
    assert_int_equal(json_int(row, "max"), max);
    assert_int_equal(json_time(row, "free_at"), free_at);
}

static void status_shows_the_account_and_the_fullest(void **state)
{
    (void)state;
    auto_json json_t *fresh = limits_status(l, NOW);
    assert_int_equal(json_array_size(fresh), 1);
    is_row(fresh, 0, "orders", 0, 300, 0);
    assert_true(json_is_null(json_get(json_array_get(fresh, 0), "free_at")));

    for (int i = 0; i < 5; i++)
        issue(NOW);
    limits_failed(l, "www.example.org", NOW);
    limits_registered(l, NOW);
    auto_json json_t *list = limits_status(l, NOW);
    assert_int_equal(json_array_size(list), 7);
    is_row(list, 0, "orders", 5, 300, 0);
    is_row(list, 1, "accounts", 1, 10, 0);
    is_row(list, 2, "accounts-in-range", 1, 500, 0);
    is_row(list, 3, "same-names www.example.org", 5, 5, NOW + 120960);
    is_row(list, 4, "failures www.example.org", 1, 5, 0);
    is_row(list, 5, "certificates example.org", 5, 50, 0);
    is_row(list, 6, "failures-in-a-row www.example.org", 1, 1152, 0);
}

static void status_is_bounded(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        name_number(i);
        issue(NOW);
    }
    name_is("full.example");
    for (int i = 0; i < 5; i++)
        limits_failed(l, "full.example", NOW);
    auto_json json_t *list = limits_status(l, NOW);
    assert_int_equal(json_array_size(list), LIMITS_ROWS_MAX);
    is_row(list, 0, "orders", 300, 300, NOW + 36);
    is_row(list, 1, "failures full.example", 5, 5, NOW + 12 * MINUTE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static char staging[] = STAGING;
    const struct CMUnitTest tests[] = {
        TEST(lets_300_orders_through_in_3_hours),
        TEST(lets_50_certificates_of_a_registered_domain_through_in_7_days),
        TEST(counts_ipv4_addresses_and_ipv6_networks),
        TEST(lets_5_certificates_with_the_same_names_through_in_7_days),
        TEST(lets_5_validations_of_a_name_fail_in_an_hour),
        TEST(stops_before_the_1152nd_failure_in_a_row_pauses_a_name),
        TEST(forgets_one_failure_in_a_row_a_day),
        TEST(lets_10_accounts_through_in_3_hours),
        TEST(counts_500_accounts_in_an_ipv6_range),
        TEST(no_request_exceeds_the_rate_of_its_kind),
        cmocka_unit_test_prestate_setup_teardown(staging_counts_as_production_does, setup, teardown,
                                                 staging),
        TEST(a_replacement_by_ari_is_exempt_from_all),
        TEST(a_replacement_by_ari_uses_no_order),
        TEST(a_renewal_of_the_same_names_is_exempt_from_two),
        TEST(a_renewal_of_the_same_names_can_still_fail_too_often),
        TEST(says_the_limit_that_lasts_longest),
        TEST(orders_under_way_count_before_their_certificates_do),
        TEST(an_order_resumed_after_a_restart_is_no_new_one),
        TEST(a_clock_that_goes_back_gives_and_takes_nothing),
        TEST(a_clock_that_jumps_ahead_only_fills),
        TEST(survives_a_restart),
        TEST(a_clock_that_went_back_over_a_restart_gives_and_takes_nothing),
        TEST(a_document_of_long_ago_means_full_buckets),
        TEST(what_is_damaged_counts_for_nothing),
        TEST(no_document_makes_a_bucket_emptier_than_empty),
        TEST(counts_changes_worth_saving),
        TEST(other_cas_have_no_limits_until_configured),
        TEST(configured_numbers_replace_known_ones),
        TEST(a_new_configuration_keeps_the_count),
        TEST(configured_requests_hold_over_all_kinds),
        TEST(another_account_starts_with_what_is_counted_per_domain),
        TEST(a_paused_name_stops_its_orders_and_says_where_to_go),
        TEST(a_pause_survives_a_restart_and_ends_with_a_success),
        TEST(a_pause_ends_with_the_clock_going_back),
        TEST(another_refusal_is_no_pause),
        TEST(forgets_what_is_full_again),
        TEST(is_quick_with_thousands_of_domains),
        TEST(status_shows_the_account_and_the_fullest),
        TEST(status_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
