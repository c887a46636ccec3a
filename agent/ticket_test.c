#include "agent/ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct seen {
    int calls, exit_status;
    struct ticket *other;       /* freed by the callback */
    struct ticket_list *add_to; /* gets a new ticket by the callback */
    struct ticket *added;
};

static const struct ticket_options plain = {0}, forced = {.force = true}, due = {.due_only = true};

static void on_told(const json_t *result, int exit_status, void *userdata)
{
    struct seen *s = userdata;
    assert_non_null(result);
    s->calls++;
    s->exit_status = exit_status;
    ticket_free(s->other);
    s->other = NULL;
    if (s->add_to) {
        s->added = tickets_add(s->add_to, &plain, on_told, s);
        s->add_to = NULL;
    }
}

static void tells_every_ticket_once(void **state)
{
    struct ticket_list list = {0};
    struct seen a = {0}, b = {0};
    auto_json json_t *j = json_object();
    (void)state;
    (void)tickets_add(&list, &plain, on_told, &a);
    (void)tickets_add(&list, &due, on_told, &b);
    tickets_tell(&list, TICKETS_ALL, j, 3);
    tickets_tell(&list, TICKETS_ALL, j, 0);
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    assert_int_equal(a.exit_status, 3);
    assert_null(list.first);
}

static void a_freed_ticket_is_not_told(void **state)
{
    struct ticket_list list = {0};
    struct seen a = {0}, b = {0}, c = {0};
    auto_json json_t *j = json_object();
    (void)state;
    struct ticket *first = tickets_add(&list, &plain, on_told, &a);
    (void)tickets_add(&list, &plain, on_told, &b);
    struct ticket *last = tickets_add(&list, &plain, on_told, &c);
    ticket_free(first);
    ticket_free(last);
    tickets_tell(&list, TICKETS_ALL, j, 0);
    assert_int_equal(a.calls + c.calls, 0);
    assert_int_equal(b.calls, 1);
}

static void a_callback_may_free_a_ticket_that_waits_behind_it(void **state)
{
    struct ticket_list list = {0};
    struct seen a = {0}, b = {0};
    auto_json json_t *j = json_object();
    (void)state;
    struct ticket *ta = tickets_add(&list, &plain, on_told, &a);
    struct ticket *tb = tickets_add(&list, &plain, on_told, &b);
    a.other = tb;
    b.other = ta;
    /* Whoever is told first frees the other one. */
    tickets_tell(&list, TICKETS_ALL, j, 0);
    assert_int_equal(a.calls + b.calls, 1);
}

static void one_added_while_others_are_told_waits_for_the_next_answer(void **state)
{
    struct ticket_list list = {0};
    struct seen a = {.add_to = &list};
    auto_json json_t *j = json_object();
    (void)state;
    (void)tickets_add(&list, &plain, on_told, &a);
    tickets_tell(&list, TICKETS_ALL, j, 0);
    assert_int_equal(a.calls, 1);
    assert_ptr_equal(list.first, a.added);
    tickets_tell(&list, TICKETS_ALL, j, 0);
    assert_int_equal(a.calls, 2);
}

static void knows_what_is_wanted(void **state)
{
    struct ticket_list list = {0};
    struct seen a = {0};
    (void)state;
    assert_false(tickets_force(&list));
    assert_false(tickets_ignore_backoff(&list));
    (void)tickets_add(&list, &due, on_told, &a);
    assert_false(tickets_force(&list));
    assert_false(tickets_ignore_backoff(&list));
    struct ticket *t = tickets_add(&list, &forced, on_told, &a);
    assert_true(tickets_force(&list));
    assert_true(tickets_ignore_backoff(&list));
    ticket_free(t);
    assert_false(tickets_force(&list));
    tickets_done(&list);
    assert_int_equal(a.calls, 0);
}

static void only_those_who_asked_for_it_are_told(void **state)
{
    const struct ticket_options deploy = {.action = TICKET_DEPLOY};
    struct ticket_list list = {0};
    struct seen a = {0}, b = {0};
    auto_json json_t *j = json_object();
    (void)state;
    (void)tickets_add(&list, &forced, on_told, &a);
    (void)tickets_add(&list, &deploy, on_told, &b);
    assert_false(tickets_grant(&list, TICKET_ROLLBACK));
    tickets_tell(&list, TICKETS_OF(TICKET_DEPLOY), j, 0);
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 1);
    assert_true(tickets_force(&list));
    tickets_tell(&list, TICKETS_OF(TICKET_DEPLOY) | TICKETS_OF(TICKET_RENEW), j, 0);
    assert_int_equal(a.calls, 1);
    assert_null(list.first);
}

static void rollbacks_to_one_generation_join_and_others_wait_their_turn(void **state)
{
    const struct ticket_options to_3 = {.action = TICKET_ROLLBACK, .generation = 3};
    const struct ticket_options to_4 = {.action = TICKET_ROLLBACK, .generation = 4};
    struct ticket_list list = {0};
    struct seen first = {0}, other = {0}, joins = {0}, late = {0};
    auto_json json_t *j = json_object();
    (void)state;
    (void)tickets_add(&list, &to_3, on_told, &first);
    (void)tickets_add(&list, &to_4, on_told, &other);
    (void)tickets_add(&list, &to_3, on_told, &joins);
    assert_int_equal(tickets_grant(&list, TICKET_ROLLBACK)->generation, 3);
    (void)tickets_add(&list, &to_3, on_told, &late);
    tickets_tell(&list, TICKETS_OF(TICKET_ROLLBACK), j, 0);
    assert_int_equal(first.calls + joins.calls, 2);
    assert_int_equal(other.calls + late.calls, 0);
    assert_int_equal(tickets_grant(&list, TICKET_ROLLBACK)->generation, 4);
    tickets_tell(&list, TICKETS_ALL, j, 0);
    assert_int_equal(other.calls + late.calls, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_every_ticket_once),
        cmocka_unit_test(a_freed_ticket_is_not_told),
        cmocka_unit_test(a_callback_may_free_a_ticket_that_waits_behind_it),
        cmocka_unit_test(one_added_while_others_are_told_waits_for_the_next_answer),
        cmocka_unit_test(knows_what_is_wanted),
        cmocka_unit_test(only_those_who_asked_for_it_are_told),
        cmocka_unit_test(rollbacks_to_one_generation_join_and_others_wait_their_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
