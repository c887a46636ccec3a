#include "agent/status.h"

#include <string.h>
#include <unistd.h>

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

/* Exactly these members, in any order. */
static void expect_members(const json_t *o, const char *names)
{
    auto_free char *copy = xstrdup(names);
    char *rest = NULL;
    size_t n = 0;

    assert_true(json_is_object(o));
    for (char *name = strtok_r(copy, " ", &rest); name; name = strtok_r(NULL, " ", &rest), n++) {
        if (!json_object_get(o, name))
            fail_msg("\"%s\" is missing", name);
    }
    assert_int_equal(json_object_size(o), n);
}

static const json_t *certificate(const json_t *document, size_t i)
{
    return json_array_get(json_get(document, "certificates"), i);
}

static struct config_server nginx = {.server = {.name = (char[]){"nginx"}}};
static const struct output_type files = {.name = "files"};

static void every_member_is_there_even_before_the_first_certificate(void **state)
{
    (void)state;
    struct manager m;
    struct output output = {.type = &files, .path = (char[]){"/etc/tls/c0"}};

    fake_manager_init(&m, 1);
    m.certificates[0].config.outputs = &output;
    m.certificates[0].config.n_outputs = 1;
    m.certificates[0].servers[0] = &nginx;
    m.certificates[0].config.n_servers = 1;
    auto_json json_t *j = status_document(&m, true, NULL, NULL);
    const json_t *c = certificate(j, 0);

    expect_members(j, "schema version time exit agent certificates monitor issuers");
    assert_string_equal(json_str(j, "schema"), "everleaf.status/1");
    expect_members(json_get(j, "agent"), "running pid since config");
    expect_members(json_get(json_get(j, "agent"), "config"), "file ok error");
    expect_members(c, "name managed names issuer exit activity state generation newest_generation "
                      "live staple renew failures next_try error outputs servers");
    expect_members(json_get(c, "staple"), "status this_update next_update");
    expect_members(json_get(c, "renew"), "at reason ari");
    expect_members(json_get(json_get(c, "renew"), "ari"), "start end next_poll url");
    expect_members(json_array_get(json_get(c, "outputs"), 0), "type path generation error");
    expect_members(json_array_get(json_get(c, "servers"), 0),
                   "name reloaded_at state error endpoints");
    expect_members(json_array_get(json_get(j, "issuers"), 0),
                   "name directory account paused limits");
    assert_int_equal(status_exit(j), 3);
    assert_string_equal(json_str(c, "state"), "missing");
    assert_true(json_is_null(json_get(c, "live")));
    assert_true(json_is_null(json_get(c, "generation")));
    assert_true(json_is_null(json_get(json_get(c, "renew"), "at")));
    assert_string_equal(json_str(json_array_get(json_get(c, "outputs"), 0), "path"), "/etc/tls/c0");
    assert_string_equal(json_str(json_array_get(json_get(c, "servers"), 0), "state"), "pending");
    fake_manager_done(&m);
}

static void tells_live_certificate_generation_and_renewal(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 1);
    fake_manager_live(&m.certificates[0], 12, chain);
    m.certificates[0].view.newest = 13;
    auto_json json_t *j = status_document(&m, true, NULL, NULL);
    const json_t *c = certificate(j, 0);

    assert_int_equal(json_int(c, "generation"), 12);
    assert_int_equal(json_int(c, "newest_generation"), 13);
    assert_string_equal(json_str(json_get(c, "live"), "sha256"), chain->items[0]->sha256_hex);
    assert_string_equal(json_str(json_get(c, "renew"), "reason"), "lifetime");
    assert_int_equal(json_time(json_get(c, "renew"), "at"),
                     chain->items[0]->not_after - 30 * 86400);
    assert_int_equal(json_int(json_get(j, "agent"), "pid"), getpid());
    assert_int_equal(status_exit(j), 0);
    fake_manager_done(&m);
}

static void the_worst_certificate_decides_the_exit(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 3);
    for (size_t i = 0; i < 3; i++)
        m.certificates[i].view.exit_status = i == 1 ? 1 : 0;
    auto_json json_t *trouble = status_document(&m, true, NULL, NULL);
    m.certificates[2].view.exit_status = 3;
    auto_json json_t *broken = status_document(&m, true, NULL, NULL);
    auto_json json_t *one = status_document(&m, true, "c0", NULL);

    assert_int_equal(status_exit(trouble), 1);
    assert_int_equal(status_exit(broken), 3);
    assert_int_equal(status_exit(one), 0); /* of those that were asked for */
    fake_manager_done(&m);
}

static void a_refused_configuration_is_shown_and_is_trouble(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 0);
    err_set(&m.reload_error, ERR_CONFIG, "unknown key \"nmaes\"");
    auto_json json_t *j = status_document(&m, true, NULL, NULL);
    const json_t *config = json_get(json_get(j, "agent"), "config");

    assert_false(json_bool(config, "ok"));
    assert_string_equal(json_str(json_get(config, "error"), "text"), "unknown key \"nmaes\"");
    assert_string_equal(json_str(json_get(config, "error"), "kind"), "config");
    assert_int_equal(status_exit(j), 1);
    fake_manager_done(&m);
}

static void without_an_agent_there_is_no_pid(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 0);
    auto_json json_t *j = status_document(&m, false, NULL, NULL);

    assert_false(json_bool(json_get(j, "agent"), "running"));
    assert_true(json_is_null(json_get(json_get(j, "agent"), "pid")));
    assert_true(json_is_null(json_get(json_get(j, "agent"), "since")));
    fake_manager_done(&m);
}

static void a_name_gives_one_certificate_with_history(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 3);
    auto_json json_t *j = status_document(&m, true, "c1", NULL);
    auto_json json_t *all = status_document(&m, true, NULL, NULL);

    assert_int_equal(json_array_size(json_get(j, "certificates")), 1);
    assert_string_equal(json_str(certificate(j, 0), "name"), "c1");
    assert_true(json_is_array(json_get(certificate(j, 0), "history")));
    assert_null(json_get(certificate(all, 1), "history"));
    fake_manager_done(&m);
}

static void an_unknown_name_is_an_error_with_the_nearest(void **state)
{
    (void)state;
    struct manager m;
    auto_err struct err *e = NULL;

    fake_manager_init(&m, 1);
    free(m.certificates[0].config.name);
    m.certificates[0].view.name = m.certificates[0].config.name = xstrdup("website");
    assert_null(status_document(&m, true, "websiet", &e));
    assert_int_equal(e->kind, ERR_CONFIG);
    assert_non_null(strstr(e->text, "websiet"));
    assert_non_null(strstr(e->hint, "website"));
    fake_manager_done(&m);
}

static void an_answer_without_exit_is_not_good_news(void **state)
{
    (void)state;
    auto_json json_t *j = json_object();

    assert_int_equal(status_exit(j), 4);
    json_put_int(j, "exit", 77);
    assert_int_equal(status_exit(j), 4);
    assert_int_equal(status_exit(NULL), 4);
}

static void a_failed_deployment_goes_before_a_failed_renewal(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 1);
    struct managed *c = &m.certificates[0];
    c->schedule.failures = 1;
    c->record.failures = 2;
    c->view.next_try = 1800000000;
    err_set(&c->schedule.error, ERR_LIMITED, "the CA limits us");
    auto_json json_t *renewal = status_document(&m, true, NULL, NULL);
    err_set(&c->record.error, ERR_SYSTEM, "nginx -t failed");
    auto_json json_t *both = status_document(&m, true, NULL, NULL);

    assert_string_equal(json_str(json_get(certificate(renewal, 0), "error"), "text"),
                        "the CA limits us");
    assert_string_equal(json_str(json_get(certificate(both, 0), "error"), "text"),
                        "nginx -t failed");
    assert_int_equal(json_int(certificate(both, 0), "failures"), 3);
    assert_int_equal(json_time(certificate(both, 0), "next_try"), 1800000000);
    fake_manager_done(&m);
}

static void ten_thousand_certificates_are_quick(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 10000);
    for (size_t i = 0; i < m.n; i++) {
        fake_manager_live(&m.certificates[i], 1, chain);
        m.certificates[i].servers[m.certificates[i].config.n_servers++] = &nginx;
    }
    int64_t start = clock_boot_ms();
    auto_json json_t *j = status_document(&m, true, NULL, NULL);
    int64_t took = clock_boot_ms() - start;
    print_message("%lld ms\n", (long long)took);
    assert_int_equal(json_array_size(json_get(j, "certificates")), 10000);
    assert_true(took < 10000);
    fake_manager_done(&m);
}

static void shows_what_the_ca_limits(void **state)
{
    (void)state;
    struct manager m;
    struct limits_config config = {.orders = {10, 3600}};
    struct limits *limits = limits_new("https://ca.example/directory", &config);
    auto_strv struct strv names = {0};
    struct limits_order order = {.names = &names};

    fake_manager_init(&m, 0);
    m.limits = limits;
    strv_add(&names, "www.example.org");
    limits_order_placed(limits, &order, clock_now());
    auto_json json_t *j = status_document(&m, true, NULL, NULL);
    const json_t *issuer = json_array_get(json_get(j, "issuers"), 0);
    const json_t *row = json_array_get(json_get(issuer, "limits"), 0);

    expect_members(row, "name used max free_at");
    assert_string_equal(json_str(row, "name"), "orders");
    assert_int_equal(json_int(row, "used"), 1);
    assert_int_equal(json_int(row, "max"), 10);
    assert_false(json_bool(issuer, "paused"));
    limits_free(limits);
    fake_manager_done(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_what_the_ca_limits),
        cmocka_unit_test(every_member_is_there_even_before_the_first_certificate),
        cmocka_unit_test(tells_live_certificate_generation_and_renewal),
        cmocka_unit_test(the_worst_certificate_decides_the_exit),
        cmocka_unit_test(a_refused_configuration_is_shown_and_is_trouble),
        cmocka_unit_test(without_an_agent_there_is_no_pid),
        cmocka_unit_test(a_name_gives_one_certificate_with_history),
        cmocka_unit_test(an_unknown_name_is_an_error_with_the_nearest),
        cmocka_unit_test(an_answer_without_exit_is_not_good_news),
        cmocka_unit_test(a_failed_deployment_goes_before_a_failed_renewal),
        cmocka_unit_test(ten_thousand_certificates_are_quick),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
