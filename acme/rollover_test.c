#include "acme/rollover.h"

#include "acme/session_private.h"
#include "acme/test_http.h"
#include "base/clock.h"
#include "pki/test_ca.h"

#define BASE    "https://ca.example"
#define ACCOUNT BASE "/acct/1"

static struct loop *loop;
static struct worker *worker;
static struct session *session;
static struct key *old_key, *new_key; /* the new one is RSA: its signatures can be told */

/* What the CA does, and what was seen. */
static struct {
    bool no_change;
    json_t *jwk; /* of the account, as it knows it */
    bool lose;   /* the reply to keyChange */
    bool drop;   /* keyChange itself, unseen */
    const char *problem;
    int question_status; /* of each question, instead of an answer */
    const char *question_problem;
    const char *location;
    unsigned changes, questions;
    bool asked_new, asked_old;
} ca;

static struct {
    unsigned calls;
    enum rollover_result result;
    struct err *err;
} got;

static void check_signature(const json_t *jws)
{
    auto_free char *input =
        xasprintf("%s.%s", json_str(jws, "protected"), json_str(jws, "payload"));
    auto_free unsigned char *sig = NULL;
    size_t len;

    assert_true(key_sign_raw(new_key, input, strlen(input), &sig, &len, NULL));
    auto_free char *wanted = enc_base64url(sig, len); /* PKCS#1 v1.5 has no random part */
    assert_string_equal(json_str(jws, "signature"), wanted);
}

static json_t *part(const json_t *jws, const char *name)
{
    auto_free unsigned char *text = NULL;
    size_t len;

    assert_true(dec_base64url(json_str(jws, name), &text, &len));
    return json_parse((const char *)text, len, NULL);
}

/* RFC 8555 7.3.5 */
static void change(const struct test_query *q, struct test_answer *a)
{
    auto_json json_t *header = part(q->json, "protected");
    auto_json json_t *payload = part(q->json, "payload");
    auto_json json_t *new_jwk = key_jwk(new_key);

    ca.changes++;
    assert_string_equal(json_str(q->header, "kid"), ACCOUNT);
    assert_int_equal(json_object_size(header), 3);
    assert_string_equal(json_str(header, "alg"), "RS256");
    assert_string_equal(json_str(header, "url"), BASE "/key-change");
    assert_true(json_equal(json_get(header, "jwk"), new_jwk));
    assert_int_equal(json_object_size(payload), 2);
    assert_string_equal(json_str(payload, "account"), ACCOUNT);
    assert_true(json_equal(json_get(payload, "oldKey"), ca.jwk));
    check_signature(q->json);
    if (ca.problem) {
        answer_problem(a, 409, ca.problem, "no");
        return;
    }
    json_decref(ca.jwk);
    ca.jwk = json_incref(new_jwk);
    a->status = 200;
}

static void question(const struct test_query *q, struct test_answer *a)
{
    const json_t *jwk = json_get(q->header, "jwk");
    bool is_new = strcmp(json_str(jwk, "kty"), "RSA") == 0;

    ca.questions++;
    ca.asked_new |= is_new;
    ca.asked_old |= !is_new;
    assert_string_equal(q->payload, "{\"onlyReturnExisting\":true}");
    if (ca.question_problem)
        answer_problem(a, ca.question_status, ca.question_problem, "no");
    else if (!json_equal(jwk, ca.jwk))
        answer_problem(a, 400, "accountDoesNotExist", "who?");
    else
        answer_json(a, 200, json_pack("{s:s}", "status", "valid"));
    if (a->status == 200)
        answer_header(a, "location", ca.location ? ca.location : ACCOUNT);
}

static void on_query(const struct test_query *q, struct test_answer *a, void *userdata)
{
    (void)userdata;
    if (strcmp(q->url, BASE "/dir") == 0) {
        json_t *j = json_pack("{s:s,s:s,s:s}", "newNonce", BASE "/nonce", "newAccount",
                              BASE "/new-acct", "newOrder", BASE "/order");
        if (!ca.no_change)
            json_put_str(j, "keyChange", BASE "/key-change");
        answer_json(a, 200, j);
    } else if (strcmp(q->url, BASE "/nonce") == 0) {
        a->status = 200;
        answer_header(a, "replay-nonce", "abc");
    } else if (strcmp(q->url, BASE "/new-acct") == 0) {
        question(q, a);
    } else if (ca.drop) {
        ca.changes++;
        a->lost = true;
    } else {
        assert_string_equal(q->url, BASE "/key-change");
        change(q, a);
        a->lost = ca.lose;
    }
}

static int make_key(void **state)
{
    (void)state;
    new_key = key_from_pkey(EVP_RSA_gen(2048), NULL);
    return new_key ? 0 : -1;
}

static int drop_key(void **state)
{
    (void)state;
    key_unref(new_key);
    return 0;
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
    old_key = test_key();
    ca.jwk = key_jwk(old_key);
    session = session_new(
        &(struct session_settings){.loop = loop, .worker = worker, .directory_url = BASE "/dir"});
    session_set_account(session, old_key, ACCOUNT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    session_free(session);
    assert_int_equal(test_http.under_way, 0);
    worker_free(worker);
    json_decref(ca.jwk);
    err_free(got.err);
    key_unref(old_key);
    loop_free(loop);
    return 0;
}

static void on_rollover(enum rollover_result result, const struct err *e, void *userdata)
{
    assert_ptr_equal(userdata, &got);
    got.calls++;
    got.result = result;
    err_free(got.err);
    got.err = err_copy(e);
    loop_exit(loop, 0);
}

static void roll(void)
{
    rollover_start(session, new_key, on_rollover, &got);
    loop_run(loop);
    assert_int_equal(got.calls, 1);
}

static void resolve(void)
{
    rollover_resolve(session, old_key, new_key, on_rollover, &got);
    loop_run(loop);
}

/* What the caller hears, and what the session signs with, are what the CA knows. */
static void is_result(enum rollover_result wanted)
{
    struct key *key = wanted == ROLLOVER_NEW ? new_key : old_key;

    if (got.result != wanted)
        fail_msg("result %d: %s", (int)got.result, got.err ? got.err->text : "no error");
    assert_ptr_equal(session_key(session), key);
    assert_string_equal(session_account_url(session), ACCOUNT);
    if (wanted != ROLLOVER_UNKNOWN) {
        auto_json json_t *jwk = key_jwk(key);
        assert_true(json_equal(jwk, ca.jwk));
    }
}

static void the_ca_takes_the_new_key(void **state)
{
    (void)state;
    roll();
    is_result(ROLLOVER_NEW);
    assert_null(got.err);
    assert_int_equal(ca.changes, 1);
    assert_int_equal(ca.questions, 0);
}

static void a_lost_reply_is_found_out_about(void **state)
{
    (void)state;
    ca.lose = true;
    roll();
    is_result(ROLLOVER_NEW);
    assert_null(got.err);
    assert_int_equal(ca.changes, 1);
    assert_int_equal(ca.questions, 1);
}

static void a_request_that_never_arrived_leaves_the_old_key(void **state)
{
    (void)state;
    ca.drop = true;
    roll();
    is_result(ROLLOVER_OLD);
    assert_int_equal(got.err->kind, ERR_TRANSIENT);
    assert_int_equal(ca.changes, 1);
    assert_true(ca.asked_new && ca.asked_old);
}

static void a_refusal_leaves_the_old_key_and_is_told(void **state)
{
    (void)state;
    ca.problem = "malformed";
    roll();
    is_result(ROLLOVER_OLD);
    assert_int_equal(got.err->kind, ERR_REFUSED);
    assert_string_equal(got.err->problem, "malformed");
}

static void a_doubt_that_stays_is_told_as_one(void **state)
{
    (void)state;
    ca.lose = true;
    ca.question_status = 403;
    ca.question_problem = "unauthorized";
    roll();
    is_result(ROLLOVER_UNKNOWN);
    assert_int_equal(got.err->kind, ERR_REFUSED);

    ca.question_problem = NULL; /* and is resolved later */
    resolve();
    is_result(ROLLOVER_NEW);
    assert_null(got.err);
}

static void resolves_after_a_crash(void **state)
{
    (void)state;
    resolve();
    is_result(ROLLOVER_OLD);
    assert_null(got.err);
    json_decref(ca.jwk);
    ca.jwk = key_jwk(new_key);
    resolve();
    is_result(ROLLOVER_NEW);
    assert_null(got.err);
    assert_int_equal(ca.changes, 0);
}

static void a_ca_that_knows_neither_key_is_told(void **state)
{
    auto_key struct key *other = test_key();

    (void)state;
    json_decref(ca.jwk);
    ca.jwk = key_jwk(other);
    resolve();
    is_result(ROLLOVER_UNKNOWN);
    assert_int_equal(got.err->kind, ERR_REFUSED);
    assert_non_null(strstr(got.err->text, "neither"));
}

static void a_binding_wanted_for_both_keys_says_nothing(void **state)
{
    (void)state;
    ca.question_status = 401;
    ca.question_problem = "externalAccountRequired";
    resolve();
    is_result(ROLLOVER_UNKNOWN);
    assert_string_equal(got.err->problem, "externalAccountRequired");
    assert_true(ca.asked_new && ca.asked_old);
}

static void a_key_of_another_account_is_not_taken(void **state)
{
    (void)state;
    json_decref(ca.jwk);
    ca.jwk = key_jwk(new_key);
    ca.location = BASE "/acct/2";
    resolve();
    is_result(ROLLOVER_UNKNOWN);
    assert_true(ca.asked_old);
}

static void an_old_key_of_another_account_is_not_taken(void **state)
{
    (void)state;
    ca.location = BASE "/acct/2";
    resolve();
    is_result(ROLLOVER_UNKNOWN);
    assert_non_null(strstr(got.err->text, "/acct/2"));
}

static void a_ca_without_key_change_is_not_asked(void **state)
{
    (void)state;
    ca.no_change = true;
    roll();
    is_result(ROLLOVER_OLD);
    assert_int_equal(got.err->kind, ERR_REFUSED);
    assert_int_equal(ca.changes + ca.questions, 0);
}

static void without_an_account_nothing_is_asked(void **state)
{
    (void)state;
    session_set_account(session, old_key, NULL);
    roll();
    assert_int_equal(got.result, ROLLOVER_OLD);
    assert_int_equal(got.err->kind, ERR_CONFIG);
    assert_int_equal(test_http.calls, 0);
}

static void nobody_hears_of_a_rollover_that_was_dropped(void **state)
{
    (void)state;
    rollover_free(rollover_start(session, new_key, on_rollover, &got));
    rollover_free(rollover_resolve(session, old_key, new_key, on_rollover, &got));
    rollover_free(NULL);
    roll();
    is_result(ROLLOVER_NEW);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_ca_takes_the_new_key),
        TEST(a_lost_reply_is_found_out_about),
        TEST(a_request_that_never_arrived_leaves_the_old_key),
        TEST(a_refusal_leaves_the_old_key_and_is_told),
        TEST(a_doubt_that_stays_is_told_as_one),
        TEST(resolves_after_a_crash),
        TEST(a_ca_that_knows_neither_key_is_told),
        TEST(a_binding_wanted_for_both_keys_says_nothing),
        TEST(a_key_of_another_account_is_not_taken),
        TEST(an_old_key_of_another_account_is_not_taken),
        TEST(a_ca_without_key_change_is_not_asked),
        TEST(without_an_account_nothing_is_asked),
        TEST(nobody_hears_of_a_rollover_that_was_dropped),
    };

    return cmocka_run_group_tests(tests, make_key, drop_key);
}
