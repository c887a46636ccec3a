#include "acme/order.h"

#include <stdio.h>

#include "acme/session_private.h"
#include "acme/test_ca.h"
#include "base/log.h"

static struct loop *loop;
static struct worker *worker;
static struct session *session;

/* A solver that notes what it shows. -------------------------------------------------------- */

struct present {
    struct timer *turn;
    present_fn *fn;
    void *userdata;
};

static struct {
    unsigned presented, withdrawn;
    bool broken;
} shown;

static void on_present_turn(void *userdata)
{
    struct present *p = userdata;
    auto_err struct err *e = NULL;

    if (shown.broken)
        err_set(&e, ERR_SYSTEM, "the port is taken");
    p->fn(e, p->userdata);
}

static struct present *show(struct solver *s, const char *identifier, const char *token,
                            const char *text, present_fn *fn, void *userdata)
{
    struct present *p = xcalloc(1, sizeof(*p));
    auto_free char *expected = xasprintf("%s.%s", token, session_thumbprint(session));

    (void)s;
    assert_non_null(identifier);
    assert_string_equal(text, expected);
    shown.presented++;
    p->fn = fn;
    p->userdata = userdata;
    p->turn = timer_after(loop, 0, on_present_turn, p);
    return p;
}

static void withdraw(struct present *p)
{
    shown.withdrawn++;
    timer_free(p->turn);
    free(p);
}

static const struct challenge_type test_type = {
    .name = "test_01",
    .acme = "test-01",
    .present = show,
    .withdraw = withdraw,
};
static struct solver solver = {.type = &test_type, .name = (char[]){"test"}};

/* One order from start to end ---------------------------------------------------------------- */

static struct {
    struct order_settings settings;
    struct order *order;
    struct timer *turn;
    json_t *state, *account;
    unsigned saves, account_saves;
    bool save_fails;
    char activities[2048];

    bool done, resumable;
    struct chain *chain;
    struct err *err;
} run;

static void on_saved(void *userdata)
{
    auto_err struct err *e = NULL;

    (void)userdata;
    timer_free(take(run.turn));
    if (run.save_fails) {
        err_set(&e, ERR_SYSTEM, "disk full");
        order_save_failed(run.order, e);
        return;
    }
    ca.saved = run.saves > 0 || run.state;
    order_saved(run.order);
}

static void on_save(struct order *o, const json_t *state, void *userdata)
{
    (void)userdata;
    assert_ptr_equal(o, run.order);
    assert_null(run.turn);
    json_decref(run.state);
    run.state = json_deep_copy(state);
    run.saves++;
    run.turn = timer_after(loop, 5, on_saved, NULL);
}

static void on_save_account(struct order *o, const json_t *json, void *userdata)
{
    (void)o;
    (void)userdata;
    assert_null(run.turn);
    json_decref(run.account);
    run.account = json_deep_copy(json);
    run.account_saves++;
    run.turn = timer_after(loop, 5, on_saved, NULL);
}

static void on_activity(struct order *o, const char *text, void *userdata)
{
    size_t len = strlen(run.activities);

    (void)o;
    (void)userdata;
    snprintf(run.activities + len, sizeof(run.activities) - len, "%s\n", text);
}

/* What is told for the count of limits: "may+replaces placed validated:NAME+ ..." */
static char counted[512];
static bool may_not_place;

static void note_count(const char *what, const char *name, bool yes)
{
    size_t len = strlen(counted);

    snprintf(counted + len, sizeof(counted) - len, "%s%s%s ", what, name, yes ? "+" : "");
}

static bool on_may_place(struct order *o, bool replaces, struct err **err, void *userdata)
{
    (void)o;
    (void)userdata;
    note_count("may", "", replaces);
    if (!may_not_place)
        return true;
    err_set(err, ERR_LIMITED, "our own count says no");
    (*err)->retry_at = clock_now() + 7200;
    return false;
}

static void on_placed(struct order *o, bool replaces, void *userdata)
{
    (void)o;
    (void)userdata;
    note_count("placed", "", replaces);
}

static void on_refused(struct order *o, const struct err *e, void *userdata)
{
    (void)o;
    (void)userdata;
    note_count("refused:", e->problem ? e->problem : "?", false);
}

static void on_validated(struct order *o, const char *name, bool good, void *userdata)
{
    (void)o;
    (void)userdata;
    note_count("validated:", name, good);
}

static void on_done(struct order *o, struct chain *chain, const struct err *e, bool resumable,
                    void *userdata)
{
    (void)userdata;
    assert_false(run.done);
    assert_true(!chain != !e);
    run.done = true;
    run.chain = chain;
    run.err = err_copy(e);
    run.resumable = resumable;
    order_free(o);
    run.order = NULL;
    loop_exit(loop, 0);
}

static const struct order_events events = {
    .save = on_save,
    .save_account = on_save_account,
    .activity = on_activity,
    .may_place = on_may_place,
    .placed = on_placed,
    .refused = on_refused,
    .validated = on_validated,
    .done = on_done,
};

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    worker = worker_new(loop, 1, NULL);
    ca_start(loop);
    memset(&shown, 0, sizeof(shown));
    memset(&run, 0, sizeof(run));
    session = session_new(&(struct session_settings){
        .loop = loop,
        .worker = worker,
        .directory_url = CA_BASE "/directory",
        .timeout_ms = 1000,
    });
    auto_key struct key *key = test_key();
    session_set_account(session, key, CA_BASE "/account/1");
    run.settings = (struct order_settings){
        .session = session,
        .label = "www",
        .attempt = "1",
        .key = ca.leaf_key,
        .solver = &solver,
    };
    run.settings.account.terms_agreed = true;
    strv_add(&run.settings.names, "www.example.org");
    return 0;
}

static void forget_result(void)
{
    chain_free(take(run.chain));
    err_free(take(run.err));
    run.done = run.resumable = false;
    ca.saved = run.state != NULL;
}

static int teardown(void **state)
{
    (void)state;
    forget_result();
    order_free(run.order);
    timer_free(run.turn);
    json_decref(run.state);
    json_decref(run.account);
    strv_done(&run.settings.names);
    session_free(session);
    worker_free(worker);
    ca_stop();
    loop_free(loop);
    assert_int_equal(shown.presented, shown.withdrawn);
    assert_int_equal(test_http.under_way, 0);
    return 0;
}

static void run_order(const json_t *saved)
{
    forget_result();
    counted[0] = '\0';
    run.order = order_start(&run.settings, &events, saved);
    assert_false(run.done);
    loop_run(loop);
    assert_true(run.done);
}

static void issues(void)
{
    run_order(NULL);
    if (run.err)
        fail_msg("%s: %s", run.err->step, run.err->text);
    assert_int_equal(run.chain->n, 2);
}

static void resumes(void)
{
    json_t *saved = json_incref(run.state);

    run_order(saved);
    json_decref(saved);
    if (run.err)
        fail_msg("%s: %s", run.err->step, run.err->text);
}

static void fails(enum err_kind kind, const char *step, const char *part)
{
    run_order(NULL);
    if (!run.err)
        fail_msg("a certificate was issued");
    if (run.err->kind != kind || strcmp(run.err->step, step) != 0 || !strstr(run.err->text, part))
        fail_msg("%s, %s: %s", err_kind_name(run.err->kind), run.err->step, run.err->text);
}

/* The usual ways ----------------------------------------------------------------------------- */

static void issues_a_certificate(void **state)
{
    (void)state;
    issues(); /* that the URL is saved before the answer is checked by the CA (ca.saved) */
    assert_int_equal(ca.new_orders, 1);
    assert_int_equal(ca.answers, 1);
    assert_int_equal(ca.finalizes, 1);
    assert_int_equal(run.saves, 1);
    assert_int_equal(run.account_saves, 0);
    assert_string_equal(json_str(run.state, "url"), CA_BASE "/order/0/0");
    assert_string_equal(json_str(run.state, "directory"), CA_BASE "/directory");
    assert_string_equal(json_string_value(json_array_get(json_get(run.state, "names"), 0)),
                        "www.example.org");
    assert_non_null(strstr(run.activities, "waiting for the CA to validate www.example.org"));
}

static void needs_no_more_requests_than_there_are_steps(void **state)
{
    (void)state;
    unsigned before = test_http.calls;

    issues(); /* directory, nonce, newOrder, authz, challenge, authz, finalize, [order], certificate
               */
    assert_true(test_http.calls - before <= 9);
}

static void issues_while_half_the_nonces_are_refused(void **state)
{
    (void)state;
    strv_add(&run.settings.names, "a.example");
    strv_add(&run.settings.names, "b.example");
    ca.reject_percent = 50;
    issues();
    assert_int_equal(ca.new_orders, 1);
    assert_int_equal(ca.answers, 3);
}

static void validates_many_names_side_by_side(void **state)
{
    (void)state;
    for (int i = 0; i < 19; i++)
        strv_addf(&run.settings.names, "n%d.example", i);
    ca.authz_polls = 2;
    issues();
    assert_int_equal(ca.answers, 20);
    assert_int_equal(shown.presented, 20);
    assert_non_null(strstr(run.activities, "and 19 more"));
}

static void valid_authorizations_are_not_answered(void **state)
{
    (void)state;
    ca.reuse = true;
    issues();
    assert_int_equal(ca.answers, 0);
    assert_int_equal(shown.presented, 0);
}

static bool fewer_authorizations(const char *operation, const struct test_query *q,
                                 struct test_answer *a)
{
    if (strcmp(operation, "new-order") != 0)
        return false;
    ca_new_order(q, a);
    auto_json json_t *j = json_parse(a->body, strlen(a->body), NULL);
    json_array_remove(json_get(j, "authorizations"), 0);
    ca_set(ca.orders[0].authz[1], "valid");
    set_string(&a->body, json_compact(j));
    return true;
}

static void there_may_be_fewer_authorizations_than_names(void **state)
{
    (void)state;
    strv_add(&run.settings.names, "b.example");
    ca.override = fewer_authorizations;
    issues();
    assert_int_equal(ca.answers, 1);
}

static void a_processing_order_is_waited_for(void **state)
{
    (void)state;
    ca.order_polls = 4;
    issues();
    assert_in_range(ca.order_reads, 3, 5);
}

static bool not_ready_at_first(const char *operation, const struct test_query *q,
                               struct test_answer *a)
{
    static unsigned refused;

    (void)q;
    if (strcmp(operation, "finalize") != 0 || refused++ > 0)
        return false;
    answer_problem(a, 403, "orderNotReady", "a moment");
    return true;
}

static void an_order_that_is_not_ready_yet_is_asked_about(void **state)
{
    (void)state;
    ca.override = not_ready_at_first;
    issues();
    assert_int_equal(ca.finalizes, 1);
    assert_int_equal(ca.new_orders, 1);
}

/* newOrder gives an order that exists already: with that status. */
static const char *existing;
static bool existing_order(const char *operation, const struct test_query *q, struct test_answer *a)
{
    if (strcmp(operation, "new-order") != 0)
        return false;
    ca.reuse = true;
    ca_new_order(q, a);
    if (strcmp(existing, "ready") != 0)
        ca_set(ca.orders[0].status, existing);
    set_string(&a->body, NULL);
    strv_done(&a->headers);
    ca_say_order(a, 200, 0);
    answer_header(a, "location", "/order/0/0"); /* relative is fine */
    return true;
}

static void new_order_may_be_past_any_step(void **state)
{
    static const char *const statuses[] = {"ready", "processing", "valid"};

    (void)state;
    ca.override = existing_order;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        existing = statuses[i];
        strv_done(&ca.orders[0].names);
        memset(&ca.orders[0], 0, sizeof(ca.orders[0]));
        ca.n_orders = 0;
        ca.finalizes = 0;
        issues();
        assert_int_equal(ca.finalizes, i == 0);
    }
}

/* Resuming ------------------------------------------------------------------------------------ */

/* Stops an order before its nth query of that operation and takes it up again. */
static const char *stop_at;
static bool stop_there(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (!stop_at || strcmp(operation, stop_at) != 0)
        return false;
    stop_at = NULL;
    a->lost = true;
    loop_exit(loop, 1);
    return true;
}

static void takes_the_same_order_up_wherever_it_was_stopped(void **state)
{
    static const char *const operations[] = {"authz", "challenge", "finalize", "order",
                                             "certificate"};

    (void)state;
    ca.override = stop_there;
    ca.order_polls = 1;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        unsigned before = ca.new_orders;
        stop_at = operations[i];
        forget_result();
        ca.saved = false;
        run.order = order_start(&run.settings, &events, NULL);
        loop_run(loop);
        assert_false(run.done);
        order_free(take(run.order));
        assert_int_equal(shown.presented, shown.withdrawn);
        resumes();
        assert_int_equal(ca.new_orders, before + 1);
        assert_int_equal(ca.finalizes, before + 1);
    }
}

static bool forgotten_order(const char *operation, const struct test_query *q,
                            struct test_answer *a)
{
    if (strcmp(operation, "order") != 0 || !strstr(q->url, "/order/0/"))
        return false;
    answer_problem(a, 404, "malformed", "no such order");
    return true;
}

static void an_order_the_ca_forgot_is_replaced(void **state)
{
    (void)state;
    issues();
    ca.override = forgotten_order;
    resumes();
    assert_int_equal(ca.new_orders, 2);
    assert_string_equal(json_str(run.state, "url"), CA_BASE "/order/1/0");
}

static void an_order_that_became_invalid_is_replaced(void **state)
{
    (void)state;
    issues();
    ca_set(ca.orders[0].status, "invalid");
    resumes();
    assert_int_equal(ca.new_orders, 2);
}

static void an_order_of_another_account_is_replaced(void **state)
{
    (void)state;
    issues();
    ca.override = forgotten_order;
    json_put_str(run.state, "account", CA_BASE "/account/other");
    resumes();
    assert_int_equal(ca.new_orders, 2);
}

static void a_state_of_another_version_is_not_used(void **state)
{
    (void)state;
    issues();
    json_put_int(run.state, "version", 99);
    resumes();
    assert_int_equal(ca.new_orders, 2);
}

/* Lost replies -------------------------------------------------------------------------------- */

static void a_lost_reply_costs_no_certificate(void **state)
{
    static const char *const operations[] = {"directory", "nonce",    "authz",
                                             "challenge", "finalize", "certificate"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        session_forget_directory(session);
        nonces_clear(&session->nonces);
        ca.lose_once = operations[i];
        ca.finalizes = ca.new_orders = 0;
        issues();
        assert_int_equal(ca.finalizes, 1);
        assert_int_equal(ca.new_orders, 1);
        assert_null(ca.lose_once);
    }
    ca.lose_once = "new-order";
    ca.finalizes = ca.new_orders = 0;
    issues();
    assert_int_equal(ca.new_orders, 2); /* one surplus order, no surplus certificate */
    assert_int_equal(ca.finalizes, 1);
}

static bool always_lost(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    a->lost = strcmp(operation, "order") == 0 || strcmp(operation, "finalize") == 0;
    return a->lost;
}

static void lasting_network_trouble_leaves_the_order_resumable(void **state)
{
    (void)state;
    ca.override = always_lost;
    fails(ERR_TRANSIENT, "poll", "connection reset");
    assert_true(run.resumable);
    assert_non_null(run.state);
}

/* Failures ------------------------------------------------------------------------------------ */

static void a_failed_name_is_named_and_the_others_are_given_up(void **state)
{
    (void)state;
    strv_add(&run.settings.names, "good.example");
    ca.bad_name = "www.example.org";
    ca.authz_polls = 0;
    fails(ERR_REFUSED, "authorize", "www.example.org: test-01: no answer (connection)");
    assert_non_null(strstr(counted, "validated:www.example.org "));
    assert_string_equal(run.err->problem, "connection");
    assert_non_null(run.err->hint);
    assert_false(run.resumable);
}

static void every_failed_name_is_named(void **state)
{
    (void)state;
    strv_add(&run.settings.names, "b.example");
    strv_add(&run.settings.names, "c.example");
    ca.bad_name = "www.example.org";
    ca.bad_name_2 = "c.example";
    fails(ERR_REFUSED, "authorize", "www.example.org: ");
    assert_non_null(strstr(run.err->text, "c.example: "));
    assert_null(strstr(run.err->text, "b.example"));
}

static bool stuck_name(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)a;
    if (strcmp(operation, "authz") == 0 && strstr(q->url, "/0/1") && !*q->payload)
        ca.orders[0].authz_polls[1] = -100; /* never ends */
    return false;
}

static void pending_authorizations_are_deactivated(void **state)
{
    (void)state;
    strv_add(&run.settings.names, "slow.example");
    ca.bad_name = "www.example.org";
    ca.override = stuck_name;
    fails(ERR_REFUSED, "authorize", "www.example.org: ");
    assert_int_equal(ca.deactivated, 1);
    assert_string_equal(ca.orders[0].authz[1], "deactivated");
}

static void nothing_is_answered_when_a_token_cannot_be_shown(void **state)
{
    (void)state;
    strv_add(&run.settings.names, "b.example");
    shown.broken = true;
    fails(ERR_SYSTEM, "authorize", "the port is taken");
    assert_int_equal(ca.answers, 0);
    assert_true(run.resumable);
}

static void nothing_is_answered_when_the_url_cannot_be_saved(void **state)
{
    (void)state;
    run.save_fails = true;
    fails(ERR_SYSTEM, "authorize", "disk full");
    assert_int_equal(ca.answers, 0);
}

static bool bad_csr(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "finalize") != 0)
        return false;
    answer_problem(a, 400, "badCSR", "weak");
    return true;
}

static void a_bad_csr_keeps_the_order(void **state)
{
    (void)state;
    ca.override = bad_csr;
    fails(ERR_REFUSED, "finalize", "weak");
    assert_true(run.resumable);
}

static void a_certificate_for_other_names_is_refused(void **state)
{
    (void)state;
    ca.leaf_names = "DNS:other.example";
    fails(ERR_REFUSED, "fetch", "not accepted");
    assert_false(run.resumable);
}

static void a_certificate_for_another_key_is_refused(void **state)
{
    (void)state;
    auto_key struct key *mine = test_key();

    run.settings.key = mine;
    fails(ERR_REFUSED, "fetch", "not accepted");
}

static void a_certificate_of_another_type_is_refused(void **state)
{
    (void)state;
    ca.type = "text/html";
    fails(ERR_REFUSED, "fetch", "text/html");
}

static const char *garbled;
static bool garbled_reply(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, garbled) != 0)
        return false;
    answer_text(a, 200, "text/html", "<h1>maintenance</h1>");
    return true;
}

static void a_reply_that_is_no_json_names_the_host_and_the_step(void **state)
{
    static const struct {
        const char *operation, *step;
        bool resumable;
    } cases[] = {
        {"new-order", "new-order", false},
        {"authz", "authorize", false},
        {"finalize", "finalize", true}, /* asked once more about the same order */
        {"order", "poll", true},
    };

    (void)state;
    ca.override = garbled_reply;
    ca.order_polls = 1;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        garbled = cases[i].operation;
        fails(ERR_REFUSED, cases[i].step, "ca.example: the CA answered with text/html");
        assert_non_null(run.err->hint);
        assert_true(run.resumable == cases[i].resumable);
        assert_null(strstr(run.err->text, "maintenance"));
    }

    /* The second time around the order is given up. */
    json_t *saved = json_incref(run.state);
    run_order(saved);
    json_decref(saved);
    assert_non_null(run.err);
    assert_false(run.resumable);
}

static bool unavailable_once(const char *operation, const struct test_query *q,
                             struct test_answer *a)
{
    static bool said;

    (void)q;
    if (strcmp(operation, "finalize") != 0 || said)
        return false;
    said = true;
    answer_text(a, 503, "text/plain", "");
    answer_header(a, "retry-after", "1");
    return true;
}

static void a_short_retry_after_is_waited_for(void **state)
{
    (void)state;
    ca.override = unavailable_once;
    issues();
    assert_int_equal(ca.new_orders, 1);
    assert_int_equal(ca.finalizes, 1);
}

static bool limited(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "new-order") != 0)
        return false;
    ca.new_orders++;
    answer_problem(a, 429, "rateLimited", "too many");
    answer_header(a, "retry-after", "7200");
    return true;
}

static void a_long_one_is_the_owners_to_wait_for(void **state)
{
    (void)state;
    ca.override = limited;
    fails(ERR_LIMITED, "new-order", "too many");
    assert_int_equal(ca.new_orders, 1);
    assert_true(run.err->retry_at >= clock_now() + 7000);
}

static bool plain_http(const char *operation, const struct test_query *q, struct test_answer *a)
{
    if (strcmp(operation, "new-order") != 0)
        return false;
    ca_new_order(q, a);
    auto_json json_t *j = json_parse(a->body, strlen(a->body), NULL);
    json_put_str(j, "finalize", "http://ca.example/finalize/0/0");
    set_string(&a->body, json_compact(j));
    return true;
}

static void urls_that_are_not_https_end_the_order(void **state)
{
    (void)state;
    ca.override = plain_http;
    fails(ERR_REFUSED, "new-order", "not https");
    assert_int_equal(run.saves, 0);
}

static bool no_location(const char *operation, const struct test_query *q, struct test_answer *a)
{
    if (strcmp(operation, "new-order") != 0)
        return false;
    ca_new_order(q, a);
    strv_done(&a->headers);
    answer_header(a, "content-type", "application/json");
    return true;
}

static void a_new_order_without_location_is_refused(void **state)
{
    (void)state;
    ca.override = no_location;
    fails(ERR_REFUSED, "new-order", "Location");
}

static void a_ca_that_never_ends_is_given_up(void **state)
{
    (void)state;
    ca.order_polls = 1000000;
    run.settings.deadline_s = 1;
    fails(ERR_TRANSIENT, "poll", "gave up");
    assert_true(run.resumable);
}

static void a_validation_that_never_ends_is_given_up(void **state)
{
    (void)state;
    ca.authz_polls = 1000000;
    run.settings.deadline_s = 1;
    fails(ERR_TRANSIENT, "authorize", "gave up");
    assert_true(run.resumable);
}

static bool ready_for_ever(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "finalize") != 0)
        return false;
    ca.finalizes++;
    ca_say_order(a, 200, 0); /* still "ready" */
    return true;
}

static void a_ca_that_leads_in_circles_is_given_up(void **state)
{
    (void)state;
    ca.override = ready_for_ever;
    fails(ERR_REFUSED, "finalize", "keeps the order");
    assert_true(ca.finalizes <= 5);
}

static bool invalid_at_finalize(const char *operation, const struct test_query *q,
                                struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "finalize") != 0)
        return false;
    answer_json(a, 200,
                json_pack("{s:s,s:{s:s,s:s}}", "status", "invalid", "error", "type",
                          ACME_ERROR_URN "caa", "detail", "forbidden by CAA"));
    return true;
}

static void an_invalid_order_tells_its_error(void **state)
{
    (void)state;
    ca.override = invalid_at_finalize;
    fails(ERR_REFUSED, "authorize", "forbidden by CAA");
    assert_string_equal(run.err->problem, "caa");
    assert_false(run.resumable);
}

static void the_account_key_is_never_a_certificate_key(void **state)
{
    (void)state;
    run.settings.key = session_key(session);
    fails(ERR_CONFIG, "account", "key");
    assert_int_equal(ca.new_orders, 0);
}

/* What the CA counts --------------------------------------------------------------------------- */

static void what_the_ca_counts_is_told(void **state)
{
    (void)state;
    issues();
    assert_non_null(strstr(counted, "may placed "));
    for (size_t i = 0; i < run.settings.names.n; i++) {
        auto_free char *expected = xasprintf("validated:%s+ ", run.settings.names.items[i]);
        assert_non_null(strstr(counted, expected));
    }
    assert_null(strstr(counted, "refused"));
}

static void our_own_count_may_keep_an_order_from_being_placed(void **state)
{
    (void)state;
    may_not_place = true;
    fails(ERR_LIMITED, "new-order", "our own count says no");
    may_not_place = false;
    assert_string_equal(counted, "may ");
    assert_int_equal(ca.new_orders, 0);
    assert_false(run.resumable);
}

static void what_the_ca_refuses_is_told(void **state)
{
    (void)state;
    ca.override = limited;
    fails(ERR_LIMITED, "new-order", "too many");
    assert_string_equal(counted, "may refused:rateLimited ");
}

/* Accounts, profiles, replaces, chains -------------------------------------------------------- */

static void an_account_the_ca_lost_is_registered_again_with_the_same_key(void **state)
{
    (void)state;
    struct key *key = session_key(session);

    ca.account_known = false;
    issues();
    assert_ptr_equal(session_key(session), key);
    assert_int_equal(ca.lookups, 1);
    assert_int_equal(ca.accounts, 1);
    assert_int_equal(run.account_saves, 1);
    assert_string_equal(json_str(run.account, "url"), CA_BASE "/account/1");
}

static bool never_known(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)q;
    if (strcmp(operation, "new-order") != 0)
        return false;
    answer_problem(a, 400, "accountDoesNotExist", "who?");
    return true;
}

static void but_only_once(void **state)
{
    (void)state;
    ca.override = never_known;
    fails(ERR_REFUSED, "new-order", "accountDoesNotExist");
    assert_int_equal(ca.lookups, 1);
}

static void a_profile_that_is_offered_is_asked_for(void **state)
{
    (void)state;
    ca.meta = "{\"profiles\":{\"classic\":\"x\",\"tlsserver\":\"y\"}}";
    run.settings.profile = "tlsserver";
    issues();
    assert_string_equal(json_str(ca.last_order, "profile"), "tlsserver");
}

static void a_profile_that_is_not_offered_is_left_out(void **state)
{
    (void)state;
    ca.meta = "{\"profiles\":{\"classic\":\"x\"}}";
    run.settings.profile = "tlsserver";
    issues();
    assert_null(json_get(ca.last_order, "profile"));
}

static void a_required_profile_that_is_not_offered_is_an_error(void **state)
{
    (void)state;
    ca.meta = "{\"profiles\":{\"classic\":\"x\",\"short\":\"y\"}}";
    run.settings.profile = "tlsserver";
    run.settings.profile_required = true;
    fails(ERR_CONFIG, "new-order", "tlsserver");
    assert_non_null(strstr(run.err->hint, "classic, short"));
    assert_int_equal(ca.new_orders, 0);
}

static bool refuse_profile(const char *operation, const struct test_query *q, struct test_answer *a)
{
    if (strcmp(operation, "new-order") != 0 || !json_get(q->json, "profile"))
        return false;
    answer_problem(a, 400, "invalidProfile", "not for you");
    return true;
}

static void a_refused_profile_is_left_out_unless_required(void **state)
{
    (void)state;
    ca.meta = "{\"profiles\":{\"tlsserver\":\"y\"}}";
    ca.override = refuse_profile;
    run.settings.profile = "tlsserver";
    issues();
    assert_int_equal(ca.new_orders, 1);
    run.settings.profile_required = true;
    fails(ERR_CONFIG, "new-order", "tlsserver");
}

static bool refuse_replaces(const char *operation, const struct test_query *q,
                            struct test_answer *a)
{
    if (strcmp(operation, "new-order") != 0 || !json_get(q->json, "replaces"))
        return false;
    answer_problem(a, 409, "alreadyReplaced", "too late");
    return true;
}

static void replaces_is_sent_to_cas_with_ari_and_dropped_when_refused(void **state)
{
    (void)state;
    run.settings.replaces = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
    issues();
    assert_null(json_get(ca.last_order, "replaces"));
    assert_non_null(strstr(counted, "may placed "));
    ca.ari = true;
    session_forget_directory(session);
    issues();
    assert_string_equal(json_str(ca.last_order, "replaces"), run.settings.replaces);
    assert_non_null(strstr(counted, "may+ placed+ "));
    assert_true(json_bool(run.state, "replaces"));
    ca.override = refuse_replaces;
    issues();
    assert_null(json_get(ca.last_order, "replaces"));
}

static bool with_alternates(const char *operation, const struct test_query *q,
                            struct test_answer *a)
{
    if (strcmp(operation, "certificate") != 0)
        return false;
    ca.downloads++;
    if (strstr(q->url, "/0/1")) {
        answer_text(a, 200, "text/html", "broken");
        return true;
    }
    ca_say_certificate(a, &ca.orders[0]);
    answer_header(a, "link", "<1>;rel=\"alternate\"");
    answer_header(a, "link", "<2>;rel=\"alternate\"");
    if (strstr(q->url, "/0/2")) { /* with the root: another topmost issuer */
        auto_chain struct chain *c = chain_from_pem(a->body, strlen(a->body), NULL);
        chain_add(c, test_copy(ca.pki.root));
        set_string(&a->body, chain_to_pem(c, 0));
    }
    return true;
}

static void alternates_are_fetched_only_for_a_preferred_chain(void **state)
{
    (void)state;
    auto_free char *sha256 = xstrdup(ca.pki.root->sha256_hex);

    ca.override = with_alternates;
    issues();
    assert_int_equal(ca.downloads, 1);

    strv_done(&ca.orders[0].names);
    memset(&ca.orders[0], 0, sizeof(ca.orders[0]));
    ca.n_orders = 0;
    run.settings.preferred_chain = sha256;
    run_order(NULL);
    assert_null(run.err);
    assert_int_equal(ca.downloads, 1 + 3);
    assert_int_equal(run.chain->n, 3);
}

static void without_the_preferred_chain_the_first_is_taken(void **state)
{
    (void)state;
    ca.override = with_alternates;
    run.settings.preferred_chain = "No Such Root";
    issues();
    assert_int_equal(ca.downloads, 3);
}

/* Freeing ------------------------------------------------------------------------------------- */

static unsigned free_at;
static bool free_there(const char *operation, const struct test_query *q, struct test_answer *a)
{
    (void)operation;
    (void)q;
    (void)a;
    if (test_http.calls >= free_at)
        loop_exit(loop, 1);
    return false;
}

static void may_be_freed_at_any_point(void **state)
{
    (void)state;
    strv_add(&run.settings.names, "b.example");
    ca.override = free_there;
    ca.saved = true;
    for (unsigned n = 1; n <= 16; n++) {
        ca.n_orders = 0;
        for (int i = 0; i < CA_ORDERS_MAX; i++)
            strv_done(&ca.orders[i].names);
        memset(ca.orders, 0, sizeof(ca.orders));
        forget_result();
        ca.saved = true;
        test_http.calls = 0;
        free_at = n;
        run.order = order_start(&run.settings, &events, NULL);
        loop_run(loop);
        order_free(take(run.order));
        timer_free(take(run.turn));
        assert_int_equal(test_http.under_way, 0);
        assert_int_equal(shown.presented, shown.withdrawn);
    }
}

static void on_abandoned(void *userdata)
{
    (*(unsigned *)userdata)++;
    loop_exit(loop, 0);
}

static void abandoning_deactivates_what_is_pending(void **state)
{
    (void)state;
    unsigned calls = 0;

    strv_add(&run.settings.names, "b.example");
    ca.override = stop_there;
    stop_at = "challenge";
    run.order = order_start(&run.settings, &events, NULL);
    loop_run(loop);
    order_free(take(run.order));
    ca_set(ca.orders[0].authz[0], "valid");
    order_abandon(session, run.state, on_abandoned, &calls);
    loop_run(loop);
    assert_int_equal(calls, 1);
    assert_int_equal(ca.deactivated, 1);
    assert_string_equal(ca.orders[0].authz[0], "valid");

    order_abandon(session, NULL, on_abandoned, &calls);
    loop_run(loop);
    assert_int_equal(calls, 2);
    abandon_free(order_abandon(session, run.state, on_abandoned, &calls));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(issues_a_certificate),
        T(needs_no_more_requests_than_there_are_steps),
        T(issues_while_half_the_nonces_are_refused),
        T(validates_many_names_side_by_side),
        T(valid_authorizations_are_not_answered),
        T(there_may_be_fewer_authorizations_than_names),
        T(a_processing_order_is_waited_for),
        T(an_order_that_is_not_ready_yet_is_asked_about),
        T(new_order_may_be_past_any_step),
        T(takes_the_same_order_up_wherever_it_was_stopped),
        T(an_order_the_ca_forgot_is_replaced),
        T(an_order_that_became_invalid_is_replaced),
        T(an_order_of_another_account_is_replaced),
        T(a_state_of_another_version_is_not_used),
        T(a_lost_reply_costs_no_certificate),
        T(lasting_network_trouble_leaves_the_order_resumable),
        T(a_failed_name_is_named_and_the_others_are_given_up),
        T(every_failed_name_is_named),
        T(pending_authorizations_are_deactivated),
        T(nothing_is_answered_when_a_token_cannot_be_shown),
        T(nothing_is_answered_when_the_url_cannot_be_saved),
        T(a_bad_csr_keeps_the_order),
        T(a_certificate_for_other_names_is_refused),
        T(a_certificate_for_another_key_is_refused),
        T(a_certificate_of_another_type_is_refused),
        T(a_reply_that_is_no_json_names_the_host_and_the_step),
        T(a_short_retry_after_is_waited_for),
        T(a_long_one_is_the_owners_to_wait_for),
        T(urls_that_are_not_https_end_the_order),
        T(a_new_order_without_location_is_refused),
        T(a_ca_that_never_ends_is_given_up),
        T(a_validation_that_never_ends_is_given_up),
        T(a_ca_that_leads_in_circles_is_given_up),
        T(an_invalid_order_tells_its_error),
        T(the_account_key_is_never_a_certificate_key),
        T(an_account_the_ca_lost_is_registered_again_with_the_same_key),
        T(but_only_once),
        T(a_profile_that_is_offered_is_asked_for),
        T(a_profile_that_is_not_offered_is_left_out),
        T(a_required_profile_that_is_not_offered_is_an_error),
        T(a_refused_profile_is_left_out_unless_required),
        T(what_the_ca_counts_is_told),
        T(our_own_count_may_keep_an_order_from_being_placed),
        T(what_the_ca_refuses_is_told),
        T(replaces_is_sent_to_cas_with_ari_and_dropped_when_refused),
        T(alternates_are_fetched_only_for_a_preferred_chain),
        T(without_the_preferred_chain_the_first_is_taken),
        T(may_be_freed_at_any_point),
        T(abandoning_deactivates_what_is_pending),
    };

    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
