#include "pki/test_ca.h"

#include <string.h>

#include "base/clock.h"
#include "base/enc.h"

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

static void reads_the_facts(void **state)
{
    (void)state;
    auto_cert struct cert *c = test_leaf(
        &pki, (struct test_spec){.cn = "www",
                                 .names = "DNS:WWW.Example.org,IP:192.0.2.7,IP:2001:DB8::1",
                                 .serial = 0x8765,
                                 .ocsp = "http://ocsp.example/x",
                                 .must_staple = true});

    assert_int_equal(c->names.n, 3);
    assert_string_equal(c->names.items[0], "www.example.org");
    assert_string_equal(c->names.items[1], "192.0.2.7");
    assert_string_equal(c->names.items[2], "2001:db8::1");
    assert_string_equal(c->serial_hex, "8765");
    assert_string_equal(c->issuer_cn, "Intermediate");
    assert_string_equal(c->subject_cn, "www");
    assert_string_equal(c->key_type_name, "ecdsa-p256");
    assert_int_equal(c->ocsp_urls.n, 1);
    assert_string_equal(c->ocsp_urls.items[0], "http://ocsp.example/x");
    assert_int_equal(c->crl_urls.n, 0);
    assert_true(c->must_staple);
    assert_false(c->is_ca);
    assert_false(c->self_signed);
    assert_true(c->not_before < clock_now() && c->not_after > clock_now() + 80 * 86400);
    unsigned char spki[32];
    key_spki_sha256(pki.leaf_key, spki);
    assert_memory_equal(spki, c->spki_sha256, 32);
}

static void knows_cas_and_self_signed_ones(void **state)
{
    (void)state;
    assert_true(pki.root->is_ca && pki.root->self_signed);
    assert_true(pki.ca->is_ca && !pki.ca->self_signed);
}

/* RFC 9773 4.1: the serial's leading zero belongs to the certID, and is no part of what we show. */
static void makes_the_ari_id(void **state)
{
    (void)state;
    auto_cert struct cert *c = test_leaf(&pki, (struct test_spec){.serial = 0x87654321});
    unsigned char *serial = NULL;
    size_t len;

    assert_non_null(c->ari_id);
    const char *dot = strchr(c->ari_id, '.');
    assert_non_null(dot);
    assert_true(dec_base64url(dot + 1, &serial, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(serial, "\0\x87\x65\x43\x21", 5);
    assert_string_equal(dot + 1, "AIdlQyE");
    assert_string_equal(c->serial_hex, "87654321");
    free(serial);
}

static void escapes_what_a_ca_puts_into_names(void **state)
{
    (void)state;
    auto_cert struct cert *ca =
        test_cert(&(struct test_spec){.cn = "evil\x1b[31m\nname", .ca = true, .key = pki.ca_key});
    auto_cert struct cert *c = test_cert(&(struct test_spec){
        .names = "DNS:a.example", .issuer = ca, .issuer_key = pki.ca_key, .key = pki.leaf_key});

    assert_null(strchr(c->issuer_cn, '\x1b'));
    assert_null(strchr(c->issuer_cn, '\n'));
    assert_null(c->subject_cn);
}

static void ignores_ocsp_urls_that_are_no_http(void **state)
{
    (void)state;
    auto_cert struct cert *c = test_leaf(&pki, (struct test_spec){.ocsp = "file:///etc/passwd"});

    assert_int_equal(c->ocsp_urls.n, 0);
}

static void lists_every_responder_and_distribution_point(void **state)
{
    (void)state;
    auto_cert struct cert *c = test_leaf(
        &pki,
        (struct test_spec){.ocsp = "https://b.example,OCSP;URI:http://a.example,OCSP;URI:ldap://c",
                           .crl = "URI:http://c.example/1.crl,URI:ldap://d.example/2"});

    assert_int_equal(c->ocsp_urls.n, 2);
    assert_string_equal(c->ocsp_urls.items[0], "http://a.example");
    assert_string_equal(c->ocsp_urls.items[1], "https://b.example");
    assert_int_equal(c->crl_urls.n, 1);
    assert_string_equal(c->crl_urls.items[0], "http://c.example/1.crl");
}

static void survives_every_truncation_and_flipped_byte(void **state)
{
    (void)state;
    auto_cert struct cert *c = test_leaf(&pki, (struct test_spec){.cn = "x", .must_staple = true});
    auto_free unsigned char *der = xmemdup(c->der, c->der_len);

    for (size_t len = 0; len < c->der_len; len++) {
        auto_err struct err *e = NULL;
        assert_null(cert_from_der(der, len, &e));
        assert_non_null(e);
    }
    for (size_t i = 0; i < c->der_len; i++) {
        auto_err struct err *e = NULL;
        der[i] ^= 0x81;
        auto_cert struct cert *odd = cert_from_der(der, c->der_len, &e);
        assert_true((odd != NULL) != (e != NULL));
        der[i] ^= 0x81;
    }
}

static void refuses_bytes_behind_the_certificate(void **state)
{
    (void)state;
    auto_free unsigned char *der = xmalloc(pki.ca->der_len + 1);

    memcpy(der, pki.ca->der, pki.ca->der_len);
    der[pki.ca->der_len] = 0;
    assert_null(cert_from_der(der, pki.ca->der_len + 1, NULL));
}

static void is_shown_as_the_status_document_wants(void **state)
{
    (void)state;
    auto_json json_t *j = cert_to_json(pki.ca);
    auto_json json_t *none = cert_to_json(NULL);

    assert_true(json_is_null(none));
    assert_string_equal(json_str(j, "sha256"), pki.ca->sha256_hex);
    assert_int_equal(json_time(j, "not_after"), pki.ca->not_after);
    assert_true(json_is_array(json_get(j, "names")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_facts),
        cmocka_unit_test(knows_cas_and_self_signed_ones),
        cmocka_unit_test(makes_the_ari_id),
        cmocka_unit_test(escapes_what_a_ca_puts_into_names),
        cmocka_unit_test(ignores_ocsp_urls_that_are_no_http),
        cmocka_unit_test(lists_every_responder_and_distribution_point),
        cmocka_unit_test(survives_every_truncation_and_flipped_byte),
        cmocka_unit_test(refuses_bytes_behind_the_certificate),
        cmocka_unit_test(is_shown_as_the_status_document_wants),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
