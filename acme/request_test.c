#include "acme/request.h"

#include "acme/directory.h"
#include "acme/test_http.h"
#include "base/clock.h"
#include "pki/test_ca.h"

#define BASE "https://ca.example"

static struct loop *loop;
static struct worker *worker;
static struct session *session;

/* What the CA does, and what was seen. */
static struct {
    int reject;      /* so many nonces are refused */
    bool no_nonce;   /* the refusals bring no nonce of their own */
    unsigned nonces; /* made so far */
    unsigned heads, posts, directories;
    char last[32]; /* the newest nonce */
    bool strict;   /* only the newest nonce is good */
    void (*answer)(const struct test_query *q, struct test_answer *a);
    char operations[512];
} ca;

static struct {
    unsigned calls;
    int status;
    char *body, *location, *content_type;
    struct strv alternates;
    bool json;
    struct err *err;
} got;

static void add_nonce(struct test_answer *a)
{
    snprintf(ca.last, sizeof(ca.last), "nonce-%u", ++ca.nonces);
    answer_header(a, "replay-nonce", ca.last);
}

static void on_query(const struct test_query *q, struct test_answer *a, void *userdata)
{
    (void)userdata;
    if (strcmp(q->url, BASE "/dir") == 0) {
        ca.directories++;
        answer_json(a, 200,
                    json_pack("{s:s,s:s,s:s}", "newNonce", BASE "/nonce", "newAccount",
                              BASE "/acct", "newOrder", BASE "/order"));
    } else if (strcmp(q->url, BASE "/nonce") == 0) {
        assert_string_equal(q->method, "HEAD");
        ca.heads++;
        a->status = 200;
        add_nonce(a);
    } else {
        ca.posts++;
        const char *nonce = json_str(q->header, "nonce");
        if (ca.strict)
            assert_string_equal(nonce, ca.last);
        if (ca.reject > 0) {
            ca.reject--;
            answer_problem(a, 400, "badNonce", "stale");
            if (!ca.no_nonce)
                add_nonce(a);
            return;
        }
        ca.answer(q, a);
        add_nonce(a);
    }
}

static void on_exchange(const char *operation, int code, int64_t took_ms, void *userdata)
{
    size_t len = strlen(ca.operations);

    (void)userdata;
    assert_true(took_ms >= 0);
    snprintf(ca.operations + len, sizeof(ca.operations) - len, "%s %d,", operation, code);
}

static void say_ok(const struct test_query *q, struct test_answer *a)
{
    assert_string_equal(q->payload, "");
    assert_string_equal(json_str(q->header, "kid"), BASE "/acct/1");
    answer_json(a, 200, json_pack("{s:s}", "status", "fine"));
}

static int setup(void **state)
{
    (void)state;
    memset(&ca, 0, sizeof(ca));
    memset(&got, 0, sizeof(got));
    ca.answer = say_ok;
    loop = loop_new(NULL);
    worker = worker_new(loop, 1, NULL);
    test_http.loop = loop;
    test_http.fn = on_query;
    test_http.calls = 0;
    session = session_new(&(struct session_settings){
        .loop = loop,
        .worker = worker,
        .directory_url = BASE "/dir",
        .timeout_ms = 1000,
        .on_exchange = on_exchange,
    });
    auto_key struct key *key = test_key();
    session_set_account(session, key, BASE "/acct/1");
    return 0;
}

static void forget_got(void)
{
    free(got.body);
    free(got.location);
    free(got.content_type);
    strv_done(&got.alternates);
    err_free(got.err);
    memset(&got, 0, sizeof(got));
}

static int teardown(void **state)
{
    (void)state;
    session_free(session);
    worker_free(worker);
    loop_free(loop);
    forget_got();
    assert_int_equal(test_http.under_way, 0);
    return 0;
}

static void on_reply(const struct reply *r, const struct err *e, void *userdata)
{
    (void)userdata;
    assert_true(!r != !e);
    got.calls++;
    got.err = err_copy(e);
    if (r) {
        got.status = r->status;
        got.body = xstrndup(r->body, r->body_len);
        got.location = xstrdup(r->location);
        got.content_type = xstrdup(r->content_type);
        got.json = r->json != NULL;
        strv_copy(&got.alternates, &r->alternates);
    }
    loop_exit(loop, 0);
}

static void ask(const char *url)
{
    forget_got();
    request_start(session, &(struct request_spec){.operation = "order", .url = url, .payload = ""},
                  on_reply, NULL);
    assert_int_equal(got.calls, 0);
    loop_run(loop);
    assert_int_equal(got.calls, 1);
}

static void is_ok(void)
{
    if (got.err)
        fail_msg("%s", got.err->text);
    assert_int_equal(got.status, 200);
}

static void fails(enum err_kind kind, const char *part)
{
    assert_non_null(got.err);
    if (got.err->kind != kind || !strstr(got.err->text, part))
        fail_msg("%s: %s", err_kind_name(got.err->kind), got.err->text);
}

static void the_first_request_asks_for_a_nonce_and_the_next_has_one(void **state)
{
    (void)state;
    ca.strict = true;
    ask(BASE "/o/1");
    is_ok();
    assert_true(got.json);
    ask(BASE "/o/2");
    is_ok();
    assert_int_equal(ca.directories, 1);
    assert_int_equal(ca.heads, 1);
    assert_int_equal(ca.posts, 2);
    assert_string_equal(ca.operations, "directory 200,new-nonce 200,order 200,order 200,");
}

static void every_request_passes_the_gate(void **state)
{
    const struct gate_rule rules[] = {{"order", {1, 1}}};
    struct gate *gate = gate_new(loop, rules, 1, NULL);

    (void)state;
    session_free(session);
    session = session_new(&(struct session_settings){.loop = loop,
                                                     .worker = worker,
                                                     .directory_url = BASE "/dir",
                                                     .timeout_ms = 1000,
                                                     .gate = gate,
                                                     .on_exchange = on_exchange});
    auto_key struct key *key = test_key();
    session_set_account(session, key, BASE "/acct/1");
    ask(BASE "/o/1");
    is_ok();
    int64_t start = clock_boot_ms();
    ask(BASE "/o/2");
    is_ok();
    assert_true(clock_boot_ms() - start >= 900); /* since the first was sent */
    assert_string_equal(ca.operations, "directory 200,new-nonce 200,order 200,order 200,");

    /* One that waits can be given up. */
    forget_got();
    struct request *r = request_start(
        session, &(struct request_spec){.operation = "order", .url = BASE "/o/3", .payload = ""},
        on_reply, NULL);
    request_free(r);
    assert_int_equal(got.calls, 0);
    session_free(take(session));
    gate_free(gate);
}

static void a_bad_nonce_is_retried_with_the_one_of_the_error(void **state)
{
    (void)state;
    ask(BASE "/o/1");
    ca.reject = 4;
    ca.strict = true; /* the pool's is older than the error's */
    ask(BASE "/o/2");
    is_ok();
    assert_int_equal(ca.heads, 1);
    assert_int_equal(ca.posts, 1 + 5);
}

static void after_five_tries_a_fresh_nonce_is_asked_for(void **state)
{
    (void)state;
    ca.reject = 6;
    ask(BASE "/o/1");
    is_ok();
    assert_int_equal(ca.heads, 3);
}

static void a_ca_that_refuses_every_nonce_is_given_up(void **state)
{
    (void)state;
    ca.reject = 1000;
    ask(BASE "/o/1");
    fails(ERR_TRANSIENT, "badNonce");
    assert_int_equal(ca.posts, 10);
}

static void a_refusal_without_a_nonce_is_retried_with_a_fresh_one(void **state)
{
    (void)state;
    ca.reject = 2;
    ca.no_nonce = true;
    ask(BASE "/o/1");
    is_ok();
    assert_int_equal(ca.heads, 3);
}

static void say_problem(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    answer_problem(a, 403, "unauthorized", "no");
}

static void a_refusal_says_where_and_why(void **state)
{
    (void)state;
    ca.answer = say_problem;
    ask(BASE "/o/1");
    fails(ERR_REFUSED, "order at ca.example: no (unauthorized, HTTP 403)");
    assert_string_equal(got.err->problem, "unauthorized");
    /* Its nonce is kept. */
    ca.answer = say_ok;
    ask(BASE "/o/1");
    assert_int_equal(ca.heads, 1);
}

static void say_lost(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    a->lost = true;
}

static void network_trouble_is_transient_and_not_retried_here(void **state)
{
    (void)state;
    ca.answer = say_lost;
    ask(BASE "/o/1");
    fails(ERR_TRANSIENT, "order at ca.example: connection reset");
    assert_int_equal(ca.posts, 1);
    assert_non_null(strstr(ca.operations, "order 0,"));
}

static void say_html(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    answer_text(a, 200, "Text/HTML; charset=x", "<html>");
}

static void say_broken(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    answer_text(a, 200, "application/json", "{\"status\":");
}

static void say_list(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    answer_text(a, 200, "application/json", "[]");
}

static void only_json_objects_are_json(void **state)
{
    (void)state;
    ca.answer = say_html;
    ask(BASE "/o/1");
    is_ok();
    assert_false(got.json);
    assert_string_equal(got.content_type, "text/html");
    ca.answer = say_list;
    ask(BASE "/o/1");
    is_ok();
    assert_false(got.json);
    ca.answer = say_broken;
    ask(BASE "/o/1");
    fails(ERR_REFUSED, "not JSON");
}

static void say_links(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    answer_json(a, 201, json_pack("{}"));
    answer_header(a, "location", "../order/7");
    answer_header(a, "link", "<1>;rel=\"alternate\",</x>;rel=up");
    answer_header(a, "link", "<2>;rel=\"alternate\"");
}

static void references_are_resolved_against_the_url(void **state)
{
    (void)state;
    ca.answer = say_links;
    ask(BASE "/a/b/c");
    assert_string_equal(got.location, BASE "/a/order/7");
    auto_free char *text = strv_join(&got.alternates, " ");
    assert_string_equal(text, BASE "/a/b/1 " BASE "/a/b/2");
}

static void urls_that_are_not_https_are_never_asked(void **state)
{
    (void)state;
    ask("http://ca.example/o/1");
    fails(ERR_REFUSED, "not https");
    assert_int_equal(test_http.calls, 0);
}

static void say_unavailable(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    answer_text(a, 503, "text/plain", "later");
    answer_header(a, "retry-after", "100");
}

static void after_503_with_retry_after_nobody_asks(void **state)
{
    (void)state;
    ca.answer = say_unavailable;
    ask(BASE "/o/1");
    fails(ERR_LIMITED, "HTTP 503");
    unsigned calls = test_http.calls;
    ask(BASE "/o/2");
    fails(ERR_LIMITED, "unavailable until");
    assert_true(got.err->retry_at > clock_now() + 50);
    assert_int_equal(test_http.calls, calls);
    clock_shift_for_test(101);
    ca.answer = say_ok;
    ask(BASE "/o/2");
    clock_shift_for_test(-101);
    is_ok();
}

static void say_terms(const struct test_query *q, struct test_answer *a)
{
    (void)q;
    answer_problem(a, 403, "userActionRequired", "new terms");
    answer_header(a, "link", "<" BASE "/terms/2>;rel=\"terms-of-service\"");
}

static void user_action_shows_the_link(void **state)
{
    (void)state;
    ca.answer = say_terms;
    ask(BASE "/o/1");
    fails(ERR_REFUSED, "new terms");
    assert_non_null(strstr(got.err->hint, BASE "/terms/2"));
}

static void never_called(const struct reply *r, const struct err *e, void *userdata)
{
    (void)r;
    (void)e;
    (void)userdata;
    fail();
}

static void end_loop(void *userdata)
{
    (void)userdata;
    loop_exit(loop, 0);
}

static void a_freed_request_never_calls(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct request *r = request_start(
            session,
            &(struct request_spec){.operation = "order", .url = BASE "/o/1", .payload = ""},
            never_called, NULL);
        struct timer *t = timer_after(loop, 0, end_loop, NULL);
        if (turns % 3 > 0)
            loop_run(loop); /* as far as one turn leads */
        request_free(r);
        timer_free(t);
    }
}

static void requests_may_outlive_the_session(void **state)
{
    (void)state;
    struct request *r = request_start(
        session, &(struct request_spec){.operation = "order", .url = BASE "/o/1", .payload = ""},
        never_called, NULL);

    session_free(session);
    session = NULL;
    request_free(r);
}

static void a_lost_account_is_transient_a_missing_key_is_a_bug(void **state)
{
    (void)state;
    session_set_account(session, session_key(session), NULL);
    ask(BASE "/o/1");
    fails(ERR_TRANSIENT, "account");
    session_set_account(session, NULL, NULL);
    ask(BASE "/o/1");
    fails(ERR_BUG, "key");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_first_request_asks_for_a_nonce_and_the_next_has_one),
        T(every_request_passes_the_gate),
        T(a_bad_nonce_is_retried_with_the_one_of_the_error),
        T(after_five_tries_a_fresh_nonce_is_asked_for),
        T(a_ca_that_refuses_every_nonce_is_given_up),
        T(a_refusal_without_a_nonce_is_retried_with_a_fresh_one),
        T(a_refusal_says_where_and_why),
        T(network_trouble_is_transient_and_not_retried_here),
        T(only_json_objects_are_json),
        T(references_are_resolved_against_the_url),
        T(urls_that_are_not_https_are_never_asked),
        T(after_503_with_retry_after_nobody_asks),
        T(user_action_shows_the_link),
        T(a_freed_request_never_calls),
        T(requests_may_outlive_the_session),
        T(a_lost_account_is_transient_a_missing_key_is_a_bug),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
