#include "agent/revocation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void survives_its_document(void **state)
{
    struct revocation r = {.serial = xstrdup("0a1b"),
                           .generation = 7,
                           .over = 8,
                           .reason = REVOKE_SUPERSEDED,
                           .now = true,
                           .done = true,
                           .refused = true,
                           .failures = 2,
                           .next_try = 1700000060};
    struct revocation back;
    (void)state;
    err_set(&r.error, ERR_TRANSIENT, "no reply");
    auto_json json_t *j = revocation_to_json(&r);
    revocation_read(&back, j);
    auto_json json_t *again = revocation_to_json(&back);
    assert_true(json_equal(j, again));
    assert_string_equal(back.serial, "0a1b");
    assert_int_equal(back.generation, 7);
    assert_int_equal(back.over, 8);
    assert_int_equal(back.reason, REVOKE_SUPERSEDED);
    assert_true(back.now && back.done && back.refused);
    assert_int_equal(back.failures, 2);
    assert_int_equal(back.next_try, 1700000060);
    assert_string_equal(back.error->text, "no reply");
    revocation_done(&r);
    revocation_done(&back);
}

static void nothing_to_do_is_null(void **state)
{
    struct revocation r = {0};
    (void)state;
    auto_json json_t *j = revocation_to_json(&r);
    assert_true(json_is_null(j));
    revocation_read(&r, j);
    assert_null(r.serial);
    revocation_read(&r, NULL);
    assert_null(r.serial);
}

/* Whatever is revoked must be named completely: half a document revokes nothing. */
static void nonsense_revokes_nothing(void **state)
{
    static const char *const texts[] = {
        "{}",
        "{\"serial\":\"0a\"}",
        "{\"serial\":\"0a\",\"generation\":0}",
        "{\"serial\":\"0a\",\"generation\":-3}",
        "{\"serial\":\"0a\",\"generation\":\"3\"}",
        "{\"serial\":3,\"generation\":3}",
        "[]",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        auto_json json_t *j = json_parse(texts[i], strlen(texts[i]), NULL);
        struct revocation r;
        revocation_read(&r, j);
        assert_null(r.serial);
        assert_null(r.error);
        revocation_done(&r);
    }
}

static void an_unknown_reason_is_none(void **state)
{
    static const char text[] =
        "{\"serial\":\"0a\",\"generation\":3,\"reason\":\"boredom\",\"failures\":-1}";
    struct revocation r;
    (void)state;
    auto_json json_t *j = json_parse(text, strlen(text), NULL);
    revocation_read(&r, j);
    assert_string_equal(r.serial, "0a");
    assert_int_equal(r.reason, REVOKE_UNSPECIFIED);
    assert_int_equal(r.failures, 0);
    revocation_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_its_document),
        cmocka_unit_test(nothing_to_do_is_null),
        cmocka_unit_test(nonsense_revokes_nothing),
        cmocka_unit_test(an_unknown_reason_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
