#include "agent/order_count.h"

#include "base/clock.h"
#include "store/test_store.h"

#define PRODUCTION "https://acme-v02.api.letsencrypt.org/directory"

static struct services services;
static struct authority *authority;
static struct strv names;
static struct order_count count;

static void start(struct test_store *t)
{
    test_open(t);
    services = (struct services){.loop = t->loop, .worker = t->worker, .state = t->state};
    authority = authority_new(&services, PRODUCTION, NULL);
    count = (struct order_count){
        .authority = authority, .certificate = "www", .order = {.names = &names}};
}

static void stop(struct test_store *t)
{
    authority_free(authority);
    state_free(t->state);
    t->state = NULL;
    worker_free(t->worker); /* writes what is waiting, and then the lock is free */
    t->worker = worker_new(t->loop, 2, NULL);
}

static int setup(void **state)
{
    (void)!test_store_setup(state);
    strv_add(&names, "www.example.org");
    start(*state);
    log_init(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    return 0;
}

static int teardown(void **state)
{
    stop(*state);
    strv_done(&names);
    return test_store_teardown(state);
}

static bool may(bool replaces)
{
    return order_count_may_place(&count, replaces, NULL);
}

static void fail_five_times(void)
{
    for (int i = 0; i < 5; i++)
        order_count_validated(&count, "www.example.org", false);
}

static void five_failed_validations_stop_the_next_order(void **state)
{
    (void)state;
    auto_err struct err *e = NULL;

    assert_true(may(false));
    order_count_placed(&count, false);
    fail_five_times();
    order_count_ended(&count, false);
    assert_false(order_count_may_place(&count, false, &e));
    assert_int_equal(e->kind, ERR_LIMITED);
    assert_true(e->retry_at > clock_now());
}

static void force_passes_our_own_count(void **state)
{
    (void)state;
    fail_five_times();
    assert_false(may(false));
    count.force = true;
    assert_true(may(false));
}

static void a_replacement_by_ari_is_exempt(void **state)
{
    (void)state;
    fail_five_times();
    assert_true(may(true));
    assert_true(count.order.replaces);
}

static void five_certificates_of_the_same_names_are_enough(void **state)
{
    (void)state;
    count.order.same_names = true;
    for (int i = 0; i < 5; i++) {
        assert_true(may(false));
        order_count_placed(&count, false);
        order_count_ended(&count, true);
        order_count_ended(&count, true); /* counts once */
    }
    assert_false(may(false));
}

static void an_order_given_up_for_another_holds_nothing(void **state)
{
    (void)state;
    struct limits *l = authority_limits(authority);

    for (int i = 0; i < 20; i++) {
        assert_true(may(false));
        order_count_placed(&count, false);
    }
    order_count_ended(&count, false);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, clock_now()), 5);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, clock_now()), 280);
}

static void orders_asked_for_at_once_do_not_share_a_token(void **state)
{
    (void)state;
    struct limits_config config = {.orders = {2, 3600}};
    struct order_count others[3] = {count, count, count};

    authority_configure(authority, &config);
    assert_true(order_count_may_place(&others[0], false, NULL));
    assert_true(order_count_may_place(&others[1], false, NULL));
    assert_false(order_count_may_place(&others[2], false, NULL));
    order_count_ended(&others[1], false); /* was never placed */
    assert_true(order_count_may_place(&others[2], false, NULL));
    order_count_placed(&others[0], false);
    order_count_placed(&others[2], false);
    assert_false(order_count_may_place(&others[1], false, NULL));
    order_count_ended(&others[0], true);
    order_count_ended(&others[2], true);
    assert_int_equal(limits_remaining(authority_limits(authority), LIMIT_ORDERS, clock_now()), 0);
}

static void a_resumed_order_is_reserved_but_not_counted_again(void **state)
{
    (void)state;
    struct limits *l = authority_limits(authority);

    order_count_resumed(&count, false);
    assert_int_equal(limits_remaining(l, LIMIT_ORDERS, clock_now()), 300);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, clock_now()), 4);
    order_count_ended(&count, true);
    assert_int_equal(limits_remaining(l, LIMIT_SAME_NAMES, clock_now()), 4);
}

static void what_was_counted_survives_a_restart(void **state)
{
    struct test_store *t = *state;

    fail_five_times();
    stop(t);
    start(t);
    assert_false(may(false));
}

static void a_pause_survives_a_restart_and_ends_with_a_success(void **state)
{
    struct test_store *t = *state;
    struct err e = {.kind = ERR_LIMITED,
                    .problem = (char[]){"rateLimited"},
                    .code = 429,
                    .text = (char[]){"too many failed authorizations for www.example.org; unpause "
                                     "at https://portal.example/unpause?jwt=abc"}};

    order_count_refused(&count, &e);
    assert_true(limits_is_paused(authority_limits(authority)));
    assert_false(may(false));
    stop(t);
    start(t);
    assert_true(limits_is_paused(authority_limits(authority)));
    order_count_validated(&count, "www.example.org", true);
    assert_false(limits_is_paused(authority_limits(authority)));
    assert_true(may(false));
}

static void on_time(void *userdata)
{
    loop_exit(userdata, 0);
}

static void is_saved_soon_without_being_asked(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *saved = NULL;

    fail_five_times();
    for (int i = 0; i < 100 && !saved; i++) {
        struct timer *turn = timer_after(t->loop, 50, on_time, t->loop);
        loop_run(t->loop);
        timer_free(turn);
        saved = state_load_limits(t->state, PRODUCTION, NULL);
    }
    assert_non_null(json_get(json_get(saved, "rows"), "failures"));
}

static void a_jump_of_our_clock_is_not_believed_alone(void **state)
{
    auto_err struct err *e = NULL;
    time_t now = clock_now();

    (void)state;
    count.due_at = now - 100;
    assert_true(may(false)); /* nobody knows better */
    authority_dated(authority, now);
    assert_true(may(false));
    authority_dated(authority, now - 10 * 365 * 86400);
    assert_false(order_count_may_place(&count, false, &e));
    assert_int_equal(e->kind, ERR_SYSTEM);
    assert_string_equal(e->step, "clock");
    assert_non_null(strstr(e->text, "ahead of the CA"));
    count.due_at = now - 20 * 365 * 86400; /* by both clocks */
    assert_true(may(false));
    count.due_at = 0; /* for other reasons */
    assert_true(may(false));
    count.due_at = now - 100;
    count.force = true;
    assert_true(may(false));
    count.force = false;
    authority_dated(authority, now + 10 * 365 * 86400); /* ours is behind */
    assert_true(may(false));
}

static void damage_is_set_aside_and_counted_anew(void **state)
{
    struct test_store *t = *state;

    fail_five_times();
    stop(t);
    test_open(t);
    auto_json json_t *good = state_load_limits(t->state, PRODUCTION, NULL);
    auto_free char *text = json_text(good);
    state_free(take(t->state));
    for (size_t len = 0; len + 1 < strlen(text); len += 7) { /* the last octet is a newline */
        auto_free char *folder = NULL;
        auto_free char *path = NULL;
        DIR *d = NULL;
        auto_free char *accounts = xasprintf("%s/accounts", t->path);
        d = opendir(accounts);
        for (struct dirent *entry; d && (entry = readdir(d));) {
            if (entry->d_name[0] != '.')
                set_string(&folder, xstrdup(entry->d_name));
        }
        closedir(d);
        path = xasprintf("%s/%s/limits.json", accounts, folder);
        FILE *f = fopen(path, "w");
        fwrite(text, 1, len, f);
        fchmod(fileno(f), 0600);
        fclose(f);
        start(t);
        assert_true(may(false));
        stop(t);
    }
    start(t);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(five_failed_validations_stop_the_next_order),
        T(force_passes_our_own_count),
        T(a_replacement_by_ari_is_exempt),
        T(five_certificates_of_the_same_names_are_enough),
        T(an_order_given_up_for_another_holds_nothing),
        T(orders_asked_for_at_once_do_not_share_a_token),
        T(a_resumed_order_is_reserved_but_not_counted_again),
        T(what_was_counted_survives_a_restart),
        T(a_pause_survives_a_restart_and_ends_with_a_success),
        T(is_saved_soon_without_being_asked),
        T(a_jump_of_our_clock_is_not_believed_alone),
        T(damage_is_set_aside_and_counted_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
