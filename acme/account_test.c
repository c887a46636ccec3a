#include "acme/account.h"

#include <stdio.h>

#include "acme/session_private.h"
#include "acme/test_ca.h"

static struct loop *loop;
static struct worker *worker;
static struct session *session;
static struct account_settings settings;

static struct {
    unsigned calls, expected;
    json_t *json;
    struct err *err;
} got;

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    worker = worker_new(loop, 1, NULL);
    ca_start(loop);
    ca.account_known = false;
    memset(&got, 0, sizeof(got));
    memset(&settings, 0, sizeof(settings));
    session = session_new(&(struct session_settings){
        .loop = loop, .worker = worker, .directory_url = CA_BASE "/directory"});
    auto_key struct key *key = test_key();
    session_set_account(session, key, NULL);
    settings.terms_agreed = true;
    strv_add(&settings.contact, "mailto:ops@example.org");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(got.json);
    err_free(got.err);
    strv_done(&settings.contact);
    session_free(session);
    worker_free(worker);
    ca_stop();
    loop_free(loop);
    return 0;
}

static void on_account(const json_t *json, const struct err *e, void *userdata)
{
    (void)userdata;
    json_decref(got.json);
    err_free(got.err);
    got.json = json ? json_deep_copy(json) : NULL;
    got.err = err_copy(e);
    if (++got.calls == got.expected)
        loop_exit(loop, 0);
}

static void ensure(void)
{
    got.expected = got.calls + 1;
    account_ensure(session, &settings, on_account, NULL);
    loop_run(loop);
}

static void is_ok(void)
{
    if (got.err)
        fail_msg("%s", got.err->text);
    assert_string_equal(session_account_url(session), CA_BASE "/account/1");
}

static void fails(enum err_kind kind, const char *part)
{
    if (!got.err || got.err->kind != kind || !strstr(got.err->text, part))
        fail_msg("%s", got.err ? got.err->text : "no error");
    assert_null(session_account_url(session));
}

static void registers_and_says_what_to_keep(void **state)
{
    (void)state;
    ca.meta = "{\"termsOfService\":\"https://ca.example/terms\"}";
    ensure();
    is_ok();
    assert_int_equal(ca.lookups, 0);
    assert_true(json_bool(ca.last_account, "termsOfServiceAgreed"));
    assert_string_equal(json_string_value(json_array_get(json_get(ca.last_account, "contact"), 0)),
                        "mailto:ops@example.org");
    assert_string_equal(json_str(got.json, "url"), CA_BASE "/account/1");
    assert_string_equal(json_str(got.json, "status"), "valid");
    assert_string_equal(json_str(got.json, "terms"), "https://ca.example/terms");
    assert_true(json_time(got.json, "created") > 0);
    assert_int_equal(json_array_size(json_get(got.json, "contact")), 1);
}

static void a_known_account_is_not_asked_for(void **state)
{
    (void)state;
    session_set_account(session, session_key(session), CA_BASE "/account/1");
    unsigned before = test_http.calls;
    ensure();
    is_ok();
    assert_null(got.json);
    assert_int_equal(test_http.calls, before);
}

static void concurrent_callers_share_one_registration(void **state)
{
    (void)state;
    got.expected = 5;
    for (int i = 0; i < 5; i++)
        account_ensure(session, &settings, on_account, NULL);
    loop_run(loop);
    is_ok();
    assert_int_equal(ca.accounts, 1);
}

static void a_registration_goes_on_without_those_who_wait(void **state)
{
    (void)state;
    account_job_free(account_ensure(session, &settings, on_account, NULL));
    ensure();
    is_ok();
    assert_int_equal(ca.accounts, 1);
    assert_int_equal(got.calls, 1);
}

static void terms_must_be_agreed_to(void **state)
{
    (void)state;
    ca.meta = "{\"termsOfService\":\"https://ca.example/terms\"}";
    settings.terms_agreed = false;
    ensure();
    fails(ERR_CONFIG, "terms");
    assert_non_null(strstr(got.err->hint, "https://ca.example/terms"));
    assert_int_equal(ca.accounts, 0);
}

static void a_needed_binding_must_be_configured(void **state)
{
    (void)state;
    ca.meta = "{\"externalAccountRequired\":true}";
    ensure();
    fails(ERR_CONFIG, "external account");
    assert_int_equal(ca.accounts, 0);
}

static void the_binding_is_sent_with_the_same_key(void **state)
{
    (void)state;
    auto_secret struct secret *hmac = secret_new("0123456789", 10);
    ca.meta = "{\"externalAccountRequired\":true}";
    settings.eab_kid = "kid-1";
    settings.eab_hmac = hmac;
    ensure();
    is_ok();
    const json_t *binding = json_get(ca.last_account, "externalAccountBinding");
    auto_free char *payload = test_decode(binding, "payload");
    auto_free char *header = test_decode(binding, "protected");
    auto_json json_t *jwk = key_jwk(session_key(session));
    auto_free char *expected = json_compact(jwk);
    assert_string_equal(payload, expected);
    assert_non_null(strstr(header, "\"kid-1\""));
    assert_non_null(strstr(header, CA_BASE "/new-account"));
}

static void a_key_that_may_be_registered_is_looked_up_first(void **state)
{
    (void)state;
    settings.maybe_registered = true;
    ca.account_known = true;
    ensure();
    is_ok();
    assert_int_equal(ca.lookups, 1);
    assert_int_equal(ca.accounts, 0);
    assert_non_null(got.json);
}

static void and_registered_when_it_is_not(void **state)
{
    (void)state;
    settings.maybe_registered = true;
    ensure();
    is_ok();
    assert_int_equal(ca.lookups, 1);
    assert_int_equal(ca.accounts, 1);
}

static void a_lost_reply_makes_the_next_try_look_it_up(void **state)
{
    (void)state;
    ca.lose_once = "new-account";
    ensure();
    fails(ERR_TRANSIENT, "connection reset");
    ensure();
    is_ok();
    assert_int_equal(ca.accounts, 1);
    assert_int_equal(ca.lookups, 1);
}

static bool without_location(const char *operation, const struct test_query *q,
                             struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "new-account") != 0)
        return false;
    answer_json(a, 201, json_pack("{s:s}", "status", "valid"));
    return true;
}

static bool deactivated(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "new-account") != 0)
        return false;
    answer_json(a, 200, json_pack("{s:s}", "status", "deactivated"));
    answer_header(a, "location", CA_BASE "/account/1");
    return true;
}

static bool plain_http(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "new-account") != 0)
        return false;
    answer_json(a, 200, json_pack("{}"));
    answer_header(a, "location", "http://ca.example/account/1");
    return true;
}

static bool empty_body(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "new-account") != 0)
        return false;
    a->status = 200;
    answer_header(a, "location", "account/1");
    return true;
}

static void replies_that_give_no_account_are_refused(void **state)
{
    (void)state;
    ca.override = without_location;
    ensure();
    fails(ERR_REFUSED, "Location");
    ca.override = deactivated;
    ensure();
    fails(ERR_REFUSED, "deactivated");
    ca.override = plain_http;
    ensure();
    fails(ERR_REFUSED, "not https");
    ca.override = empty_body;
    ensure();
    is_ok();
}

static bool html_directory(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "directory") != 0)
        return false;
    answer_text(a, 200, "text/html", "<html>");
    return true;
}

static bool plain_directory(const char *operation, const struct test_query *q,
                            struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "directory") != 0)
        return false;
    answer_json(a, 200,
                json_pack("{s:s,s:s,s:s}", "newNonce", "http://ca.example/n", "newAccount",
                          CA_BASE "/new-account", "newOrder", CA_BASE "/new-order"));
    return true;
}

static bool odd_directory(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "directory") != 0)
        return false;
    answer_json(a, 200, json_pack("{s:i,s:b}", "newNonce", 7, "meta", 1));
    return true;
}

static void directories_that_are_none_are_named(void **state)
{
    (void)state;
    ca.override = html_directory;
    ensure();
    fails(ERR_REFUSED, "text/html instead of JSON");
    assert_non_null(got.err->hint);
    ca.override = plain_directory;
    ensure();
    fails(ERR_REFUSED, "newNonce");
    ca.override = odd_directory;
    ensure();
    fails(ERR_REFUSED, "newNonce");
    assert_int_equal(ca.accounts, 0);
}

static void the_directory_is_fetched_once_and_again_when_it_is_old(void **state)
{
    (void)state;
    ca.meta =
        "{\"profiles\":{\"a\":\"x\"},\"termsOfService\":7,\"externalAccountRequired\":\"no\"}";
    assert_null(session_directory(session));
    ensure();
    is_ok();
    const struct directory *d = session_directory(session);
    assert_int_equal(d->profiles.n, 1);
    assert_null(d->terms);
    assert_false(d->eab_required);
    assert_null(d->renewal_info);

    unsigned before = test_http.calls;
    session_set_account(session, session_key(session), NULL);
    ensure();
    assert_int_equal(test_http.calls, before + 1);
    clock_shift_for_test(3601);
    session_set_account(session, session_key(session), NULL);
    ensure();
    clock_shift_for_test(-3601);
    assert_int_equal(test_http.calls, before + 1 + 2);
}

static void jobs_may_outlive_the_session(void **state)
{
    (void)state;
    struct account_job *j = account_ensure(session, &settings, on_account, NULL);
    struct account_job *known;

    session_free(session);
    account_job_free(j);
    session = session_new(&(struct session_settings){
        .loop = loop, .worker = worker, .directory_url = CA_BASE "/directory"});
    auto_key struct key *key = test_key();
    session_set_account(session, key, CA_BASE "/account/1");
    known = account_ensure(session, &settings, on_account, NULL);
    session_free(session);
    session = NULL;
    account_job_free(known);
    assert_int_equal(got.calls, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(registers_and_says_what_to_keep),
        T(a_known_account_is_not_asked_for),
        T(concurrent_callers_share_one_registration),
        T(a_registration_goes_on_without_those_who_wait),
        T(terms_must_be_agreed_to),
        T(a_needed_binding_must_be_configured),
        T(the_binding_is_sent_with_the_same_key),
        T(a_key_that_may_be_registered_is_looked_up_first),
        T(and_registered_when_it_is_not),
        T(a_lost_reply_makes_the_next_try_look_it_up),
        T(replies_that_give_no_account_are_refused),
        T(directories_that_are_none_are_named),
        T(the_directory_is_fetched_once_and_again_when_it_is_old),
        T(jobs_may_outlive_the_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
