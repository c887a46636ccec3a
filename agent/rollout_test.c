#include "agent/rollout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/metrics.h"
#include "base/clock.h"
#include "base/loop.h"
#include "hooks/job.h"

#define MEMBERS 4

/* A server whose reloads end as the test says. */
static struct {
    enum reload_result results[8]; /* of the reloads, in order */
    struct strv seen;              /* "REASON CERTIFICATES" of each */
} script;

static struct hook_job *scripted_reload(const struct server *s, struct loop *l,
                                        const struct hook_event *event, reload_fn *fn,
                                        void *userdata)
{
    enum reload_result result = script.results[script.seen.n];
    auto_err struct err *e = NULL;

    (void)s;
    strv_addf(&script.seen, "%s %s", event->reason, event->certificates);
    if (result == RELOAD_FAILED)
        err_set(&e, ERR_SYSTEM, "it does not want to");
    return hook_result(l, result, e, fn, userdata);
}

static const struct server_type scripted = {.name = "scripted", .reload = scripted_reload};

/* One certificate on its way through the rollout. */
struct member {
    struct fixture *fixture;
    char name[8];
    struct rollout_pass *pass;
    struct rollout_call *call;
    bool exclusive, granted, told, failed, check_failed, shared;
    void (*then)(struct member *m); /* after a call ended */
};

struct fixture {
    struct loop *loop;
    struct services services;
    char server_name[8];
    struct config config;
    struct config_server server;
    struct rollout *rollout;
    struct member members[MEMBERS];
    size_t open; /* ends the loop at 0 */
    struct timer *late;
};

static void on_late(void *userdata)
{
    struct fixture *f = userdata;
    loop_exit(f->loop, 1);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    memset(&script, 0, sizeof script);
    f->loop = loop_new(NULL);
    f->services = (struct services){.loop = f->loop, .metrics = metrics_new()};
    f->config.refs = 1000; /* never freed */
    strcpy(f->server_name, "srv");
    f->server.server = (struct server){
        .type = &scripted, .name = f->server_name, .check_off = true, .timeout_s = 5};
    f->rollout = rollout_new(&f->services, &f->config, &f->server);
    for (size_t i = 0; i < MEMBERS; i++) {
        f->members[i].fixture = f;
        snprintf(f->members[i].name, sizeof f->members[i].name, "m%zu", i);
    }
    f->late = timer_after(f->loop, 20000, on_late, f);
    *state = f;
    return f->loop ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < MEMBERS; i++) {
        rollout_call_free(f->members[i].call);
        rollout_leave(f->members[i].pass);
    }
    rollout_free(f->rollout);
    timer_free(f->late);
    metrics_free(f->services.metrics);
    loop_free(f->loop);
    strv_done(&script.seen);
    strv_done(&f->server.server.check);
    free(f);
    return 0;
}

/* Runs until everything that is open was told. */
static void run(struct fixture *f)
{
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(f->open, 0);
}

static void over(struct fixture *f)
{
    if (--f->open == 0)
        loop_exit(f->loop, 0);
}

static void on_granted(void *userdata)
{
    struct member *m = userdata;
    m->granted = true;
    over(m->fixture);
}

static void enter(struct fixture *f, size_t n, bool exclusive)
{
    struct member *m = &f->members[n];
    f->open++;
    m->granted = false;
    m->exclusive = exclusive;
    m->pass = rollout_enter(f->rollout, exclusive, on_granted, m);
}

static void on_told(const struct rollout_result *result, void *userdata)
{
    struct member *m = userdata;
    m->call = NULL;
    m->told = true;
    m->failed = result->error != NULL;
    m->check_failed = result->check_failed;
    m->shared = result->shared;
    if (m->then)
        m->then(m);
    over(m->fixture);
}

static void ask(struct member *m, enum rollout_kind kind)
{
    struct hook_event event = {.certificate = m->name,
                               .reason = kind == ROLLOUT_BACK ? "back" : "forward"};
    m->fixture->open++;
    m->told = false;
    m->call = rollout_start(m->fixture->rollout, kind, m->pass, &event, on_told, m);
}

static void enter_all(struct fixture *f, size_t n)
{
    for (size_t i = 0; i < n; i++)
        enter(f, i, false);
    run(f);
}

static void one_reload_does_for_all_that_wait(void **state)
{
    struct fixture *f = *state;
    enter_all(f, 3);
    for (size_t i = 0; i < 3; i++)
        ask(&f->members[i], ROLLOUT_FORWARD);
    run(f);
    assert_int_equal(script.seen.n, 1);
    assert_string_equal(script.seen.items[0], "forward m0,m1,m2");
    for (size_t i = 0; i < 3; i++)
        assert_false(f->members[i].failed);
    assert_true(f->members[0].shared);
}

static void ask_the_second(struct member *m)
{
    /* `m` is the check that was awaited: only now does the other one come. */
    ask(&m->fixture->members[1], ROLLOUT_FORWARD);
    rollout_unexpect(m->fixture->rollout);
}

static void a_batch_waits_for_one_that_is_expected(void **state)
{
    struct fixture *f = *state;
    int64_t begin = clock_boot_ms();
    enter_all(f, 3);
    rollout_expect(f->rollout);
    ask(&f->members[0], ROLLOUT_FORWARD);
    f->members[2].then = ask_the_second;
    ask(&f->members[2], ROLLOUT_CHECK); /* checks do not wait for batches */
    run(f);
    assert_int_equal(script.seen.n, 1);
    assert_string_equal(script.seen.items[0], "forward m0,m1");
    assert_true(clock_boot_ms() - begin < 4000); /* closed as soon as nothing else was under way */
}

static void a_batch_waits_at_most_five_seconds(void **state)
{
    struct fixture *f = *state;
    int64_t begin = clock_boot_ms();
    enter_all(f, 1);
    rollout_expect(f->rollout);
    ask(&f->members[0], ROLLOUT_FORWARD);
    run(f);
    assert_in_range(clock_boot_ms() - begin, 4900, 10000);
    assert_int_equal(script.seen.n, 1);
}

static void go_back(struct member *m)
{
    m->then = NULL;
    if (m->failed)
        ask(m, ROLLOUT_BACK);
}

static void a_failed_batch_goes_back_as_one_without_delay(void **state)
{
    struct fixture *f = *state;
    int64_t begin = clock_boot_ms();
    script.results[0] = RELOAD_FAILED;
    enter_all(f, 3);
    for (size_t i = 0; i < 3; i++) {
        f->members[i].then = go_back;
        ask(&f->members[i], ROLLOUT_FORWARD);
    }
    run(f);
    assert_int_equal(script.seen.n, 2);
    assert_string_equal(script.seen.items[1], "back m0,m1,m2");
    assert_true(clock_boot_ms() - begin < 4000);
}

static void leave(struct member *m)
{
    rollout_leave(m->pass);
    m->pass = NULL;
}

static void nothing_is_reloaded_before_every_member_is_back(void **state)
{
    struct fixture *f = *state;
    script.results[0] = RELOAD_FAILED;
    enter_all(f, 2);
    f->members[0].then = go_back;
    ask(&f->members[0], ROLLOUT_FORWARD);
    ask(&f->members[1], ROLLOUT_FORWARD);
    f->open--; /* m1 does not come back at once, so m0's way back must not end */
    f->members[1].then = NULL;
    assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(script.seen.n, 1);
    assert_false(f->members[0].told);
    leave(&f->members[1]);
    f->open = 1;
    run(f);
    assert_int_equal(script.seen.n, 2);
    assert_string_equal(script.seen.items[1], "back m0");
}

static void one_that_stays_does_not_keep_the_others_from_going_back(void **state)
{
    struct fixture *f = *state;
    script.results[0] = RELOAD_FAILED;
    enter_all(f, 2);
    f->members[0].then = go_back;
    ask(&f->members[0], ROLLOUT_FORWARD);
    ask(&f->members[1], ROLLOUT_FORWARD);
    f->open--;
    assert_int_equal(loop_run(f->loop), 0);
    rollout_stay(f->members[1].pass);
    f->open = 1;
    run(f);
    assert_string_equal(script.seen.items[1], "back m0");
}

static void a_failed_check_reloads_nothing(void **state)
{
    struct fixture *f = *state;
    f->server.server.check_off = false;
    strv_add(&f->server.server.check, "/bin/false");
    enter_all(f, 1);
    ask(&f->members[0], ROLLOUT_FORWARD);
    run(f);
    assert_true(f->members[0].failed && f->members[0].check_failed);
    assert_false(f->members[0].shared);
    assert_int_equal(script.seen.n, 0);
}

static void exclusive_passes_come_one_by_one(void **state)
{
    struct fixture *f = *state;
    enter(f, 0, true);
    run(f);
    assert_false(rollout_pass_has_company(f->members[0].pass));
    enter(f, 1, true);
    enter(f, 2, false);
    f->open = 1; /* m1 only: the shared one comes behind it */
    leave(&f->members[0]);
    run(f);
    assert_true(f->members[1].granted);
    assert_false(f->members[2].granted);
    f->open = 1;
    leave(&f->members[1]);
    run(f);
    assert_true(f->members[2].granted);
}

static void shared_passes_have_company(void **state)
{
    struct fixture *f = *state;
    enter_all(f, 2);
    assert_true(rollout_pass_has_company(f->members[0].pass));
    leave(&f->members[1]);
    assert_false(rollout_pass_has_company(f->members[0].pass));
}

static void an_exclusive_one_does_not_wait_for_those_behind_it(void **state)
{
    struct fixture *f = *state;
    int64_t begin = clock_boot_ms();
    enter(f, 0, true);
    run(f);
    rollout_expect(f->rollout); /* it cannot come in anyway */
    ask(&f->members[0], ROLLOUT_FORWARD);
    run(f);
    assert_true(clock_boot_ms() - begin < 4000);
    assert_int_equal(script.seen.n, 1);
}

static void a_cancelled_call_is_not_told_and_not_reloaded_for(void **state)
{
    struct fixture *f = *state;
    enter_all(f, 2);
    ask(&f->members[0], ROLLOUT_FORWARD);
    ask(&f->members[1], ROLLOUT_FORWARD);
    rollout_call_free(take(f->members[1].call));
    f->open--;
    run(f);
    assert_string_equal(script.seen.items[0], "forward m0");
    assert_false(f->members[0].shared);
    assert_false(f->members[1].told);
}

static void a_new_configuration_takes_effect_when_nothing_runs(void **state)
{
    struct fixture *f = *state;
    struct config next = {.refs = 1000};
    struct config_server server = f->server;
    rollout_set_server(f->rollout, &next, &server);
    assert_ptr_equal(rollout_server(f->rollout), &server);
    assert_int_equal(f->config.refs, 1000); /* given back */
    rollout_set_server(f->rollout, &f->config, &f->server);
    assert_int_equal(next.refs, 1000);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(one_reload_does_for_all_that_wait),
        test(a_batch_waits_for_one_that_is_expected),
        test(a_batch_waits_at_most_five_seconds),
        test(a_failed_batch_goes_back_as_one_without_delay),
        test(nothing_is_reloaded_before_every_member_is_back),
        test(one_that_stays_does_not_keep_the_others_from_going_back),
        test(a_failed_check_reloads_nothing),
        test(exclusive_passes_come_one_by_one),
        test(shared_passes_have_company),
        test(an_exclusive_one_does_not_wait_for_those_behind_it),
        test(a_cancelled_call_is_not_told_and_not_reloaded_for),
        test(a_new_configuration_takes_effect_when_nothing_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
