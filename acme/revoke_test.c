#include "acme/revoke.h"

#include "acme/session_private.h"
#include "acme/test_http.h"
#include "base/clock.h"
#include "pki/test_ca.h"

#define BASE "https://ca.example"

static struct loop *loop;
static struct worker *worker;
static struct session *session;
static struct key *account_key, *cert_key;
static struct cert *cert;

/* What the CA does, and what was seen. */
static struct {
    bool no_revocation;
    int lose, fail; /* so many replies are lost after the deed, or are a 500 */
    const char *problem;
    unsigned asked;
    bool revoked;
    json_t *header, *payload;
} ca;

static struct {
    unsigned calls;
    struct err *err;
} got;

static void revocation(const struct test_query *q, struct test_answer *a)
{
    ca.asked++;
    json_decref(ca.header);
    json_decref(ca.payload);
    ca.header = json_incref(q->header);
    ca.payload = json_incref(q->json);
    if (ca.fail > 0) {
        ca.fail--;
        answer_problem(a, 500, "serverInternal", "oh");
        return;
    }
    if (ca.problem)
        answer_problem(a, 403, ca.problem, "no");
    else if (ca.revoked)
        answer_problem(a, 400, "alreadyRevoked", "it is");
    else
        a->status = 200;
    ca.revoked = !ca.problem;
    if (ca.lose > 0) {
        ca.lose--;
        a->lost = true;
    }
}

static void on_query(const struct test_query *q, struct test_answer *a, void *userdata)
{
    (void)userdata;
    if (strcmp(q->url, BASE "/dir") == 0) {
        json_t *j = json_pack("{s:s,s:s,s:s}", "newNonce", BASE "/nonce", "newAccount",
                              BASE "/acct", "newOrder", BASE "/order");
        if (!ca.no_revocation)
            json_put_str(j, "revokeCert", BASE "/revoke");
        answer_json(a, 200, j);
    } else if (strcmp(q->url, BASE "/nonce") == 0) {
        a->status = 200;
        answer_header(a, "replay-nonce", "abc");
    } else {
        assert_string_equal(q->url, BASE "/revoke");
        revocation(q, a);
    }
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    worker = worker_new(loop, 1, NULL);
    memset(&ca, 0, sizeof(ca));
    memset(&got, 0, sizeof(got));
    memset(&test_http, 0, sizeof(test_http));
    test_http.loop = loop;
    test_http.fn = on_query;
    account_key = test_key();
    cert_key = test_key();
    cert = test_cert(&(struct test_spec){.names = "DNS:www.example.org", .key = cert_key});
    session = session_new(
        &(struct session_settings){.loop = loop, .worker = worker, .directory_url = BASE "/dir"});
    session_set_account(session, account_key, BASE "/acct/1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    session_free(session);
    assert_int_equal(test_http.under_way, 0);
    worker_free(worker);
    json_decref(ca.header);
    json_decref(ca.payload);
    err_free(got.err);
    cert_free(cert);
    key_unref(account_key);
    key_unref(cert_key);
    loop_free(loop);
    return 0;
}

static void on_revoked(const struct err *e, void *userdata)
{
    assert_ptr_equal(userdata, &got);
    got.calls++;
    got.err = err_copy(e);
    loop_exit(loop, 0);
}

static void run(enum revoke_reason reason, struct key *key)
{
    err_free(take(got.err));
    revoke_start(session, cert, reason, key, on_revoked, &got);
    loop_run(loop);
}

static void is_revoked(void)
{
    if (got.err)
        fail_msg("%s", got.err->text);
    assert_true(ca.revoked);
}

static void the_account_revokes_what_it_issued(void **state)
{
    auto_free char *der = enc_base64url(cert->der, cert->der_len);

    (void)state;
    run(REVOKE_SUPERSEDED, NULL);
    is_revoked();
    assert_string_equal(json_str(ca.header, "kid"), BASE "/acct/1");
    assert_null(json_get(ca.header, "jwk"));
    assert_string_equal(json_str(ca.payload, "certificate"), der);
    assert_int_equal(json_int(ca.payload, "reason"), 4);
}

static void the_certificates_key_revokes_without_an_account(void **state)
{
    auto_json json_t *jwk = key_jwk(cert_key);

    (void)state;
    run(REVOKE_KEY_COMPROMISE, cert_key);
    is_revoked();
    assert_null(json_get(ca.header, "kid"));
    assert_true(json_equal(json_get(ca.header, "jwk"), jwk));
    assert_int_equal(json_int(ca.payload, "reason"), 1);
    assert_ptr_equal(session_key(session), account_key);
    assert_string_equal(session_account_url(session), BASE "/acct/1");
}

static void no_reason_is_not_reason_zero(void **state)
{
    (void)state;
    run(REVOKE_UNSPECIFIED, NULL);
    is_revoked();
    assert_null(json_get(ca.payload, "reason"));
}

static void what_is_revoked_already_is_a_success(void **state)
{
    (void)state;
    ca.revoked = true;
    run(REVOKE_UNSPECIFIED, NULL);
    is_revoked();
    assert_int_equal(ca.asked, 1);
}

static void a_lost_reply_costs_another_question(void **state)
{
    (void)state;
    ca.lose = 1;
    ca.fail = 1;
    run(REVOKE_UNSPECIFIED, NULL);
    is_revoked();
    assert_int_equal(ca.asked, 3);
    assert_int_equal(got.calls, 1);
}

static void a_refusal_is_told(void **state)
{
    (void)state;
    ca.problem = "badRevocationReason";
    run(REVOKE_AFFILIATION_CHANGED, NULL);
    assert_int_equal(got.err->kind, ERR_REFUSED);
    assert_string_equal(got.err->problem, "badRevocationReason");
    assert_int_equal(ca.asked, 1);
}

static void a_ca_without_revocation_says_so(void **state)
{
    (void)state;
    ca.no_revocation = true;
    run(REVOKE_UNSPECIFIED, NULL);
    assert_int_equal(got.err->kind, ERR_REFUSED);
    assert_non_null(strstr(got.err->text, "offers no revoke"));
}

static void without_an_account_nothing_is_signed_by_it(void **state)
{
    (void)state;
    session_set_account(session, NULL, NULL);
    session->settings.timeout_ms = 100;
    run(REVOKE_UNSPECIFIED, cert_key);
    is_revoked();
}

static void nobody_hears_of_a_revocation_that_was_dropped(void **state)
{
    (void)state;
    revoke_free(revoke_start(session, cert, REVOKE_UNSPECIFIED, cert_key, on_revoked, &got));
    revoke_free(revoke_start(session, cert, REVOKE_UNSPECIFIED, NULL, on_revoked, &got));
    revoke_free(NULL);
    run(REVOKE_UNSPECIFIED, NULL);
    assert_int_equal(got.calls, 1);
}

static void knows_reasons_by_name_and_number(void **state)
{
    static const struct {
        const char *text;
        enum revoke_reason reason;
    } good[] = {
        {"unspecified", REVOKE_UNSPECIFIED},
        {"keyCompromise", REVOKE_KEY_COMPROMISE},
        {"key-compromise", REVOKE_KEY_COMPROMISE},
        {"KEY_COMPROMISE", REVOKE_KEY_COMPROMISE},
        {"1", REVOKE_KEY_COMPROMISE},
        {"superseded", REVOKE_SUPERSEDED},
        {"4", REVOKE_SUPERSEDED},
        {"cessationOfOperation", REVOKE_CESSATION_OF_OPERATION},
        {"affiliationchanged", REVOKE_AFFILIATION_CHANGED},
        {"privilegeWithdrawn", REVOKE_PRIVILEGE_WITHDRAWN},
        {"9", REVOKE_PRIVILEGE_WITHDRAWN},
    };
    static const char *const bad[] = {"", "2", "6", "7", "8", "10", "01", "key", "keyCompromised"};
    enum revoke_reason reason;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(revoke_reason_parse(good[i].text, &reason));
        assert_int_equal(reason, good[i].reason);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(revoke_reason_parse(bad[i], &reason));
    for (size_t i = 0; revoke_reason_names[i]; i++) {
        assert_true(revoke_reason_parse(revoke_reason_names[i], &reason));
        assert_string_equal(revoke_reason_name(reason), revoke_reason_names[i]);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_account_revokes_what_it_issued),
        TEST(the_certificates_key_revokes_without_an_account),
        TEST(no_reason_is_not_reason_zero),
        TEST(what_is_revoked_already_is_a_success),
        TEST(a_lost_reply_costs_another_question),
        TEST(a_refusal_is_told),
        TEST(a_ca_without_revocation_says_so),
        TEST(without_an_account_nothing_is_signed_by_it),
        TEST(nobody_hears_of_a_revocation_that_was_dropped),
        cmocka_unit_test(knows_reasons_by_name_and_number),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
