#include "agent/exposition.h"

#include <string.h>

#include "agent/manager_fake.h"

static struct test_pki pki;

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

static char *scrape(const struct manager *m, enum metrics_format format)
{
    auto_buf struct buf b;

    buf_init(&b, 64 << 20);
    exposition_write(m, format, &b);
    assert_false(b.overflow);
    return buf_take(&b);
}

static void expect_line(const char *text, const char *line)
{
    auto_free char *whole = xasprintf("\n%s\n", line);

    if (!strstr(text, whole))
        fail_msg("\"%s\" is missing in:\n%s", line, text);
}

static struct config_server nginx = {.server = {.name = (char[]){"nginx"}}};

static struct server_row *add_server(struct managed *c)
{
    c->servers[c->config.n_servers++] = &nginx;
    return deploy_record_server(&c->record, "nginx");
}

static struct endpoint_row *add_endpoint(struct server_row *s, const char *connect, bool answered,
                                         bool live)
{
    struct endpoint_row *e = server_row_add_endpoint(s);

    e->connect = xstrdup(connect);
    e->answered = answered;
    e->serves_live = live;
    return e;
}

static void shows_a_certificate_that_is_missing(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 1);
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_certificate_ready{certificate=\"c0\"} 0");
    expect_line(text, "everleaf_last_success_timestamp_seconds{certificate=\"c0\"} 0");
    expect_line(text, "everleaf_rollbacks_total{certificate=\"c0\"} 0");
    assert_null(strstr(text, "everleaf_certificate_not_after_timestamp_seconds{"));
    assert_null(strstr(text, "everleaf_certificate_info{"));
    fake_manager_done(&m);
}

static void shows_the_facts_of_the_live_certificate(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain =
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.serial = 0x1234}));
    const struct cert *leaf = chain->items[0];

    fake_manager_init(&m, 2);
    fake_manager_live(&m.certificates[1], 7, chain);
    m.certificates[1].schedule.failures = 2;
    m.certificates[1].record.failures = 1;
    m.certificates[1].view.next_try = 1234567890;
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);
    auto_free char *after =
        xasprintf("everleaf_certificate_not_after_timestamp_seconds{certificate=\"c1\"} %lld",
                  (long long)leaf->not_after);
    auto_free char *renew = xasprintf("everleaf_certificate_renew_at_timestamp_seconds{"
                                      "certificate=\"c1\",source=\"lifetime\"} %lld",
                                      (long long)leaf->not_after - 30 * 86400);
    auto_free char *info = xasprintf(
        "everleaf_certificate_info{certificate=\"c1\",issuer=\"ca\",serial=\"1234\",sha256=\"%s\","
        "issuer_cn=\"Intermediate\",key_type=\"ecdsa-p256\"} 1",
        leaf->sha256_hex);

    expect_line(text, after);
    expect_line(text, renew);
    expect_line(text, info);
    expect_line(text, "everleaf_certificate_ready{certificate=\"c1\"} 1");
    expect_line(text, "everleaf_consecutive_failures{certificate=\"c1\"} 3");
    expect_line(text, "everleaf_backoff_until_timestamp_seconds{certificate=\"c1\"} 1234567890");
    fake_manager_done(&m);
}

static void tells_whose_instant_the_renewal_is(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 1);
    m.certificates[0].view.renew_at = 1700000000;
    m.certificates[0].view.renew_by_ari = true;
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_certificate_renew_at_timestamp_seconds{certificate=\"c0\","
                      "source=\"ari\"} 1700000000");
    fake_manager_done(&m);
}

static void an_expired_certificate_is_not_ready(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain =
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.from_s = -7200, .to_s = -60}));

    fake_manager_init(&m, 1);
    fake_manager_live(&m.certificates[0], 1, chain);
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_certificate_ready{certificate=\"c0\"} 0");
    fake_manager_done(&m);
}

static void foreign_names_are_escaped(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    set_string(&chain->items[0]->issuer_cn, xstrdup("evil\"} 9\nfoo\\"));
    fake_manager_init(&m, 1);
    fake_manager_live(&m.certificates[0], 1, chain);
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

    assert_non_null(strstr(text, "issuer_cn=\"evil\\\"} 9\\nfoo\\\\\""));
    assert_null(strstr(text, "\nfoo"));
    fake_manager_done(&m);
}

static void addresses_of_one_endpoint_make_one_series(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 1);
    struct server_row *s = add_server(&m.certificates[0]);
    s->state = SERVER_UNPROVEN;
    add_endpoint(s, "a.example:443", true, true)->not_after = 2000;
    struct endpoint_row *other = add_endpoint(s, "a.example:443", true, false);
    other->not_after = 1000;
    add_endpoint(s, "b.example:443", false, false);
    add_endpoint(s, "a.example:443", false, false);
    struct endpoint_row *good = add_endpoint(s, "c.example:443", true, true);
    strcpy(good->version, "TLSv1.3");
    strcpy(good->cipher, "TLS_AES_256_GCM_SHA384");
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

#define LABELS(endpoint) "{certificate=\"c0\",server=\"nginx\",endpoint=\"" endpoint "\"} "
    expect_line(text, "everleaf_endpoint_up" LABELS("a.example:443") "1");
    expect_line(text, "everleaf_endpoint_serves_live" LABELS("a.example:443") "0");
    expect_line(text,
                "everleaf_endpoint_not_after_timestamp_seconds" LABELS("a.example:443") "1000");
    expect_line(text, "everleaf_endpoint_up" LABELS("b.example:443") "0");
    expect_line(text, "everleaf_endpoint_serves_live" LABELS("b.example:443") "0");
    expect_line(text, "everleaf_endpoint_serves_live" LABELS("c.example:443") "1");
    expect_line(text, "everleaf_endpoint_tls_info{certificate=\"c0\",server=\"nginx\",endpoint=\"c."
                      "example:443\",version=\"TLSv1.3\",cipher=\"TLS_AES_256_GCM_SHA384\"} 1");
    expect_line(text, "everleaf_deploy_success{certificate=\"c0\",server=\"nginx\"} 0");
    const char *up = strstr(text, "\neverleaf_endpoint_up" LABELS("a.example:443"));
    assert_null(strstr(up + 1, "\neverleaf_endpoint_up" LABELS("a.example:443")));
    fake_manager_done(&m);
}

static void a_deployment_succeeds_when_proven_or_loaded_without_endpoint(void **state)
{
    (void)state;
    static const struct {
        enum server_state server;
        bool endpoint, error, success;
    } cases[] = {
        {SERVER_PENDING, false, false, false},     {SERVER_CHECKED, false, false, false},
        {SERVER_RELOADED, false, false, true},     {SERVER_RELOADED, true, false, false},
        {SERVER_PROVEN, true, false, true},        {SERVER_PROVEN, true, true, false},
        {SERVER_UNPROVEN, true, false, false},     {SERVER_ROLLED_BACK, true, false, false},
        {SERVER_ROLLED_BACK, false, false, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manager m;
        fake_manager_init(&m, 1);
        struct server_row *s = add_server(&m.certificates[0]);
        s->state = cases[i].server;
        if (cases[i].error)
            err_set(&s->error, ERR_SYSTEM, "no");
        if (cases[i].endpoint)
            add_endpoint(s, "127.0.0.1:443", true, true);
        auto_free char *text = scrape(&m, METRICS_PROMETHEUS);
        auto_free char *line = xasprintf(
            "everleaf_deploy_success{certificate=\"c0\",server=\"nginx\"} %d", cases[i].success);
        expect_line(text, line);
        fake_manager_done(&m);
    }
}

static void a_chain_that_is_not_trusted_is_an_error_with_a_code(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 1);
    struct server_row *s = add_server(&m.certificates[0]);
    strcpy(add_endpoint(s, "a.example:443", true, true)->trust, "ok");
    strcpy(add_endpoint(s, "a.example:443", true, false)->trust, "incomplete");
    strcpy(add_endpoint(s, "b.example:443", true, true)->trust, "ok");
    add_endpoint(s, "c.example:443", true, true); /* trust: off */
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

#define CODE(endpoint, code)                                                                       \
    "{certificate=\"c0\",server=\"nginx\",endpoint=\"" endpoint "\",code=\"" code "\"} "
    expect_line(text, "everleaf_endpoint_verify_error" CODE("a.example:443", "incomplete") "1");
    expect_line(text, "everleaf_endpoint_verify_error" CODE("b.example:443", "ok") "0");
    assert_null(strstr(text, "everleaf_endpoint_verify_error" LABELS("c.example:443")));
    fake_manager_done(&m);
}

static void the_last_failure_is_told_by_kind_and_step(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 3);
    err_set(&m.certificates[0].schedule.error, ERR_LIMITED, "secret \"text\" of a CA");
    err_step(&m.certificates[0].schedule.error, "new-order");
    err_set(&m.certificates[1].schedule.error, ERR_LIMITED, "of the CA");
    err_set(&m.certificates[1].record.error, ERR_SYSTEM, "of the server");
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_certificate_error{certificate=\"c0\",reason=\"limited\","
                      "step=\"new-order\"} 1");
    expect_line(text,
                "everleaf_certificate_error{certificate=\"c1\",reason=\"system\",step=\"\"} 1");
    assert_null(strstr(text, "everleaf_certificate_error{certificate=\"c2\""));
    assert_null(strstr(text, "secret"));
    fake_manager_done(&m);
}

static void tells_that_a_configuration_was_refused(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 0);
    auto_free char *good = scrape(&m, METRICS_PROMETHEUS);
    err_set(&m.reload_error, ERR_CONFIG, "bad");
    auto_free char *bad = scrape(&m, METRICS_PROMETHEUS);

    expect_line(good, "everleaf_config_reload_success 1");
    expect_line(good, "everleaf_build_info{version=\"" EVERLEAF_VERSION "\"} 1");
    expect_line(good, "process_start_time_seconds 1700000000");
    assert_non_null(strstr(good, "\nprocess_resident_memory_bytes "));
    assert_non_null(strstr(good, "\nprocess_open_fds "));
    assert_non_null(strstr(good, "\nprocess_cpu_seconds_total "));
    expect_line(bad, "everleaf_config_reload_success 0");
    fake_manager_done(&m);
}

/* Both formats: every sample follows the TYPE of its own family, and no family comes twice. */
static void families_stand_together(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 3);
    for (size_t i = 0; i < 3; i++) {
        fake_manager_live(&m.certificates[i], 1, chain);
        add_endpoint(add_server(&m.certificates[i]), "127.0.0.1:443", true, true);
    }
    for (int format = METRICS_PROMETHEUS; format <= METRICS_OPENMETRICS; format++) {
        auto_free char *text = scrape(&m, (enum metrics_format)format);
        auto_strv struct strv seen = {0};
        char *rest = NULL, *last = NULL;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            last = line;
            if (strncmp(line, "# TYPE ", 7) == 0) {
                auto_free char *family = xstrndup(line + 7, strcspn(line + 7, " "));
                assert_false(strv_has(&seen, family));
                strv_add(&seen, family);
            } else if (line[0] != '#') {
                const char *family = seen.items[seen.n - 1];
                assert_int_equal(strncmp(line, family, strlen(family)), 0);
            }
        }
        assert_int_equal(strcmp(last, "# EOF") == 0, format == METRICS_OPENMETRICS);
    }
    fake_manager_done(&m);
}

/* 10,000 certificates are the scale we promise; the time is far over what a scrape takes (about 50
 * ms optimised), so that only something quadratic or a slow path per sample misses it. */
static void ten_thousand_certificates_are_quick(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 10000);
    for (size_t i = 0; i < m.n; i++) {
        fake_manager_live(&m.certificates[i], 1, chain);
        add_endpoint(add_server(&m.certificates[i]), "127.0.0.1:443", true, true);
    }
    int64_t start = clock_boot_ms();
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);
    int64_t took = clock_boot_ms() - start;
    print_message("%zu bytes in %lld ms\n", strlen(text), (long long)took);
    expect_line(text, "everleaf_certificate_ready{certificate=\"c9999\"} 1");
    assert_true(took < 3000);
    fake_manager_done(&m);
}

static void shows_what_the_ca_still_allows(void **state)
{
    (void)state;
    struct manager m;
    struct limits *limits = limits_new("https://acme-v02.api.letsencrypt.org/directory", NULL);

    fake_manager_init(&m, 0);
    m.limits = limits;
    limits_failed(limits, "www.example.org", clock_now());
    auto_free char *text = scrape(&m, METRICS_PROMETHEUS);

    expect_line(text, "everleaf_rate_limit_remaining{issuer=\"ca\",limit=\"orders\"} 300");
    expect_line(text, "everleaf_rate_limit_remaining{issuer=\"ca\",limit=\"failures\"} 4");
    expect_line(text, "everleaf_issuer_paused{issuer=\"ca\"} 0");
    limits_free(limits);
    fake_manager_done(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_whose_instant_the_renewal_is),
        cmocka_unit_test(shows_what_the_ca_still_allows),
        cmocka_unit_test(shows_a_certificate_that_is_missing),
        cmocka_unit_test(shows_the_facts_of_the_live_certificate),
        cmocka_unit_test(an_expired_certificate_is_not_ready),
        cmocka_unit_test(foreign_names_are_escaped),
        cmocka_unit_test(addresses_of_one_endpoint_make_one_series),
        cmocka_unit_test(a_deployment_succeeds_when_proven_or_loaded_without_endpoint),
        cmocka_unit_test(a_chain_that_is_not_trusted_is_an_error_with_a_code),
        cmocka_unit_test(the_last_failure_is_told_by_kind_and_step),
        cmocka_unit_test(tells_that_a_configuration_was_refused),
        cmocka_unit_test(families_stand_together),
        cmocka_unit_test(ten_thousand_certificates_are_quick),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
