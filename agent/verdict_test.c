#include "agent/verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* One certificate, one server "nginx" with one configured endpoint, any number of rows. */
struct fixture {
    char name[8], connect[32];
    struct config_endpoint endpoint;
    struct config_server server;
    struct config_server *servers[1];
    struct config_certificate certificate;
    struct deploy_record record;
    struct err *guilty, *alarm;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    strcpy(f->name, "nginx");
    strcpy(f->connect, "localhost:443");
    f->endpoint = (struct config_endpoint){.connect = f->connect, .matches = 1};
    f->server = (struct config_server){.server.name = f->name, .prove = &f->endpoint, .n_prove = 1};
    f->servers[0] = &f->server;
    f->certificate = (struct config_certificate){.servers = f->servers, .n_servers = 1};
    (void)deploy_record_server(&f->record, "nginx");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    deploy_record_done(&f->record);
    err_free(f->guilty);
    err_free(f->alarm);
    free(f);
    return 0;
}

static void row(struct fixture *f, const char *address, enum baseline baseline, bool answered,
                bool serves_live)
{
    struct endpoint_row *e = server_row_add_endpoint(&f->record.servers[0]);
    *e = (struct endpoint_row){.connect = xstrdup(f->connect),
                               .address = xstrdup(address),
                               .sni = xstrdup("www.example"),
                               .baseline = baseline,
                               .answered = answered,
                               .serves_live = serves_live};
}

static enum deploy_outcome judge(struct fixture *f)
{
    f->record.outcome = verdict_proof(&f->record, &f->certificate, &f->guilty, &f->alarm);
    return f->record.outcome;
}

static void is_proven_when_every_endpoint_shows_the_new_leaf(void **state)
{
    struct fixture *f = *state;
    row(f, "127.0.0.1:443", BASELINE_OLD, true, true);
    row(f, "[::1]:443", BASELINE_OTHER, true, true);
    assert_int_equal(judge(f), OUTCOME_PROVEN);
    assert_null(f->guilty);
    assert_null(f->alarm);
    assert_int_equal(f->record.servers[0].state, SERVER_PROVEN);
    auto_free char *text = verdict_text(&f->record);
    assert_string_equal(text, "proven at 2 endpoints");
}

static void without_endpoints_it_is_deployed_and_not_proven(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(judge(f), OUTCOME_DEPLOYED);
    assert_null(f->guilty);
    assert_null(f->alarm);
    auto_free char *text = verdict_text(&f->record);
    assert_string_equal(text, "deployed, not proven: no endpoint");
}

static void an_endpoint_that_served_the_old_leaf_and_still_does_is_guilty(void **state)
{
    struct fixture *f = *state;
    row(f, "127.0.0.1:443", BASELINE_OLD, true, false);
    assert_int_equal(judge(f), OUTCOME_DEPLOYED);
    assert_non_null(f->guilty);
    assert_string_equal(f->guilty->step, "prove");
    assert_non_null(strstr(f->guilty->text, "127.0.0.1:443"));
    assert_int_equal(f->record.servers[0].state, SERVER_UNPROVEN);
    assert_true(verdict_serves_other(&f->record, &f->certificate));
}

static void an_endpoint_that_answered_and_fails_now_is_guilty(void **state)
{
    struct fixture *f = *state;
    row(f, "127.0.0.1:443", BASELINE_OLD, false, false);
    judge(f);
    assert_non_null(f->guilty);
    assert_non_null(strstr(f->guilty->text, "fails now"));
    assert_false(verdict_serves_other(&f->record, &f->certificate));
}

static void one_that_was_silent_or_served_something_else_is_only_an_alarm(void **state)
{
    static const enum baseline baselines[] = {BASELINE_SILENT, BASELINE_OTHER, BASELINE_UNKNOWN};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(baselines); i++) {
        server_row_clear_endpoints(&f->record.servers[0]);
        row(f, "127.0.0.1:443", baselines[i], true, false);
        assert_int_equal(judge(f), OUTCOME_DEPLOYED);
        assert_null(f->guilty);
        assert_non_null(f->alarm);
        assert_string_equal(f->alarm->problem, "unproven");
        err_free(f->alarm);
        f->alarm = NULL;
    }
}

static void a_guessed_endpoint_that_stays_silent_is_no_alarm(void **state)
{
    struct fixture *f = *state;
    f->server.prove_default = true;
    row(f, "127.0.0.1:443", BASELINE_SILENT, false, false);
    assert_int_equal(judge(f), OUTCOME_DEPLOYED);
    assert_null(f->guilty);
    assert_null(f->alarm);
}

static void a_server_that_does_not_run_is_no_alarm(void **state)
{
    struct fixture *f = *state;
    f->record.servers[0].not_running = true;
    row(f, "127.0.0.1:443", BASELINE_SILENT, false, false);
    judge(f);
    assert_null(f->alarm);
}

static void an_address_that_never_answered_does_not_count_beside_one_that_does(void **state)
{
    struct fixture *f = *state;
    row(f, "127.0.0.1:443", BASELINE_OLD, true, true);
    row(f, "[::1]:443", BASELINE_SILENT, false, false);
    assert_int_equal(judge(f), OUTCOME_PROVEN);
    assert_null(f->alarm);
    auto_free char *text = verdict_text(&f->record);
    assert_string_equal(text, "proven at 1 endpoint");
}

static void all_addresses_that_answered_at_the_baseline_must_show_it(void **state)
{
    struct fixture *f = *state;
    row(f, "127.0.0.1:443", BASELINE_OLD, true, true);
    row(f, "[::1]:443", BASELINE_OLD, true, false);
    judge(f);
    assert_non_null(f->guilty);
}

static void any_address_is_enough_where_it_says_so(void **state)
{
    struct fixture *f = *state;
    f->endpoint.addresses_any = true;
    row(f, "127.0.0.1:443", BASELINE_OLD, true, true);
    row(f, "[::1]:443", BASELINE_OLD, true, false);
    assert_int_equal(judge(f), OUTCOME_PROVEN);
    assert_null(f->guilty);
}

static void an_endpoint_that_is_not_configured_any_more_proves_and_spoils_nothing(void **state)
{
    struct fixture *f = *state;
    row(f, "127.0.0.1:443", BASELINE_OLD, true, false);
    f->server.prove_off = true;
    judge(f);
    assert_null(f->guilty);
}

static void missing_texts_of_a_damaged_record_do_no_harm(void **state)
{
    struct fixture *f = *state;
    row(f, NULL, BASELINE_OLD, false, false);
    free(f->record.servers[0].endpoints[0].sni);
    f->record.servers[0].endpoints[0].sni = NULL;
    judge(f);
    assert_non_null(f->guilty);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(is_proven_when_every_endpoint_shows_the_new_leaf),
        test(without_endpoints_it_is_deployed_and_not_proven),
        test(an_endpoint_that_served_the_old_leaf_and_still_does_is_guilty),
        test(an_endpoint_that_answered_and_fails_now_is_guilty),
        test(one_that_was_silent_or_served_something_else_is_only_an_alarm),
        test(a_guessed_endpoint_that_stays_silent_is_no_alarm),
        test(a_server_that_does_not_run_is_no_alarm),
        test(an_address_that_never_answered_does_not_count_beside_one_that_does),
        test(all_addresses_that_answered_at_the_baseline_must_show_it),
        test(any_address_is_enough_where_it_says_so),
        test(an_endpoint_that_is_not_configured_any_more_proves_and_spoils_nothing),
        test(missing_texts_of_a_damaged_record_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
