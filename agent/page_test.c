#include "agent/page.h"

#include <string.h>

#include "agent/manager_fake.h"
#include "base/clock.h"

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

static struct config_server nginx = {.server = {.name = (char[]){"nginx"}}};

static char *page(const struct manager *m, size_t number)
{
    auto_buf struct buf b;

    buf_init(&b, 64 << 20);
    assert_true(page_write(m, number, &b));
    assert_false(b.overflow);
    return buf_take(&b);
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is missing in:\n%s", part, text);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;

    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

static void says_first_whether_all_is_well(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 3);
    for (size_t i = 0; i < 3; i++)
        fake_manager_live(&m.certificates[i], 1, chain);
    auto_free char *well = page(&m, 1);
    m.certificates[1].view.exit_status = 1;
    auto_free char *one = page(&m, 1);
    m.certificates[2].view.exit_status = 3;
    auto_free char *two = page(&m, 1);

    expect(well, "<title>All 3 certificates are well \u2013 Everleaf</title>");
    expect(well, "<h1>All 3 certificates are well</h1>");
    expect(one, "<h1>1 of 3 certificates needs attention</h1>");
    expect(two, "<h1>2 of 3 certificates need attention</h1>");
    expect(two, "<li class=\"bad\"><b>1</b> missing, expired or not served</li>");
    fake_manager_done(&m);
}

static void the_worst_come_first_then_who_is_renewed_next(void **state)
{
    (void)state;
    struct manager m;
    static const int order[] = {2, 3, 1, 0};
    const char *last = NULL;

    fake_manager_init(&m, 4);
    for (size_t i = 0; i < 4; i++)
        m.certificates[i].view.exit_status = i == 2 ? 3 : i == 3 ? 1 : 0;
    m.certificates[0].view.renew_at = 2000000000;
    m.certificates[1].view.renew_at = 1900000000;
    auto_free char *text = page(&m, 1);

    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        auto_free char *link = xasprintf("href=\"/certificate/c%d\"", order[i]);
        expect(text, link);
        assert_true(strstr(text, link) > last);
        last = strstr(text, link);
    }
    fake_manager_done(&m);
}

static void the_time_line_is_a_share_of_the_lifetime(void **state)
{
    (void)state;
    struct manager m;
    time_t now = clock_now();
    struct staple_facts staple = {.wanted = true,
                                  .held = true,
                                  .status = OCSP_STATUS_GOOD,
                                  .this_update = now - 86400,
                                  .next_update = now + 6 * 86400,
                                  .fresh_until = now + 6 * 86400};
    auto_chain struct chain *chain = test_chain(
        &pki, test_leaf(&pki, (struct test_spec){.from_s = -45 * 86400, .to_s = 45 * 86400}));

    fake_manager_init(&m, 1);
    fake_manager_live(&m.certificates[0], 1, chain);
    m.certificates[0].view.renew_at = chain->items[0]->not_after - 30 * 86400;
    m.certificates[0].view.staple = &staple;
    auto_free char *text = page(&m, 1);

    expect(text, "<rect class=\"past\" x=\"0.0%\" width=\"50.0%\"/>");
    expect(text, "<rect class=\"reserve\" x=\"66.6%\" width=\"33.4%\"/>");
    expect(text, "<line class=\"due\" y1=\"1\" y2=\"21\" x1=\"66.6%\" x2=\"66.6%\"/>");
    expect(text, "50 percent are over, renewal at 66 percent");
    expect(text, "<rect class=\"staple\" x=\"48.8%\" width=\"7.8%\"/>");
    expect(text, "Staple good, until ");
    fake_manager_done(&m);
}

static void dates_out_of_order_draw_nothing(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 3);
    for (size_t i = 0; i < 3; i++)
        fake_manager_live(&m.certificates[i], 1, chain);
    m.certificates[0].live.not_after = m.certificates[0].live.not_before;
    m.certificates[1].live.not_before = 0;
    m.certificates[2].live.not_after = INT64_C(253402300799); /* the last second of 9999 */
    m.certificates[2].view.renew_at = m.certificates[2].live.not_after + 1000;
    auto_free char *text = page(&m, 1);

    assert_int_equal(count(text, "There is no certificate yet."), 2);
    expect(text, "<line class=\"due\" y1=\"1\" y2=\"21\" x1=\"100.0%\" x2=\"100.0%\"/>");
    fake_manager_done(&m);
}

static void tells_the_last_error_with_advice(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 1);
    struct managed *c = &m.certificates[0];
    err_set(&c->schedule.error, ERR_REFUSED, "the CA could not connect");
    err_step(&c->schedule.error, "authorize");
    err_hint(&c->schedule.error, "open port 80");
    c->schedule.failures = 2;
    c->view.next_try = clock_now() + 600;
    auto_free char *text = page(&m, 1);

    expect(text, "<b>authorize:</b> the CA could not connect");
    expect(text, "<b>What to do:</b> open port 80");
    expect(text, "2 failures in a row. Next try ");
    fake_manager_done(&m);
}

static void tells_what_each_endpoint_showed(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 1);
    struct managed *c = &m.certificates[0];
    fake_manager_live(c, 1, chain);
    c->servers[c->config.n_servers++] = &nginx;
    struct server_row *s = deploy_record_server(&c->record, "nginx");
    s->state = SERVER_UNPROVEN;
    static const struct {
        const char *connect;
        bool live, other;
    } endpoints[] = {{"a:443", true, false}, {"b:443", false, true}, {"c:443", false, false}};
    for (size_t i = 0; i < 3; i++) {
        struct endpoint_row *e = server_row_add_endpoint(s);
        e->connect = xstrdup(endpoints[i].connect);
        e->serves_live = endpoints[i].live;
        e->sha256 = endpoints[i].other ? xstrdup("ab") : NULL;
    }
    auto_free char *text = page(&m, 1);

    expect(text, "<b>nginx</b> not proven");
    expect(text, "a:443: serves it");
    expect(text, "b:443: serves another certificate");
    expect(text, "c:443: does not answer");
    fake_manager_done(&m);
}

/* Whatever a CA, a server or a configuration says: no markup, nothing raw. */
static void foreign_text_is_text(void **state)
{
    (void)state;
    static const char evil[] = "\"'><script>alert(1)</script>&amp;\x1b[2J\xe2\x80\xae";
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    struct output_type type = {.name = "files"};
    struct output output = {.type = &type, .path = (char[]){"/etc/<script>"}};

    set_string(&chain->items[0]->issuer_cn, xstrdup(evil));
    fake_manager_init(&m, 1);
    struct managed *c = &m.certificates[0];
    fake_manager_live(c, 1, chain);
    strv_add(&c->config.names, evil);
    c->view.activity = evil;
    c->config.outputs = &output;
    c->config.n_outputs = 1;
    set_string(&m.issuer.name, xstrdup(evil));
    set_string(&m.issuer.directory, xstrdup(evil));
    c->servers[c->config.n_servers++] = &nginx;
    struct server_row *s = deploy_record_server(&c->record, "nginx");
    struct endpoint_row *e = server_row_add_endpoint(s);
    e->connect = xstrdup(evil);
    e->sni = xstrdup(evil);
    err_set(&e->error, ERR_SYSTEM, "%s", evil);
    err_set(&c->record.error, ERR_SYSTEM, "%s", evil);
    err_hint(&c->record.error, "%s", evil);
    c->record.error->step = xstrdup(evil);
    c->record.error->where = xstrdup(evil);
    err_set(&m.reload_error, ERR_CONFIG, "%s", evil);
    auto_free char *text = page(&m, 1);
    auto_buf struct buf one;
    buf_init(&one, 1 << 20);
    assert_true(page_write_certificate(&m, "c0", &one));

    expect(text, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;\\x1b[2J\\u202e");
    assert_null(strstr(text, "<script"));
    assert_null(strstr(one.data, "<script"));
    assert_null(strchr(text, 0x1b));
    assert_null(strstr(text, "\xe2\x80\xae"));
    assert_null(strstr(text, "\"'>"));
    fake_manager_done(&m);
}

static void nothing_is_loaded_and_nothing_runs(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 2);
    auto_free char *text = page(&m, 1);
    expect(text, "default-src 'none'");
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "http://"));
    assert_null(strstr(text, " src="));
    assert_null(strstr(text, "@import"));
    assert_null(strstr(text, "url("));
    fake_manager_done(&m);
}

static void many_certificates_are_paged(void **state)
{
    (void)state;
    struct manager m;
    auto_buf struct buf b;

    buf_init(&b, 64 << 20);
    fake_manager_init(&m, 2 * PAGE_CERTIFICATES + 1);
    auto_free char *first = page(&m, 1);
    auto_free char *second = page(&m, 2);
    auto_free char *last = page(&m, 3);

    assert_int_equal(count(first, "<article"), PAGE_CERTIFICATES);
    assert_int_equal(count(last, "<article"), 1);
    expect(first, "<span aria-disabled=\"true\">Previous</span>");
    expect(first, "<a href=\"/page/2\">Next</a>");
    expect(second, "<a href=\"/\">Previous</a>");
    expect(second, "<span aria-current=\"page\">Page 2 of 3</span>");
    expect(last, "<span aria-disabled=\"true\">Next</span>");
    assert_false(page_write(&m, 0, &b));
    assert_false(page_write(&m, 4, &b));
    fake_manager_done(&m);
}

static void without_certificates_it_says_so(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 0);
    auto_free char *text = page(&m, 1);
    expect(text, "<h1>No certificates are configured</h1>");
    assert_null(strstr(text, "<nav"));
    fake_manager_done(&m);
}

static void one_certificate_has_a_page_of_its_own(void **state)
{
    (void)state;
    struct manager m;
    auto_buf struct buf b;

    buf_init(&b, 1 << 20);
    fake_manager_init(&m, 2);
    assert_true(page_write_certificate(&m, "c1", &b));
    expect(b.data, "<h1>Certificate c1</h1>");
    expect(b.data, "c1.example.org");
    assert_null(strstr(b.data, "c0"));
    assert_null(strstr(b.data, "<details"));
    assert_false(page_write_certificate(&m, "c2", &b));
    fake_manager_done(&m);
}

static void ten_thousand_certificates_are_quick(void **state)
{
    (void)state;
    struct manager m;
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    fake_manager_init(&m, 10000);
    for (size_t i = 0; i < m.n; i++)
        fake_manager_live(&m.certificates[i], 1, chain);
    int64_t start = clock_boot_ms();
    auto_free char *text = page(&m, 1);
    int64_t took = clock_boot_ms() - start;
    print_message("%zu bytes in %lld ms\n", strlen(text), (long long)took);
    assert_in_range(strlen(text), 100000, 1000000);
    assert_true(took < 1000);
    fake_manager_done(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_first_whether_all_is_well),
        cmocka_unit_test(the_worst_come_first_then_who_is_renewed_next),
        cmocka_unit_test(the_time_line_is_a_share_of_the_lifetime),
        cmocka_unit_test(dates_out_of_order_draw_nothing),
        cmocka_unit_test(tells_the_last_error_with_advice),
        cmocka_unit_test(tells_what_each_endpoint_showed),
        cmocka_unit_test(foreign_text_is_text),
        cmocka_unit_test(nothing_is_loaded_and_nothing_runs),
        cmocka_unit_test(many_certificates_are_paged),
        cmocka_unit_test(without_certificates_it_says_so),
        cmocka_unit_test(one_certificate_has_a_page_of_its_own),
        cmocka_unit_test(ten_thousand_certificates_are_quick),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
