#include "pki/crl.h"

#include <string.h>

#include <openssl/pem.h>

#include "base/clock.h"
#include "pki/test_ca.h"

#define URL "http://c.example/7.crl"

static struct test_pki pki;

static int make_pki(void **state)
{
    (void)state;
    test_pki_make(&pki);
    return 0;
}

static int drop_pki(void **state)
{
    (void)state;
    test_pki_done(&pki);
    return 0;
}

struct list {
    int64_t this_s, next_s; /* from now; both 0: an hour ago to in 7 days */
    bool no_next;
    const char *idp; /* value of the extension, or NULL */
    bool delta;
    const char *critical; /* of one nobody knows, or NULL */
    long serials[4];      /* 0: no more */
    int reasons[4];       /* -1: not said */
    size_t fill;          /* that many others first */
    const struct cert *issuer;
    const struct key *key;
};

static void add_entry(X509_CRL *crl, long serial, int reason)
{
    X509_REVOKED *r = X509_REVOKED_new();
    ASN1_INTEGER *n = ASN1_INTEGER_new();
    ASN1_TIME *at = ASN1_TIME_set(NULL, clock_now() - 7200);

    ASN1_INTEGER_set(n, serial);
    X509_REVOKED_set_serialNumber(r, n);
    X509_REVOKED_set_revocationDate(r, at);
    if (reason >= 0) {
        ASN1_ENUMERATED *e = ASN1_ENUMERATED_new();
        ASN1_ENUMERATED_set(e, reason);
        X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, e, 0, 0);
        ASN1_ENUMERATED_free(e);
    }
    X509_CRL_add0_revoked(crl, r);
    ASN1_INTEGER_free(n);
    ASN1_TIME_free(at);
}

static void add_extension(X509_CRL *crl, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    if (!value)
        return;
    X509V3_set_ctx(&ctx, NULL, NULL, NULL, crl, 0);
    ctx.db = NULL;
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    X509_CRL_add_ext(crl, e, -1);
    X509_EXTENSION_free(e);
}

static void add_number(X509_CRL *crl, int nid, long number)
{
    ASN1_INTEGER *n = ASN1_INTEGER_new();

    ASN1_INTEGER_set(n, number);
    assert_int_equal(X509_CRL_add1_ext_i2d(crl, nid, n, nid == NID_delta_crl, 0), 1);
    ASN1_INTEGER_free(n);
}

static X509_CRL *make_object(struct list l)
{
    X509_CRL *crl = X509_CRL_new();
    bool preset = l.this_s == 0 && l.next_s == 0;
    auto_x509 X509 *issuer = cert_to_x509(l.issuer ? l.issuer : pki.ca);
    ASN1_TIME *from = ASN1_TIME_set(NULL, clock_now() + (preset ? -3600 : l.this_s));
    ASN1_TIME *to = ASN1_TIME_set(NULL, clock_now() + (preset ? 7 * 86400 : l.next_s));

    X509_CRL_set_version(crl, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
    X509_CRL_set1_lastUpdate(crl, from);
    if (!l.no_next)
        X509_CRL_set1_nextUpdate(crl, to);
    for (size_t i = 0; i < l.fill; i++)
        add_entry(crl, 100000 + (long)i, 0);
    for (size_t i = 0; i < ARRAY_LEN(l.serials) && l.serials[i]; i++)
        add_entry(crl, l.serials[i], l.reasons[i]);
    add_number(crl, NID_crl_number, 5);
    add_extension(crl, NID_issuing_distribution_point, l.idp);
    if (l.delta)
        add_number(crl, NID_delta_crl, 4);
    add_extension(crl, NID_netscape_comment, l.critical);
    X509_CRL_sort(crl);
    assert_true(X509_CRL_sign(crl, (l.key ? l.key : pki.ca_key)->pkey, EVP_sha256()) > 0);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    return crl;
}

static unsigned char *make(struct list l, size_t *ret_len)
{
    X509_CRL *crl = make_object(l);
    unsigned char *der = NULL;
    int len = i2d_X509_CRL(crl, &der);
    unsigned char *copy = xmemdup(der, (size_t)len);

    OPENSSL_free(der);
    X509_CRL_free(crl);
    *ret_len = (size_t)len;
    return copy;
}

static struct crl *parse(struct list l, struct err **err)
{
    size_t len;
    auto_free unsigned char *der = make(l, &len);

    return crl_parse(der, len, err);
}

static void is_refused(struct list l, const char *why)
{
    auto_err struct err *e = NULL;
    auto_crl struct crl *c = parse(l, &e);

    if (c)
        assert_false(crl_check(c, pki.ca, URL, clock_now(), &e));
    assert_int_equal(e->kind, ERR_REFUSED);
    if (!strstr(e->text, why))
        fail_msg("\"%s\" is not in: %s", why, e->text);
}

static void finds_a_serial_with_date_and_reason(void **state)
{
    (void)state;
    auto_crl struct crl *c = parse(
        (struct list){.serials = {0x1001, 0x8765, 0x1003}, .reasons = {1, -1, 8}, .fill = 500},
        NULL);
    struct crl_query q[] = {{.serial_hex = "8765"}, {.serial_hex = "1002"}, {.serial_hex = "1001"},
                            {.serial_hex = "1003"}, {.serial_hex = "1001"}, {.serial_hex = "zz"}};

    assert_non_null(c);
    assert_true(crl_check(c, pki.ca, URL, clock_now(), NULL));
    crl_look_up(c, q, ARRAY_LEN(q));
    assert_true(q[0].revoked);
    assert_string_equal(q[0].reason, "unspecified");
    assert_false(q[1].revoked);
    assert_true(q[2].revoked && q[4].revoked);
    assert_string_equal(q[2].reason, "keyCompromise");
    assert_in_range(clock_now() - q[2].revoked_at, 7199, 7300);
    assert_int_equal(q[4].revoked_at, q[2].revoked_at);
    assert_false(q[5].revoked);
}

static void an_entry_with_remove_from_crl_is_no_revocation(void **state)
{
    (void)state;
    auto_crl struct crl *c = parse((struct list){.serials = {0x1001}, .reasons = {8}}, NULL);
    struct crl_query q = {.serial_hex = "1001"};

    crl_look_up(c, &q, 1);
    assert_false(q.revoked);
}

static void an_empty_list_revokes_nothing(void **state)
{
    (void)state;
    auto_crl struct crl *c = parse((struct list){0}, NULL);
    struct crl_query q = {.serial_hex = "1001"};

    assert_non_null(c);
    crl_look_up(c, &q, 1);
    assert_false(q.revoked);
    crl_look_up(c, NULL, 0);
}

static void reads_pem_too(void **state)
{
    (void)state;
    X509_CRL *object = make_object((struct list){.serials = {0x1001}, .reasons = {4}});
    auto_bio BIO *out = BIO_new(BIO_s_mem());
    char *pem;

    PEM_write_bio_X509_CRL(out, object);
    long len = BIO_get_mem_data(out, &pem);
    auto_crl struct crl *c = crl_parse(pem, (size_t)len, NULL);
    struct crl_query q = {.serial_hex = "1001"};
    X509_CRL_free(object);
    assert_non_null(c);
    assert_true(crl_check(c, pki.ca, URL, clock_now(), NULL));
    crl_look_up(c, &q, 1);
    assert_string_equal(q.reason, "superseded");
    assert_null(crl_parse(pem, (size_t)len / 2, NULL));
}

static void a_shard_must_be_the_one_of_the_certificate(void **state)
{
    (void)state;
    auto_crl struct crl *c = parse((struct list){.idp = "critical,fullname:URI:" URL}, NULL);

    assert_non_null(c);
    assert_true(crl_check(c, pki.ca, URL, clock_now(), NULL));
    is_refused((struct list){.idp = "critical,fullname:URI:http://c.example/8.crl"},
               "another distribution point");
    is_refused((struct list){.idp = "critical,fullname:URI:" URL "x"},
               "another distribution point");
}

static void refuses_another_issuers_list(void **state)
{
    (void)state;
    auto_key struct key *key = test_key();

    is_refused((struct list){.issuer = pki.root, .key = pki.root_key}, "another issuer");
    is_refused((struct list){.key = key}, "not signed by the issuer");
}

static void refuses_odd_dates(void **state)
{
    (void)state;
    is_refused((struct list){.this_s = 400, .next_s = 86400}, "future");
    is_refused((struct list){.this_s = -86400, .next_s = -400}, "is over since");
    is_refused((struct list){.no_next = true}, "how long");
}

static void refuses_lists_that_are_not_complete(void **state)
{
    (void)state;
    is_refused((struct list){.delta = true}, "delta");
    is_refused((struct list){.critical = "critical,hello"}, "critical extension");
}

static void survives_truncation_and_flipped_bytes(void **state)
{
    (void)state;
    size_t len;
    auto_free unsigned char *der = make((struct list){.serials = {0x1001, 0x1002},
                                                      .reasons = {1, -1},
                                                      .idp = "critical,fullname:URI:" URL},
                                        &len);
    auto_free unsigned char *longer = xcalloc(1, len + 1);

    for (size_t n = 0; n < len; n++)
        assert_null(crl_parse(der, n, NULL));
    memcpy(longer, der, len);
    assert_null(crl_parse(longer, len + 1, NULL));
    assert_null(crl_parse("<html></html>", 13, NULL));
    assert_null(crl_parse("-----BEGIN X509 CRL-----\n", 25, NULL));
    for (size_t i = 0; i < len; i++) {
        auto_err struct err *e = NULL;
        der[i] ^= 0x81;
        auto_crl struct crl *c = crl_parse(der, len, &e);
        assert_true((c != NULL) != (e != NULL));
        if (c)
            assert_false(crl_check(c, pki.ca, URL, clock_now(), NULL));
        der[i] ^= 0x81;
    }
}

static void refuses_more_than_the_cap(void **state)
{
    (void)state;
    auto_free unsigned char *huge = xcalloc(1, CRL_MAX + 1);
    auto_err struct err *e = NULL;

    assert_null(crl_parse(huge, CRL_MAX + 1, &e));
    assert_non_null(strstr(e->text, "too large"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_serial_with_date_and_reason),
        cmocka_unit_test(an_entry_with_remove_from_crl_is_no_revocation),
        cmocka_unit_test(an_empty_list_revokes_nothing),
        cmocka_unit_test(reads_pem_too),
        cmocka_unit_test(a_shard_must_be_the_one_of_the_certificate),
        cmocka_unit_test(refuses_another_issuers_list),
        cmocka_unit_test(refuses_odd_dates),
        cmocka_unit_test(refuses_lists_that_are_not_complete),
        cmocka_unit_test(survives_truncation_and_flipped_bytes),
        cmocka_unit_test(refuses_more_than_the_cap),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
