/* Against a scripted HAProxy; the real one is asked in tests/integration. */
#include "hooks/haproxy_api.h"

#include "hooks/test_peer.h"

#define CERT(x)   "-----BEGIN CERTIFICATE-----\n" x "\n-----END CERTIFICATE-----\n"
#define KEY       "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n"
#define ABORTED   "Transaction aborted for certificate '/x'!\n\n"
#define CREATED   "Transaction created for certificate /x!\n\n"
#define COMMITTED "Committing /x.\nSuccess!\n\n"

struct api {
    struct test_hooks *t;
    enum haproxy_api_result result;
    struct err *err;
};

static void on_api(enum haproxy_api_result result, const struct err *e, void *userdata)
{
    struct api *a = userdata;

    a->result = result;
    a->err = err_copy(e);
    loop_exit(a->t->loop, 0);
}

/* Certificates "one" and "two" of generations whose leaves are 1 and 2. */
static void put_files(struct test_hooks *t)
{
    assert_int_equal(mkdir(test_path(t, "one"), 0755), 0);
    assert_int_equal(mkdir(test_path(t, "two"), 0755), 0);
    test_put(test_path(t, "one/fullchain.pem"), CERT("1") CERT("CA"), 0644);
    test_put(test_path(t, "two/fullchain.pem"), CERT("2") CERT("CA"), 0644);
    test_put(test_path(t, "one.pem"), "comment\n\n" KEY "\n" CERT("1") CERT("CA"), 0600);
    test_put(test_path(t, "two.pem"), CERT("2") CERT("CA"), 0600);
    test_put(test_path(t, "two.pem.key"), KEY, 0600);
    test_put(test_path(t, "other.pem"), KEY CERT("CA") CERT("1"), 0600);
    test_put(test_path(t, "ocsp.der"), "DER", 0644);
}

static struct api run(struct test_hooks *t, const char *socket, size_t n, bool staple)
{
    auto_free char *one = xasprintf("%s/one/fullchain.pem", t->dir);
    auto_free char *two = xasprintf("%s/two/fullchain.pem", t->dir);
    auto_free char *dir = xasprintf("%s/one", t->dir);
    auto_free char *der = xasprintf("%s/ocsp.der", t->dir);
    const struct hook_certificate batch[] = {
        {.name = "one", .dir = dir, .fullchain = one, .staple = staple ? der : NULL},
        {.name = "two", .fullchain = two}};
    struct hook_event event = {.batch = batch, .n_batch = n};
    struct api a = {.t = t};

    assert_non_null(haproxy_api_start(t->loop, socket, &event, 2000, on_api, &a));
    loop_run(t->loop);
    return a;
}

static char *list_of(const struct test_hooks *t, const char *open, const char *const *names)
{
    struct buf b;

    buf_init(&b, 10000);
    buf_addf(&b, "# transaction\n%s\n# filename\n", open);
    for (size_t i = 0; names[i]; i++)
        buf_addf(&b, "%s/%s\n", t->dir, names[i]);
    buf_add_str(&b, "\n");
    char *text = buf_take(&b);
    buf_done(&b);
    return text;
}

static const char *const all_names[] = {"other.pem", "absent.pem", "one.pem", "two.pem", NULL};

static void files_that_hold_a_leaf_of_ours_are_set_and_committed(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *list = list_of(t, "<none>", all_names);
    const struct test_answer answers[] = {
        {"\n", list, 0, false, false},      {"\n\n", CREATED, 0, false, false},
        {"\n", COMMITTED, 0, false, false}, {"\n\n", CREATED, 0, false, false},
        {"\n", COMMITTED, 0, false, false},
    };

    put_files(t);
    struct api a = run(t, test_peer(t, answers, ARRAY_LEN(answers)), 2, false);
    if (a.err)
        fail_msg("%s", a.err->text);
    assert_int_equal(a.result, HAPROXY_API_DONE);
    auto_free char *requests = test_peer_requests(t);
    auto_free char *want =
        xasprintf("show ssl cert\n|"
                  "set ssl cert %s/one.pem <<\n" KEY CERT("1")
                      CERT("CA") "\n|"
                                 "commit ssl cert %s/one.pem\n|"
                                 "set ssl cert %s/two.pem <<\n" CERT("2") CERT("CA") KEY
                  "\n|"
                  "commit ssl cert %s/two.pem\n|",
                  t->dir, t->dir, t->dir, t->dir);
    assert_string_equal(requests, want);
}

static void a_staple_is_in_the_same_transaction(void **state)
{
    struct test_hooks *t = *state;
    static const char *const names[] = {"one.pem", NULL};
    auto_free char *list = list_of(t, "<none>", names);
    const struct test_answer answers[] = {
        {"\n", list, 0, false, false},
        {"\n\n", CREATED, 0, false, false},
        {"\n\n", "Transaction updated for certificate /x!\n\n", 0, false, false},
        {"\n", COMMITTED, 0, false, false},
    };

    put_files(t);
    struct api a = run(t, test_peer(t, answers, ARRAY_LEN(answers)), 1, true);
    assert_int_equal(a.result, HAPROXY_API_DONE);
    auto_free char *requests = test_peer_requests(t);
    auto_free char *want = xasprintf("|set ssl cert %s/one.pem.ocsp <<\nREVS\n\n|", t->dir);
    assert_non_null(strstr(requests, want));
}

static void a_staple_that_is_refused_costs_the_staple_only(void **state)
{
    struct test_hooks *t = *state;
    static const char *const names[] = {"one.pem", NULL};
    auto_free char *list = list_of(t, "<none>", names);
    const struct test_answer answers[] = {
        {"\n", list, 0, false, false},
        {"\n\n", CREATED, 0, false, false},
        {"\n\n", "OCSP response expired!\n", 0, false, false},
        {"\n", ABORTED, 0, false, false},
        {"\n\n", CREATED, 0, false, false},
        {"\n", COMMITTED, 0, false, false},
    };

    put_files(t);
    struct api a = run(t, test_peer(t, answers, ARRAY_LEN(answers)), 1, true);
    assert_int_equal(a.result, HAPROXY_API_DONE);
    assert_null(a.err);
    auto_free char *requests = test_peer_requests(t);
    auto_free char *want = xasprintf(
        "REVS\n\n|abort ssl cert %s/one.pem\n|set ssl cert %s/one.pem <<\n", t->dir, t->dir);
    assert_non_null(strstr(requests, want));
}

static void a_transaction_left_open_is_aborted_first(void **state)
{
    struct test_hooks *t = *state;
    static const char *const names[] = {"one.pem", NULL};
    auto_free char *list = list_of(t, "*/somebody/elses.pem", names);
    const struct test_answer answers[] = {
        {"\n", list, 0, false, false},
        {"\n", ABORTED, 0, false, false},
        {"\n\n", CREATED, 0, false, false},
        {"\n", COMMITTED, 0, false, false},
    };

    put_files(t);
    struct api a = run(t, test_peer(t, answers, ARRAY_LEN(answers)), 1, false);
    assert_int_equal(a.result, HAPROXY_API_DONE);
    auto_free char *requests = test_peer_requests(t);
    assert_non_null(strstr(requests, "|abort ssl cert /somebody/elses.pem\n|set ssl"));
}

static void what_it_refuses_is_aborted_and_told(void **state)
{
    struct test_hooks *t = *state;
    static const char *const names[] = {"one.pem", NULL};
    auto_free char *list = list_of(t, "<none>", names);
    const struct test_answer answers[] = {
        {"\n", list, 0, false, false},
        {"\n\n", CREATED, 0, false, false},
        {"\n", "Can't commit /x!\ninconsistencies between private key and certificate\n", 0, false,
         false},
        {"\n", ABORTED, 0, false, false},
    };

    put_files(t);
    struct api a = run(t, test_peer(t, answers, ARRAY_LEN(answers)), 1, false);
    assert_int_equal(a.result, HAPROXY_API_FAILED);
    test_says(a.err, "inconsistencies between private key and certificate");
    test_says(a.err, "commit ssl cert");
    auto_free char *requests = test_peer_requests(t);
    auto_free char *want = xasprintf("|abort ssl cert %s/one.pem\n|", t->dir);
    assert_non_null(strstr(requests, want));
    err_free(a.err);
}

/* An answer to the second command that is no good; the third is the abort. */
static void set_answered_by(void **state, struct test_answer bad, const char *says)
{
    struct test_hooks *t = *state;
    static const char *const names[] = {"one.pem", NULL};
    auto_free char *list = list_of(t, "<none>", names);
    const struct test_answer answers[] = {
        {"\n", list, 0, false, false}, bad, {"\n", ABORTED, 0, false, false}};

    put_files(t);
    struct api a = run(t, test_peer(t, answers, ARRAY_LEN(answers)), 1, false);
    assert_int_equal(a.result, HAPROXY_API_FAILED);
    test_says(a.err, says);
    auto_free char *requests = test_peer_requests(t);
    assert_non_null(strstr(requests, "|abort ssl cert"));
    err_free(a.err);
}

static void garbage_is_no_success(void **state)
{
    set_answered_by(state, (struct test_answer){"\n\n", "\x01\x02\xff Success?", 0, false, false},
                    "\\x01\\x02");
}

static void half_an_answer_is_no_success(void **state)
{
    set_answered_by(state, (struct test_answer){"\n\n", "Transaction crea", 0, false, false},
                    "Transaction crea");
}

static void nothing_is_no_success(void **state)
{
    set_answered_by(state, (struct test_answer){"\n\n", "", 0, false, false}, "did not accept");
}

static void an_answer_with_a_zero_byte_is_no_success(void **state)
{
    set_answered_by(state, (struct test_answer){"\n\n", "a\0" CREATED, 20, false, false},
                    "did not accept");
}

static void an_endless_answer_is_no_success(void **state)
{
    set_answered_by(state, (struct test_answer){"\n\n", CREATED, 0, false, true}, "more than");
}

static void a_list_that_is_none_changes_nothing(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {
        {"\n", "Permission denied\n\n", 0, false, false},
        {"\n", NULL, 0, false, false},
    };

    put_files(t);
    struct api a = run(t, test_peer(t, answers, 1), 1, false);
    assert_int_equal(a.result, HAPROXY_API_FAILED);
    test_says(a.err, "level admin");
    auto_free char *requests = test_peer_requests(t);
    assert_string_equal(requests, "show ssl cert\n|");
    err_free(a.err);
}

static void a_certificate_that_is_not_loaded_changes_nothing(void **state)
{
    struct test_hooks *t = *state;
    static const char *const names[] = {"one.pem", "other.pem", NULL};
    auto_free char *list = list_of(t, "<none>", names);
    const struct test_answer answers[] = {{"\n", list, 0, false, false}};

    put_files(t);
    struct api a = run(t, test_peer(t, answers, 1), 2, false);
    assert_int_equal(a.result, HAPROXY_API_NEW);
    test_says(a.err, "new certificate two");
    auto_free char *requests = test_peer_requests(t);
    assert_string_equal(requests, "show ssl cert\n|");
    err_free(a.err);
}

static void paths_that_are_no_words_are_never_sent(void **state)
{
    struct test_hooks *t = *state;
    static const char *const names[] = {"one.pem; shutdown sessions", "a b.pem", NULL};
    auto_free char *list = list_of(t, "<none>", names);
    const struct test_answer answers[] = {{"\n", list, 0, false, false}};

    put_files(t);
    test_put(test_path(t, names[0]), KEY CERT("1"), 0600);
    test_put(test_path(t, names[1]), KEY CERT("1"), 0600);
    struct api a = run(t, test_peer(t, answers, 1), 1, false);
    assert_int_equal(a.result, HAPROXY_API_NEW);
    err_free(a.err);
}

static void nobody_at_the_socket_is_told_apart(void **state)
{
    struct test_hooks *t = *state;

    put_files(t);
    struct api a = run(t, test_path(t, "none"), 1, false);
    assert_int_equal(a.result, HAPROXY_API_ABSENT);
    err_free(a.err);
}

static void many_files_are_looked_at_in_turns(void **state)
{
    struct test_hooks *t = *state;
    struct buf b;

    buf_init(&b, 1024 * 1024);
    buf_add_str(&b, "# filename\n");
    for (int i = 0; i < 5000; i++)
        buf_addf(&b, "%s/none%d.pem\n", t->dir, i);
    buf_addf(&b, "%s/one.pem\n", t->dir);
    const struct test_answer answers[] = {
        {"\n", b.data, 0, false, false},
        {"\n\n", CREATED, 0, false, false},
        {"\n", COMMITTED, 0, false, false},
    };

    put_files(t);
    struct api a = run(t, test_peer(t, answers, ARRAY_LEN(answers)), 1, false);
    buf_done(&b);
    assert_int_equal(a.result, HAPROXY_API_DONE);
}

static void a_freed_one_is_not_heard_of(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", NULL, 0, false, false}};
    struct api a = {.t = t, .result = HAPROXY_API_DONE};
    struct hook_event event = {0};

    put_files(t);
    haproxy_api_free(haproxy_api_start(t->loop, test_peer(t, answers, 1), &event, 10, on_api, &a));
    haproxy_api_free(NULL);
    struct api other = run(t, test_path(t, "none"), 1, false);
    assert_int_equal(other.result, HAPROXY_API_ABSENT);
    assert_null(a.err);
    err_free(other.err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(files_that_hold_a_leaf_of_ours_are_set_and_committed),
        HOOK_TEST(a_staple_is_in_the_same_transaction),
        HOOK_TEST(a_staple_that_is_refused_costs_the_staple_only),
        HOOK_TEST(a_transaction_left_open_is_aborted_first),
        HOOK_TEST(what_it_refuses_is_aborted_and_told),
        HOOK_TEST(garbage_is_no_success),
        HOOK_TEST(half_an_answer_is_no_success),
        HOOK_TEST(nothing_is_no_success),
        HOOK_TEST(an_answer_with_a_zero_byte_is_no_success),
        HOOK_TEST(an_endless_answer_is_no_success),
        HOOK_TEST(a_list_that_is_none_changes_nothing),
        HOOK_TEST(a_certificate_that_is_not_loaded_changes_nothing),
        HOOK_TEST(paths_that_are_no_words_are_never_sent),
        HOOK_TEST(nobody_at_the_socket_is_told_apart),
        HOOK_TEST(many_files_are_looked_at_in_turns),
        HOOK_TEST(a_freed_one_is_not_heard_of),
    };

    return cmocka_run_group_tests_name("haproxy_api", tests, NULL, NULL);
}
