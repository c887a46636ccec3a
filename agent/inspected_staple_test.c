#include "agent/inspected_staple.h"

#include <string.h>

#include "pki/test_ocsp.h"

static struct test_pki pki;
static struct chain *chain, *bare;

static int make_pki(void **state)
{
    (void)state;
    test_pki_make(&pki);
    struct cert *leaf = test_leaf(&pki, (struct test_spec){0});
    bare = xcalloc(1, sizeof *bare);
    chain_add(bare, test_copy(leaf));
    chain = test_chain(&pki, leaf);
    return 0;
}

static int drop_pki(void **state)
{
    (void)state;
    chain_free(chain);
    chain_free(bare);
    test_pki_done(&pki);
    return 0;
}

static void expect(const struct chain *sent, struct test_answer how, const char *status,
                   const char *words)
{
    struct inspected_staple s = {0};
    size_t len;
    auto_free unsigned char *der = test_ocsp(&pki, chain->items[0], how, &len);

    inspected_staple_take(&s, der, len);
    inspected_staple_judge(&s, sent, clock_now());
    auto_free char *text = inspected_staple_text(&s);
    assert_string_equal(s.status, status);
    if (!strstr(text, words))
        fail_msg("\"%s\" is not in: %s", words, text);
    inspected_staple_done(&s);
}

static void is_judged_as_a_client_would(void **state)
{
    (void)state;
    expect(chain, (struct test_answer){0}, "good", "good, until 20");
    expect(chain, (struct test_answer){.hash = OCSP_HASH_SHA256}, "good", "good, until 20");
    expect(chain, (struct test_answer){.status = V_OCSP_CERTSTATUS_REVOKED}, "revoked", "revoked");
    expect(chain, (struct test_answer){.status = V_OCSP_CERTSTATUS_UNKNOWN}, "error", "unknown");
    expect(chain, (struct test_answer){.this_s = -900, .next_s = -1}, "expired", "expired");
    expect(chain, (struct test_answer){.spoil = true}, "error", "signed neither");
    expect(chain, (struct test_answer){.signer = pki.root, .signer_key = pki.root_key}, "error",
           "signed neither");
}

static void says_when_nobody_could_check_it(void **state)
{
    (void)state;
    expect(bare, (struct test_answer){.spoil = true}, "good", "signature not checked");
}

static void none_and_garbage_are_told_apart(void **state)
{
    (void)state;
    struct inspected_staple s = {0};

    inspected_staple_judge(&s, chain, clock_now());
    assert_string_equal(s.status, "none");
    inspected_staple_take(&s, "<html>", 6);
    inspected_staple_judge(&s, chain, clock_now());
    assert_string_equal(s.status, "error");
    auto_json json_t *j = inspected_staple_json(&s);
    assert_non_null(json_str(j, "text"));
    assert_true(json_is_null(json_get(j, "matches_ours")));
    inspected_staple_done(&s);
}

static void is_compared_octet_by_octet(void **state)
{
    (void)state;
    struct inspected_staple s = {0};

    inspected_staple_compare(&s, "abc", 3);
    assert_false(s.compared);
    inspected_staple_take(&s, "abc", 3);
    inspected_staple_compare(&s, "abcd", 4);
    assert_true(s.compared && !s.equal);
    inspected_staple_compare(&s, "abc", 3);
    assert_true(s.equal);
    inspected_staple_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_judged_as_a_client_would),
        cmocka_unit_test(says_when_nobody_could_check_it),
        cmocka_unit_test(none_and_garbage_are_told_apart),
        cmocka_unit_test(is_compared_octet_by_octet),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
