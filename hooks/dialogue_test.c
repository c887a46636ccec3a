#include "hooks/dialogue.h"

#include "hooks/test_peer.h"

struct heard {
    struct test_hooks *t;
    char *reply; /* NULL: an error */
    size_t len;
    struct err *err;
    size_t whole_at; /* the reply is whole when it has so many bytes */
};

static bool is_whole(const char *reply, size_t len, void *userdata)
{
    const struct heard *h = userdata;

    assert_int_equal(reply[len], '\0');
    return len >= h->whole_at;
}

static void on_reply(const char *reply, size_t len, const struct err *e, void *userdata)
{
    struct heard *h = userdata;

    assert_true(!reply != !e);
    h->reply = reply ? xstrndup(reply, len) : NULL;
    h->len = len;
    h->err = err_copy(e);
    loop_exit(h->t->loop, 0);
}

static struct heard ask(struct test_hooks *t, struct dialogue_spec spec, size_t whole_at)
{
    struct heard h = {.t = t, .whole_at = whole_at};

    if (!spec.request) {
        spec.request = "hello\n";
        spec.request_len = 6;
    }
    spec.reply_max = spec.reply_max ? spec.reply_max : 1000;
    spec.timeout_ms = spec.timeout_ms ? spec.timeout_ms : 20000;
    spec.is_whole = whole_at ? is_whole : NULL;
    assert_non_null(dialogue_start(t->loop, &spec, on_reply, &h));
    assert_true(!h.reply && !h.err);
    loop_run(t->loop);
    return h;
}

static void heard_done(struct heard *h)
{
    free(h->reply);
    err_free(h->err);
}

static void a_reply_ends_with_the_connection(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", "one\ntwo", 0, false, false}};
    struct heard h = ask(t, (struct dialogue_spec){.address = test_peer(t, answers, 1)}, 0);

    assert_string_equal(h.reply, "one\ntwo");
    assert_int_equal(h.len, 7);
    auto_free char *requests = test_peer_requests(t);
    assert_string_equal(requests, "hello\n|");
    heard_done(&h);
}

static void a_reply_is_over_when_it_is_whole(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", "+OK\r\n", 0, true, false}};
    auto_free char *address = xasprintf("unix:%s", test_peer(t, answers, 1));
    struct heard h = ask(t, (struct dialogue_spec){.address = address}, 5);

    assert_string_equal(h.reply, "+OK\r\n");
    heard_done(&h);
}

static void it_speaks_tcp_as_well(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", "1", 0, false, false},
                                          {"\n", "2", 0, false, false}};
    uint16_t port = test_peer_tcp(t, answers, 2);
    auto_free char *number = xasprintf("127.0.0.1:%u", port);
    auto_free char *name = xasprintf("localhost:%u", port);
    struct heard one = ask(t, (struct dialogue_spec){.address = number}, 0);
    struct heard two = ask(t, (struct dialogue_spec){.address = name}, 0);

    assert_string_equal(one.reply, "1");
    assert_string_equal(two.reply, "2");
    heard_done(&one);
    heard_done(&two);
}

static void half_an_answer_is_quoted(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", "+O\033[31m", 0, false, false}};
    struct heard h = ask(t, (struct dialogue_spec){.address = test_peer(t, answers, 1)}, 100);

    test_says(h.err, "closed the connection after \"+O\\x1b[31m\"");
    heard_done(&h);
}

static void silence_times_out(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", NULL, 0, false, false}};
    struct dialogue_spec spec = {.address = test_peer(t, answers, 1), .timeout_ms = 50};
    struct heard h = ask(t, spec, 0);

    test_says(h.err, "did not answer in time");
    assert_int_equal(h.err->kind, ERR_TRANSIENT);
    heard_done(&h);
}

static void an_answer_that_does_not_end_times_out_with_what_came(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", "busy", 0, true, false}};
    struct dialogue_spec spec = {.address = test_peer(t, answers, 1), .timeout_ms = 50};
    struct heard h = ask(t, spec, 0);

    test_says(h.err, "did not end its answer in time: \"busy\"");
    heard_done(&h);
}

static void an_endless_answer_is_cut(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", "blah blah blah ", 0, false, true}};
    struct dialogue_spec spec = {.address = test_peer(t, answers, 1), .reply_max = 100000};
    struct heard h = ask(t, spec, 0);

    test_says(h.err, "more than 100000 bytes");
    assert_int_equal(h.err->kind, ERR_REFUSED);
    heard_done(&h);
}

static void nobody_at_the_socket_is_absent(void **state)
{
    struct test_hooks *t = *state;
    struct heard h = ask(t, (struct dialogue_spec){.address = test_path(t, "none")}, 0);

    assert_true(dialogue_is_absent(h.err));
    heard_done(&h);
    test_put(test_path(t, "file"), "", 0600);
    h = ask(t, (struct dialogue_spec){.address = test_path(t, "file")}, 0);
    assert_true(dialogue_is_absent(h.err)); /* left over from a process that is gone */
    heard_done(&h);
    assert_false(dialogue_is_absent(NULL));
}

static void a_large_request_is_sent_whole(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"END", "ok", 0, false, false}};
    const char *path = test_peer(t, answers, 1);
    size_t len = 60000;
    char *request = xmalloc(len);

    memset(request, 'x', len);
    memcpy(request + len - 3, "END", 3);
    struct heard h =
        ask(t, (struct dialogue_spec){.address = path, .request = request, .request_len = len}, 0);
    free(request);
    assert_string_equal(h.reply, "ok");
    auto_free char *requests = test_peer_requests(t);
    assert_int_equal(strlen(requests), len + 1);
    heard_done(&h);
}

static void a_peer_that_answers_before_it_has_read_is_heard(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{NULL, "go away", 0, false, false}};
    struct heard h = ask(t, (struct dialogue_spec){.address = test_peer(t, answers, 1)}, 0);

    if (h.reply)
        assert_string_equal(h.reply, "go away");
    else
        test_says(h.err, "reading from"); /* a reset took the answer along */
    heard_done(&h);
}

static void to_have_sent_may_be_enough(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", NULL, 0, false, false}};
    struct dialogue_spec spec = {.address = test_peer(t, answers, 1), .no_reply = true};
    struct heard h = ask(t, spec, 0);

    assert_string_equal(h.reply, "");
    heard_done(&h);
}

static void a_freed_dialogue_is_not_heard_of(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", NULL, 0, false, false}};
    struct heard h = {.t = t};
    struct dialogue_spec spec = {.address = test_peer(t, answers, 1),
                                 .request = "\n",
                                 .request_len = 1,
                                 .reply_max = 10,
                                 .timeout_ms = 1};
    struct dialogue *d = dialogue_start(t->loop, &spec, on_reply, &h);

    dialogue_free(d);
    dialogue_free(NULL);
    struct heard other = ask(t, (struct dialogue_spec){.address = test_path(t, "none")}, 0);
    assert_true(!h.reply && !h.err);
    heard_done(&other);
}

static void addresses_are_numbers_or_paths(void **state)
{
    (void)state;
    static const char *const good[] = {"/run/x.sock", "unix:/run/x", "127.0.0.1:1", "[::1]:65535",
                                       "localhost:6379"};
    static const char *const bad[] = {
        "",          "run/x",      "unix:x", "unix:",          "example.org:80",
        "127.0.0.1", "127.0.0.1:", ":80",    "127.0.0.1:http", "[::1:80"};

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto_err struct err *e = NULL;
        if (!dialogue_check_address(good[i], &e))
            fail_msg("%s: %s", good[i], e->text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_err struct err *e = NULL;
        if (dialogue_check_address(bad[i], &e))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(e->kind, ERR_CONFIG);
    }
    char longest[200] = "/";
    memset(longest + 1, 'x', 150);
    assert_false(dialogue_check_address(longest, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(a_reply_ends_with_the_connection),
        HOOK_TEST(a_reply_is_over_when_it_is_whole),
        HOOK_TEST(it_speaks_tcp_as_well),
        HOOK_TEST(half_an_answer_is_quoted),
        HOOK_TEST(silence_times_out),
        HOOK_TEST(an_answer_that_does_not_end_times_out_with_what_came),
        HOOK_TEST(an_endless_answer_is_cut),
        HOOK_TEST(nobody_at_the_socket_is_absent),
        HOOK_TEST(a_large_request_is_sent_whole),
        HOOK_TEST(a_peer_that_answers_before_it_has_read_is_heard),
        HOOK_TEST(to_have_sent_may_be_enough),
        HOOK_TEST(a_freed_dialogue_is_not_heard_of),
        HOOK_TEST(addresses_are_numbers_or_paths),
    };

    return cmocka_run_group_tests_name("dialogue", tests, NULL, NULL);
}
