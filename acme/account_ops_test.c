#include "acme/account_ops.h"

#include "acme/session_private.h"
#include "acme/test_http.h"
#include "base/clock.h"
#include "pki/test_ca.h"

#define BASE "https://ca.example"

static struct loop *loop;
static struct worker *worker;
static struct session *session;

/* What the CA does, and what was seen. */
static struct {
    char status[16];
    json_t *contact;
    int lose, fail; /* so many replies are lost after the deed, or are a 500 without it */
    bool empty;     /* replies have no body */
    bool stubborn;  /* the account stays what it is */
    unsigned asked;
    char *payload;
} ca;

static struct {
    unsigned calls;
    json_t *json;
    struct err *err;
} got;

static void account(const struct test_query *q, struct test_answer *a)
{
    ca.asked++;
    set_string(&ca.payload, xstrdup(q->payload));
    if (ca.fail > 0) {
        ca.fail--;
        answer_problem(a, 500, "serverInternal", "oh");
        return;
    }
    if (strcmp(ca.status, "valid") != 0) {
        answer_problem(a, 401, "unauthorized", "the account is deactivated");
        return;
    }
    if (json_get(q->json, "contact")) {
        json_decref(ca.contact);
        ca.contact = json_incref(json_get(q->json, "contact"));
    }
    if (json_str(q->json, "status") && !ca.stubborn)
        strcpy(ca.status, json_str(q->json, "status"));
    json_t *j = json_pack("{s:s,s:s}", "status", ca.status, "orders", BASE "/orders");
    json_put(j, "contact", json_incref(ca.contact));
    answer_json(a, 200, j);
    if (ca.empty)
        answer_text(a, 200, NULL, "");
    if (ca.empty)
        strv_done(&a->headers);
    if (ca.lose > 0) {
        ca.lose--;
        a->lost = true;
    }
}

static void on_query(const struct test_query *q, struct test_answer *a, void *userdata)
{
    (void)userdata;
    if (strcmp(q->url, BASE "/dir") == 0) {
        answer_json(a, 200,
                    json_pack("{s:s,s:s,s:s}", "newNonce", BASE "/nonce", "newAccount",
                              BASE "/acct", "newOrder", BASE "/order"));
    } else if (strcmp(q->url, BASE "/nonce") == 0) {
        a->status = 200;
        answer_header(a, "replay-nonce", "abc");
    } else {
        assert_string_equal(q->url, BASE "/acct/1");
        assert_string_equal(json_str(q->header, "kid"), BASE "/acct/1");
        account(q, a);
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
    strcpy(ca.status, "valid");
    ca.contact = json_pack("[s]", "mailto:old@example.org");
    session = session_new(
        &(struct session_settings){.loop = loop, .worker = worker, .directory_url = BASE "/dir"});
    auto_key struct key *key = test_key();
    session_set_account(session, key, BASE "/acct/1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    session_free(session);
    assert_int_equal(test_http.under_way, 0);
    worker_free(worker);
    json_decref(ca.contact);
    free(ca.payload);
    json_decref(got.json);
    err_free(got.err);
    loop_free(loop);
    return 0;
}

static void on_op(const json_t *json, const struct err *e, void *userdata)
{
    assert_ptr_equal(userdata, &got);
    got.calls++;
    got.json = json ? json_deep_copy(json) : NULL;
    got.err = err_copy(e);
    loop_exit(loop, 0);
}

static void run(struct account_op *o)
{
    assert_non_null(o);
    loop_run(loop);
}

static void is_good(void)
{
    if (got.err)
        fail_msg("%s", got.err->text);
}

static void shows_the_account_by_post_as_get(void **state)
{
    (void)state;
    run(account_show(session, on_op, &got));
    is_good();
    assert_string_equal(ca.payload, "");
    assert_string_equal(json_str(got.json, "status"), "valid");
    assert_int_equal(json_array_size(json_get(got.json, "contact")), 1);
}

static void changes_the_contact(void **state)
{
    auto_strv struct strv contact = {0};

    (void)state;
    strv_add(&contact, "mailto:a@example.org");
    strv_add(&contact, "mailto:b@example.org");
    ca.lose = 1;
    run(account_update(session, &contact, on_op, &got));
    is_good();
    assert_string_equal(ca.payload,
                        "{\"contact\":[\"mailto:a@example.org\",\"mailto:b@example.org\"]}");
    assert_int_equal(json_array_size(json_get(got.json, "contact")), 2);
    assert_int_equal(ca.asked, 2);
}

static void removes_the_contact(void **state)
{
    struct strv none = {0};

    (void)state;
    run(account_update(session, &none, on_op, &got));
    is_good();
    assert_string_equal(ca.payload, "{\"contact\":[]}");
}

static void takes_a_reply_without_an_account_in_it(void **state)
{
    struct strv none = {0};

    (void)state;
    ca.empty = true;
    run(account_update(session, &none, on_op, &got));
    is_good();
    assert_null(got.json);
}

static void deactivates_the_account(void **state)
{
    (void)state;
    run(account_deactivate(session, on_op, &got));
    is_good();
    assert_string_equal(ca.payload, "{\"status\":\"deactivated\"}");
    assert_string_equal(ca.status, "deactivated");
    assert_string_equal(json_str(got.json, "status"), "deactivated");
}

static void a_lost_reply_to_a_deactivation_is_no_failure(void **state)
{
    (void)state;
    ca.lose = 1;
    run(account_deactivate(session, on_op, &got));
    is_good();
    assert_string_equal(ca.status, "deactivated");
    assert_int_equal(ca.asked, 2);
}

static void an_account_that_was_no_longer_ours_is_a_failure(void **state)
{
    (void)state;
    strcpy(ca.status, "revoked");
    run(account_deactivate(session, on_op, &got));
    assert_int_equal(got.err->kind, ERR_REFUSED);
    assert_string_equal(got.err->problem, "unauthorized");
}

static void a_ca_that_keeps_the_account_is_not_believed(void **state)
{
    (void)state;
    ca.stubborn = true;
    run(account_deactivate(session, on_op, &got));
    assert_int_equal(got.err->kind, ERR_REFUSED);
    assert_non_null(strstr(got.err->text, "\"valid\" still"));
    assert_null(got.json);
}

static void an_account_must_exist(void **state)
{
    (void)state;
    session_set_account(session, session_key(session), NULL);
    run(account_show(session, on_op, &got));
    assert_int_equal(got.err->kind, ERR_CONFIG);
    err_free(take(got.err));
    run(account_deactivate(session, on_op, &got));
    assert_int_equal(got.err->kind, ERR_CONFIG);
    assert_int_equal(test_http.calls, 0);
}

static void repeats_after_a_failure_of_the_ca(void **state)
{
    (void)state;
    ca.fail = 2;
    run(account_show(session, on_op, &got));
    is_good();
    assert_int_equal(ca.asked, 3);
}

static void nobody_hears_of_an_operation_that_was_dropped(void **state)
{
    (void)state;
    account_op_free(account_show(session, on_op, &got));
    account_op_free(NULL);
    run(account_show(session, on_op, &got));
    assert_int_equal(got.calls, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(shows_the_account_by_post_as_get),
        TEST(changes_the_contact),
        TEST(removes_the_contact),
        TEST(takes_a_reply_without_an_account_in_it),
        TEST(deactivates_the_account),
        TEST(a_lost_reply_to_a_deactivation_is_no_failure),
        TEST(an_account_that_was_no_longer_ours_is_a_failure),
        TEST(a_ca_that_keeps_the_account_is_not_believed),
        TEST(an_account_must_exist),
        TEST(repeats_after_a_failure_of_the_ca),
        TEST(nobody_hears_of_an_operation_that_was_dropped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
