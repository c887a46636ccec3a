#include <string.h>

#include "pki/ocsp.h"
#include "pki/test_ocsp.h"

static struct test_pki pki;
static struct cert *leaf;

static int make_pki(void **state)
{
    (void)state;
    test_pki_make(&pki);
    leaf = test_leaf(&pki, (struct test_spec){.serial = 0x1001});
    return 0;
}

static int drop_pki(void **state)
{
    (void)state;
    cert_free(leaf);
    test_pki_done(&pki);
    return 0;
}

static struct cert *delegate(const struct key *key, const char *eku, int64_t from_s, int64_t to_s)
{
    return test_leaf(&pki, (struct test_spec){.cn = "Responder",
                                              .key = key,
                                              .eku = eku,
                                              .from_s = from_s,
                                              .to_s = to_s,
                                              .serial = 0x77});
}

static bool check(struct test_answer how, struct ocsp_answer *ret, struct err **err)
{
    size_t len;
    auto_free unsigned char *der = test_ocsp(&pki, leaf, how, &len);

    return ocsp_check(der, len, leaf, pki.ca, how.hash, 0, clock_now(), ret, err);
}

static void is_refused(struct test_answer how, const char *why)
{
    auto_err struct err *e = NULL;
    struct ocsp_answer a;

    assert_false(check(how, &a, &e));
    assert_int_equal(e->kind, ERR_REFUSED);
    if (!strstr(e->text, why))
        fail_msg("\"%s\" is not in: %s", why, e->text);
}

static void believes_the_issuer(void **state)
{
    (void)state;
    struct ocsp_answer a;

    for (enum ocsp_hash hash = 0; hash < OCSP_HASHES; hash++) {
        assert_true(check((struct test_answer){.hash = hash}, &a, NULL));
        assert_int_equal(a.status, OCSP_STATUS_GOOD);
        assert_in_range(clock_now() - a.this_update, 3599, 3700);
        assert_in_range(a.next_update - clock_now(), 4 * 86400 - 100, 4 * 86400);
        assert_false(a.beyond_leaf);
    }
    assert_true(check((struct test_answer){.bare = true}, &a, NULL));
}

static void says_when_and_why_a_certificate_was_revoked(void **state)
{
    (void)state;
    struct ocsp_answer a;

    assert_true(
        check((struct test_answer){.status = V_OCSP_CERTSTATUS_REVOKED, .reason = 1}, &a, NULL));
    assert_int_equal(a.status, OCSP_STATUS_REVOKED);
    assert_string_equal(a.reason, "keyCompromise");
    assert_in_range(clock_now() - a.revoked_at, 7199, 7300);
    assert_true(
        check((struct test_answer){.status = V_OCSP_CERTSTATUS_REVOKED, .reason = -1}, &a, NULL));
    assert_string_equal(a.reason, "unspecified");
    /* Bad news needs no end. */
    assert_true(check(
        (struct test_answer){.status = V_OCSP_CERTSTATUS_REVOKED, .reason = 4, .no_next = true}, &a,
        NULL));
    assert_int_equal(a.next_update, 0);
    assert_true(check((struct test_answer){.status = V_OCSP_CERTSTATUS_UNKNOWN}, &a, NULL));
    assert_int_equal(a.status, OCSP_STATUS_UNKNOWN);
}

static void believes_a_delegate_of_the_issuer_until_it_expires(void **state)
{
    (void)state;
    auto_key struct key *key = test_key();
    auto_cert struct cert *good = delegate(key, "OCSPSigning", -3600, 86400);
    auto_cert struct cert *over = delegate(key, "OCSPSigning", -7200, -600);
    struct ocsp_answer a;

    assert_true(check((struct test_answer){.signer = good, .signer_key = key}, &a, NULL));
    assert_int_equal(a.next_update, good->not_after);
    is_refused((struct test_answer){.signer = over, .signer_key = key}, "signed neither");
}

static void refuses_signers_that_the_issuer_did_not_name(void **state)
{
    (void)state;
    auto_key struct key *key = test_key();
    auto_cert struct cert *no_eku = delegate(key, NULL, 0, 0);
    auto_cert struct cert *web = delegate(key, "serverAuth", 0, 0);
    auto_cert struct cert *stranger =
        test_cert(&(struct test_spec){.cn = "Intermediate", .ca = true, .key = key});
    auto_cert struct cert *of_root = test_cert(&(struct test_spec){.cn = "Responder",
                                                                   .key = key,
                                                                   .eku = "OCSPSigning",
                                                                   .issuer = pki.root,
                                                                   .issuer_key = pki.root_key});
    auto_cert struct cert *forged = test_cert(&(struct test_spec){
        .cn = "Responder", .key = key, .eku = "OCSPSigning", .issuer = pki.ca, .issuer_key = key});
    const char *why = "signed neither by the issuer nor for it";

    is_refused((struct test_answer){.signer = no_eku, .signer_key = key}, why);
    is_refused((struct test_answer){.signer = web, .signer_key = key}, why);
    is_refused((struct test_answer){.signer = stranger, .signer_key = key}, why);
    is_refused((struct test_answer){.signer = stranger, .signer_key = key, .bare = true}, why);
    is_refused((struct test_answer){.signer = of_root, .signer_key = key}, why);
    is_refused((struct test_answer){.signer = forged, .signer_key = key}, why);
    is_refused((struct test_answer){.signer = pki.root, .signer_key = pki.root_key}, why);
    is_refused((struct test_answer){.spoil = true}, why);
}

/* The key of the certificate itself is the one an attacker may have. */
static void refuses_the_certificate_speaking_for_itself(void **state)
{
    (void)state;
    is_refused((struct test_answer){.signer = leaf, .signer_key = pki.leaf_key}, "signed neither");
}

static void refuses_another_certificates_response(void **state)
{
    (void)state;
    auto_cert struct cert *other = test_leaf(&pki, (struct test_spec){.serial = 0x1002});
    auto_err struct err *e = NULL;
    struct ocsp_answer a;
    size_t len;
    auto_free unsigned char *der = test_ocsp(&pki, other, (struct test_answer){0}, &len);

    assert_false(ocsp_check(der, len, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, &e));
    assert_non_null(strstr(e->text, "another certificate"));
    /* Same serial of another issuer; and the right one among others. */
    auto_cert struct cert *cousin = test_cert(&(struct test_spec){.serial = 0x1001,
                                                                  .names = "DNS:a.example",
                                                                  .issuer = pki.root,
                                                                  .issuer_key = pki.root_key});
    assert_false(ocsp_check(der, len, cousin, pki.root, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
    assert_true(check((struct test_answer){.also = other}, &a, NULL));
    is_refused((struct test_answer){.twice = true}, "twice");
}

/* Nobody who staples would match it. */
static void refuses_another_digest_than_asked_for(void **state)
{
    (void)state;
    struct ocsp_answer a;
    size_t len;
    auto_free unsigned char *der =
        test_ocsp(&pki, leaf, (struct test_answer){.hash = OCSP_HASH_SHA256}, &len);

    assert_false(ocsp_check(der, len, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
}

static void refuses_odd_dates(void **state)
{
    (void)state;
    is_refused((struct test_answer){.this_s = 400, .next_s = 86400}, "future");
    is_refused((struct test_answer){.this_s = -86400, .next_s = -400}, "is over since");
    is_refused((struct test_answer){.this_s = -86400, .next_s = -1}, "is over since");
    is_refused((struct test_answer){.this_s = -100, .next_s = -200}, "ends before it begins");
    is_refused((struct test_answer){.no_next = true}, "how long");
    is_refused(
        (struct test_answer){.status = V_OCSP_CERTSTATUS_REVOKED, .this_s = -86400, .next_s = -400},
        "is over since");
    struct ocsp_answer a;
    assert_true(check((struct test_answer){.this_s = 200, .next_s = 86400}, &a, NULL));
}

static void ends_with_the_certificate(void **state)
{
    (void)state;
    struct ocsp_answer a;

    assert_true(check((struct test_answer){.this_s = -60, .next_s = 3650L * 86400}, &a, NULL));
    assert_true(a.beyond_leaf);
    assert_int_equal(a.next_update, leaf->not_after);
}

static void never_goes_back_to_an_older_one(void **state)
{
    (void)state;
    struct ocsp_answer a;
    size_t len;
    auto_err struct err *e = NULL;
    auto_free unsigned char *der = test_ocsp(&pki, leaf, (struct test_answer){0}, &len);
    time_t now = clock_now();

    assert_true(ocsp_check(der, len, leaf, pki.ca, OCSP_HASH_SHA1, now - 3601, now, &a, NULL));
    assert_true(ocsp_check(der, len, leaf, pki.ca, OCSP_HASH_SHA1, a.this_update, now, &a, NULL));
    assert_false(
        ocsp_check(der, len, leaf, pki.ca, OCSP_HASH_SHA1, a.this_update + 1, now, &a, &e));
    assert_non_null(strstr(e->text, "older than the one held"));
}

static void understands_refusals(void **state)
{
    (void)state;
    static const struct {
        unsigned char code;
        enum ocsp_status status;
    } cases[] = {{1, OCSP_STATUS_NOT_UNDERSTOOD},
                 {2, OCSP_STATUS_TRY_LATER},
                 {3, OCSP_STATUS_TRY_LATER},
                 {5, OCSP_STATUS_NOT_UNDERSTOOD},
                 {6, OCSP_STATUS_UNAUTHORIZED}};
    struct ocsp_answer a;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const unsigned char der[] = {0x30, 3, 0x0a, 1, cases[i].code};
        assert_true(
            ocsp_check(der, sizeof der, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
        assert_int_equal(a.status, cases[i].status);
    }
    const unsigned char odd[] = {0x30, 3, 0x0a, 1, 9}, empty[] = {0x30, 3, 0x0a, 1, 0};
    assert_false(ocsp_check(odd, 5, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
    assert_false(ocsp_check(empty, 5, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
    assert_true(ocsp_check(ocsp_reply_try_later, 5, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(),
                           &a, NULL));
    assert_int_equal(a.status, OCSP_STATUS_TRY_LATER);
}

static void survives_garbage_truncation_and_flipped_bytes(void **state)
{
    (void)state;
    static const char html[] = "<html><body>503</body></html>";
    size_t len;
    struct ocsp_answer a;
    auto_free unsigned char *der = test_ocsp(&pki, leaf, (struct test_answer){0}, &len);
    auto_free unsigned char *longer = xmalloc(OCSP_RESPONSE_MAX + 1);

    memset(longer, 0, OCSP_RESPONSE_MAX + 1);
    memcpy(longer, der, len);
    assert_false(
        ocsp_check(longer, len + 1, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
    assert_false(ocsp_check(longer, OCSP_RESPONSE_MAX + 1, leaf, pki.ca, OCSP_HASH_SHA1, 0,
                            clock_now(), &a, NULL));
    assert_false(
        ocsp_check(html, strlen(html), leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
    assert_false(ocsp_check(html, 0, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
    for (size_t n = 0; n < len; n++)
        assert_false(ocsp_check(der, n, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL));
    for (size_t i = 0; i < len; i++) {
        auto_err struct err *e = NULL;
        der[i] ^= 0x81;
        bool good = ocsp_check(der, len, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, &e);
        assert_int_equal(good, e == NULL);
        der[i] ^= 0x81;
    }
    /* Certificates that came along are not signed; but then they are not needed either. */
    free(take(der));
    der = test_ocsp(&pki, leaf, (struct test_answer){.bare = true}, &len);
    for (size_t i = 0; i < len; i++) {
        der[i] ^= 0x81;
        if (ocsp_check(der, len, leaf, pki.ca, OCSP_HASH_SHA1, 0, clock_now(), &a, NULL))
            assert_int_not_equal(a.status, OCSP_STATUS_GOOD);
        der[i] ^= 0x81;
    }
}

static void peeks_without_believing(void **state)
{
    (void)state;
    auto_cert struct cert *other = test_leaf(&pki, (struct test_spec){.serial = 0x1002});
    struct ocsp_answer a;
    size_t len;
    auto_free unsigned char *der = test_ocsp(
        &pki, leaf, (struct test_answer){.spoil = true, .status = V_OCSP_CERTSTATUS_REVOKED}, &len);

    assert_true(ocsp_peek(der, len, leaf, &a, NULL));
    assert_int_equal(a.status, OCSP_STATUS_REVOKED);
    assert_false(ocsp_peek(der, len, other, &a, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(believes_the_issuer),
        cmocka_unit_test(says_when_and_why_a_certificate_was_revoked),
        cmocka_unit_test(believes_a_delegate_of_the_issuer_until_it_expires),
        cmocka_unit_test(refuses_signers_that_the_issuer_did_not_name),
        cmocka_unit_test(refuses_the_certificate_speaking_for_itself),
        cmocka_unit_test(refuses_another_certificates_response),
        cmocka_unit_test(refuses_another_digest_than_asked_for),
        cmocka_unit_test(refuses_odd_dates),
        cmocka_unit_test(ends_with_the_certificate),
        cmocka_unit_test(never_goes_back_to_an_older_one),
        cmocka_unit_test(understands_refusals),
        cmocka_unit_test(survives_garbage_truncation_and_flipped_bytes),
        cmocka_unit_test(peeks_without_believing),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
