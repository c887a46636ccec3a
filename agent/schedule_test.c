#include "agent/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void survives_its_document(void **state)
{
    struct schedule s = {.jitter = 0.25,
                         .failures = 3,
                         .next_try = 1700000060,
                         .renew_at = 1700001000,
                         .last_success = 1690000000,
                         .attempt = xstrdup("0123456789abcdef"),
                         .revocation = {.serial = xstrdup("0a"), .generation = 3}};
    struct schedule back;
    (void)state;
    strv_add(&s.revoked, "0b");
    err_set(&s.error, ERR_LIMITED, "too many orders");
    s.error->retry_at = 1700005000;
    auto_json json_t *j = schedule_to_json(&s);
    schedule_read(&back, j);
    assert_true(back.jitter == s.jitter);
    assert_int_equal(back.failures, 3);
    assert_int_equal(back.next_try, 1700000060);
    assert_int_equal(back.renew_at, 1700001000);
    assert_int_equal(back.last_success, 1690000000);
    assert_string_equal(back.attempt, "0123456789abcdef");
    assert_int_equal(back.error->kind, ERR_LIMITED);
    assert_string_equal(back.error->text, "too many orders");
    assert_int_equal(back.error->retry_at, 1700005000);
    assert_string_equal(back.revocation.serial, "0a");
    assert_true(back.revoked.n == 1 && strv_has(&back.revoked, "0b"));
    schedule_done(&s);
    schedule_done(&back);
}

static void draws_its_jitter_once(void **state)
{
    struct schedule s, back;
    bool differ = false;
    (void)state;
    schedule_read(&s, NULL);
    assert_true(s.jitter >= 0 && s.jitter <= 1);
    auto_json json_t *j = schedule_to_json(&s);
    schedule_read(&back, j);
    assert_true(back.jitter == s.jitter);
    for (int i = 0; i < 20 && !differ; i++) {
        struct schedule other;
        schedule_read(&other, NULL);
        differ = other.jitter != s.jitter;
        schedule_done(&other);
    }
    assert_true(differ);
    schedule_done(&s);
    schedule_done(&back);
}

static void nonsense_becomes_nothing(void **state)
{
    static const char text[] = "{\"version\":1,\"jitter\":7,\"failures\":-4,\"next_try\":\"soon\","
                               "\"last_success\":12,\"error\":\"x\",\"attempt\":false}";
    struct schedule s;
    (void)state;
    auto_json json_t *j = json_parse(text, strlen(text), NULL);
    assert_non_null(j);
    schedule_read(&s, j);
    assert_true(s.jitter >= 0 && s.jitter <= 1);
    assert_int_equal(s.failures, 0);
    assert_int_equal(s.next_try, 0);
    assert_int_equal(s.last_success, 0);
    assert_null(s.error);
    assert_null(s.attempt);
    schedule_done(&s);
}

static void what_ari_said_survives_and_belongs_to_one_certificate(void **state)
{
    struct schedule s, back;
    (void)state;
    schedule_read(&s, NULL);
    schedule_bind_ari(&s, "aki.serial");
    s.ari.start = 1700000000;
    s.ari.at = 1700000500;
    s.ari.end = 1700001000;
    s.ari.next_poll = 1690000000;
    s.ari.url = xstrdup("https://ca.example/why");
    s.ari_renewals = 2;
    auto_json json_t *j = schedule_to_json(&s);
    schedule_read(&back, j);
    assert_int_equal(back.ari.at, 1700000500);
    assert_int_equal(back.ari.next_poll, 1690000000);
    assert_string_equal(back.ari.url, "https://ca.example/why");
    assert_int_equal(back.ari_renewals, 2);
    schedule_bind_ari(&back, "aki.serial");
    assert_int_equal(back.ari.start, 1700000000);
    schedule_bind_ari(&back, "aki.another");
    assert_int_equal(back.ari.at, 0);
    assert_int_equal(back.ari.next_poll, 0);
    schedule_done(&back);

    /* Damage: an instant outside of its window. */
    json_put_time(json_object_get(j, "ari"), "at", 1800000000);
    schedule_read(&back, j);
    assert_int_equal(back.ari.at, 0);
    assert_int_equal(back.ari.end, 0);
    schedule_done(&back);
    schedule_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ari_said_survives_and_belongs_to_one_certificate),
        cmocka_unit_test(survives_its_document),
        cmocka_unit_test(draws_its_jitter_once),
        cmocka_unit_test(nonsense_becomes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
