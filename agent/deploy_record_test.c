#include "agent/deploy_record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void fill(struct deploy_record *r)
{
    *r = (struct deploy_record){.target = 4,
                                .previous = 3,
                                .candidate = 4,
                                .held_over = 6,
                                .stage = DEPLOY_BACK_SWITCH,
                                .outcome = OUTCOME_ROLLED_BACK,
                                .alone = true,
                                .stays = true,
                                .failures = 2,
                                .next_try = 1700000000,
                                .attempt = xstrdup("0011223344556677")};
    err_set(&r->error, ERR_SYSTEM, "nginx says no");
    struct output_row *o = deploy_record_output(r, "files", "/etc/tls/www");
    o->generation = 3;
    err_set(&o->error, ERR_SYSTEM, "read-only file system");
    struct server_row *s = deploy_record_server(r, "nginx");
    s->state = SERVER_RELOADED;
    s->reloaded_at = 1700000100;
    s->reload_ms = 17;
    s->reloaded = true;
    s->not_running = true;
    err_set(&s->error, ERR_SYSTEM, "exit status 1");
    struct endpoint_row *e = server_row_add_endpoint(s);
    *e = (struct endpoint_row){.connect = xstrdup("localhost:443"),
                               .address = xstrdup("127.0.0.1:443"),
                               .sni = xstrdup("www.example"),
                               .baseline = BASELINE_OLD,
                               .answered = true,
                               .serves_live = true,
                               .sha256 = xstrdup("abcd"),
                               .not_after = 1710000000,
                               .handshake_ms = 5,
                               .version = "TLSv1.3",
                               .cipher = "TLS_AES_256_GCM_SHA384",
                               .checked_at = 1700000200};
    err_set(&e->error, ERR_TRANSIENT, "refused");
}

static void survives_its_document(void **state)
{
    struct deploy_record r, back;
    (void)state;
    fill(&r);
    auto_json json_t *j = deploy_record_to_json(&r);
    deploy_record_read(&back, j);
    auto_json json_t *again = deploy_record_to_json(&back);
    assert_true(json_equal(j, again));
    assert_int_equal(back.stage, DEPLOY_BACK_SWITCH);
    assert_int_equal(back.outcome, OUTCOME_ROLLED_BACK);
    assert_true(back.alone && back.stays);
    assert_int_equal(back.n_servers, 1);
    assert_int_equal(back.servers[0].state, SERVER_RELOADED);
    assert_true(back.servers[0].reloaded && back.servers[0].not_running);
    assert_int_equal(back.servers[0].endpoints[0].baseline, BASELINE_OLD);
    assert_string_equal(back.servers[0].endpoints[0].version, "TLSv1.3");
    assert_string_equal(back.servers[0].endpoints[0].error->text, "refused");
    assert_int_equal(back.outputs[0].generation, 3);
    assert_int_equal(back.candidate, 4);
    assert_int_equal(back.held_over, 6);
    deploy_record_done(&r);
    deploy_record_done(&back);
}

static void every_stage_has_a_name_that_is_read_back(void **state)
{
    (void)state;
    for (int stage = DEPLOY_IDLE; stage <= DEPLOY_BACK_PROVE; stage++) {
        struct deploy_record r = {.stage = (enum deploy_stage)stage}, back;
        auto_json json_t *j = deploy_record_to_json(&r);
        deploy_record_read(&back, j);
        assert_int_equal(back.stage, stage);
        assert_int_equal(deploy_stage_is_back(back.stage), stage >= DEPLOY_BACK_SWITCH);
        deploy_record_done(&back);
    }
}

static void nothing_is_an_empty_record(void **state)
{
    struct deploy_record r;
    (void)state;
    deploy_record_read(&r, NULL);
    assert_int_equal(r.stage, DEPLOY_IDLE);
    assert_int_equal(r.candidate, 0);
    assert_int_equal(r.n_servers, 0);
    deploy_record_done(&r);
}

static void nonsense_is_left_out(void **state)
{
    static const char text[] =
        "{\"stage\":\"dancing\",\"outcome\":5,\"failures\":99999999999,\"next_try\":true,"
        "\"outputs\":[1,{\"type\":\"files\"},{\"path\":\"/x\"},{\"type\":\"a\",\"path\":\"b\"}],"
        "\"servers\":[{},{\"name\":\"s\",\"state\":\"?\",\"endpoints\":[{\"sni\":\"x\"},7,"
        "{\"connect\":\"h:1\",\"version\":\"much too long to be one of TLS\"}]},"
        "{\"name\":\"s\",\"endpoints\":{}}]}";
    struct deploy_record r;
    (void)state;
    auto_json json_t *j = json_parse(text, strlen(text), NULL);
    assert_non_null(j);
    deploy_record_read(&r, j);
    assert_int_equal(r.stage, DEPLOY_IDLE);
    assert_int_equal(r.outcome, OUTCOME_NONE);
    assert_int_equal(r.failures, 0);
    assert_int_equal(r.next_try, 0);
    assert_int_equal(r.n_outputs, 1);
    assert_int_equal(r.n_servers, 1);
    assert_int_equal(r.servers[0].n_endpoints, 1);
    assert_string_equal(r.servers[0].endpoints[0].version, "");
    deploy_record_done(&r);
}

static void rows_of_what_is_not_configured_any_more_are_dropped(void **state)
{
    static const struct output_type files = {.name = "files"};
    char path[] = "/etc/tls/www", name[] = "haproxy";
    struct output output = {.type = &files, .path = path};
    struct config_server server = {.server.name = name};
    struct config_server *servers[] = {&server};
    const struct config_certificate c = {
        .outputs = &output, .n_outputs = 1, .servers = servers, .n_servers = 1};
    struct deploy_record r;
    (void)state;
    fill(&r);
    (void)deploy_record_server(&r, "haproxy");
    (void)deploy_record_output(&r, "combined", "/etc/tls/www");
    deploy_record_fit(&r, &c);
    assert_int_equal(r.n_servers, 1);
    assert_string_equal(r.servers[0].name, "haproxy");
    assert_int_equal(r.n_outputs, 1);
    assert_string_equal(r.outputs[0].type, "files");
    assert_int_equal(r.outputs[0].generation, 3);
    deploy_record_done(&r);
}

static void the_status_document_has_its_members_and_no_others(void **state)
{
    static const char *const endpoint[] = {"connect", "address",        "sni",        "serves_live",
                                           "sha256",  "staple_matches", "checked_at", "error"};
    struct deploy_record r;
    (void)state;
    fill(&r);
    auto_json json_t *s = server_row_status(&r.servers[0]);
    auto_json json_t *o = output_row_status(&r.outputs[0]);
    const json_t *e = json_array_get(json_get(s, "endpoints"), 0);
    assert_string_equal(json_str(s, "state"), "reloaded");
    assert_int_equal(json_object_size(s), 5);
    assert_int_equal(json_object_size(e), ARRAY_LEN(endpoint));
    for (size_t i = 0; i < ARRAY_LEN(endpoint); i++)
        assert_non_null(json_object_get(e, endpoint[i]));
    assert_int_equal(json_object_size(o), 4);
    assert_int_equal(json_int(o, "generation"), 3);
    deploy_record_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_its_document),
        cmocka_unit_test(every_stage_has_a_name_that_is_read_back),
        cmocka_unit_test(nothing_is_an_empty_record),
        cmocka_unit_test(nonsense_is_left_out),
        cmocka_unit_test(rows_of_what_is_not_configured_any_more_are_dropped),
        cmocka_unit_test(the_status_document_has_its_members_and_no_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
