#include "acme/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

#define PASSES_MAX 2000

static struct loop *loop;
static struct gate *gate;

static struct {
    size_t n, expected;
    int64_t at_ms[PASSES_MAX];
    size_t ids[PASSES_MAX];
    struct gate_wait *drop; /* given up in the next callback */
    bool add;               /* the next callback waits again */
} seen;

static const char *const ids[] = {"order-1", "order-2", "poll-1", "order-3", "poll-2"};

static int setup(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    memset(&seen, 0, sizeof(seen));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gate_free(take(gate));
    loop_free(loop);
    return 0;
}

static void on_pass(void *userdata)
{
    seen.at_ms[seen.n] = clock_boot_ms();
    seen.ids[seen.n++] = (size_t)((const char *const *)userdata - ids);
    gate_wait_free(take(seen.drop));
    if (seen.add) {
        seen.add = false;
        gate_wait(gate, "order", on_pass, userdata);
    }
    if (seen.n == seen.expected)
        loop_exit(loop, 0);
}

static struct gate_wait *wait_as(size_t id)
{
    const char *const *name = &ids[id];

    return gate_wait(gate, strncmp(*name, "order", 5) == 0 ? "order" : "poll", on_pass,
                     (void *)(uintptr_t)name);
}

static void run(size_t expected)
{
    seen.expected = expected;
    loop_run(loop);
    assert_int_equal(seen.n, expected);
}

static void make(const struct gate_rule *rules, size_t n, int64_t total)
{
    gate = gate_new(loop, rules, n, &(struct rate){total, 1});
}

static void lets_everything_pass_without_rules(void **state)
{
    (void)state;
    make(NULL, 0, 0);
    for (int i = 0; i < 10000; i++) {
        assert_true(gate_try(gate, "order"));
        assert_true(gate_try(NULL, "order"));
    }
}

static void keeps_each_rule_and_what_no_rule_names(void **state)
{
    static const struct gate_rule rules[] = {{"order", {2, 60}}, {NULL, {3, 60}}};
    int passed[2] = {0};

    (void)state;
    make(rules, ARRAY_LEN(rules), 0);
    for (int i = 0; i < 10; i++) {
        passed[0] += gate_try(gate, "order");
        passed[1] += gate_try(gate, i % 2 ? "poll" : "challenge");
    }
    assert_int_equal(passed[0], 2);
    assert_int_equal(passed[1], 3);
}

static void keeps_the_total_over_all_rules(void **state)
{
    static const struct gate_rule rules[] = {{"order", {100, 1}}};
    int passed = 0;

    (void)state;
    make(rules, 1, 5);
    for (int i = 0; i < 10; i++)
        passed += gate_try(gate, i % 2 ? "poll" : "order");
    assert_int_equal(passed, 5);
}

static void no_second_sees_more_than_the_rate(void **state)
{
    (void)state;
    make(NULL, 0, 20);
    for (int i = 0; i < 50; i++)
        wait_as(0);
    run(50);
    for (size_t i = 20; i < seen.n; i++)
        assert_true(seen.at_ms[i] - seen.at_ms[i - 20] >= 1000);
    assert_true(seen.at_ms[49] - seen.at_ms[0] < 4000); /* and the rate is used */
}

static void those_who_wait_pass_in_order(void **state)
{
    static const size_t wanted[] = {0, 1, 2, 3, 4};

    (void)state;
    make(NULL, 0, 3);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        wait_as(i);
    assert_false(gate_try(gate, "order")); /* nobody overtakes */
    run(5);
    assert_memory_equal(seen.ids, wanted, sizeof(wanted));
}

static void what_must_wait_holds_up_nothing_else(void **state)
{
    static const struct gate_rule rules[] = {{"order", {1, 1}}};
    static const size_t wanted[] = {0, 2, 4, 1};

    (void)state;
    make(rules, 1, 0);
    struct gate_wait *left = NULL;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct gate_wait *w = wait_as(i);
        if (i == 3)
            left = w;
    }
    assert_false(gate_try(gate, "challenge")); /* behind the polls */
    run(4);
    assert_memory_equal(seen.ids, wanted, sizeof(wanted));
    gate_free(take(gate));
    gate_wait_free(left); /* never passed */
}

static void callbacks_may_drop_and_add(void **state)
{
    static const size_t wanted[] = {0, 3, 0};

    (void)state;
    make(NULL, 0, 100);
    wait_as(0);
    seen.drop = wait_as(1);
    gate_wait_free(wait_as(2));
    wait_as(3);
    seen.add = true;
    run(3);
    assert_memory_equal(seen.ids, wanted, sizeof(wanted));
    gate_wait_free(NULL);
}

static void a_place_given_up_is_somebody_elses(void **state)
{
    static const size_t wanted[] = {1};

    (void)state;
    make(NULL, 0, 1);
    struct gate_wait *w = wait_as(0);
    wait_as(1);
    gate_wait_free(w);
    run(1);
    assert_memory_equal(seen.ids, wanted, sizeof(wanted));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lets_everything_pass_without_rules), TEST(keeps_each_rule_and_what_no_rule_names),
        TEST(keeps_the_total_over_all_rules),     TEST(no_second_sees_more_than_the_rate),
        TEST(those_who_wait_pass_in_order),       TEST(what_must_wait_holds_up_nothing_else),
        TEST(callbacks_may_drop_and_add),         TEST(a_place_given_up_is_somebody_elses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
