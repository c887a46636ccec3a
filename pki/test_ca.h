/* A little CA for the tests of pki/: certificates with the facts a test asks for. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/x509v3.h>

#include "pki/cert_private.h"
#include "pki/key_private.h"

struct test_spec {
    const char *cn;    /* NULL: no CN */
    const char *names; /* "DNS:a.example,IP:192.0.2.1", or NULL */
    bool ca;
    int64_t from_s, to_s; /* from now; both 0: an hour ago to in 90 days */
    long serial;          /* 0: 4711 */
    const char *ocsp;     /* URL or NULL */
    const char *crl;      /* "URI:http://..." or NULL */
    const char *eku;      /* "OCSPSigning" or NULL */
    bool must_staple;
    const struct key *key;     /* NULL: a new P-256 key */
    const struct cert *issuer; /* NULL: self-signed */
    const struct key *issuer_key;
    bool spoil; /* break the signature */
};

static inline struct key *test_key(void)
{
    struct key *k = key_from_pkey(EVP_EC_gen("P-256"), NULL);

    assert_non_null(k);
    return k;
}

static inline void test_add(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);

    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static inline void test_add_facts(X509 *x, X509 *issuer, const struct test_spec *spec)
{
    test_add(x, issuer, NID_subject_key_identifier, "hash");
    test_add(x, issuer, NID_authority_key_identifier, "keyid");
    if (spec->ca) {
        test_add(x, issuer, NID_basic_constraints, "critical,CA:TRUE");
        test_add(x, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    if (spec->names)
        test_add(x, issuer, NID_subject_alt_name, spec->names);
    if (spec->must_staple)
        test_add(x, issuer, NID_tlsfeature, "status_request");
    if (spec->crl)
        test_add(x, issuer, NID_crl_distribution_points, spec->crl);
    if (spec->eku)
        test_add(x, issuer, NID_ext_key_usage, spec->eku);
    if (spec->ocsp) {
        auto_free char *value = xasprintf("OCSP;URI:%s", spec->ocsp);
        test_add(x, issuer, NID_info_access, value);
    }
}

static inline struct cert *test_cert(const struct test_spec *spec)
{
    auto_key struct key *fresh = spec->key ? NULL : test_key();
    const struct key *key = spec->key ? spec->key : fresh;
    const struct key *signer = spec->issuer_key ? spec->issuer_key : key;
    bool preset = spec->from_s == 0 && spec->to_s == 0;
    auto_x509 X509 *x = X509_new();
    auto_x509 X509 *issuer = spec->issuer ? cert_to_x509(spec->issuer) : NULL;
    X509_NAME *name = X509_NAME_new();

    if (spec->cn)
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)spec->cn, -1,
                                   -1, 0);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), spec->serial ? spec->serial : 4711);
    X509_set_subject_name(x, name);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
    X509_gmtime_adj(X509_getm_notBefore(x), preset ? -3600 : (long)spec->from_s);
    X509_gmtime_adj(X509_getm_notAfter(x), preset ? 90 * 86400L : (long)spec->to_s);
    X509_set_pubkey(x, key->pkey);
    test_add_facts(x, issuer ? issuer : x, spec);
    assert_true(X509_sign(x, signer->pkey, EVP_sha256()) > 0);
    X509_NAME_free(name);

    unsigned char *der = NULL;
    int len = i2d_X509(x, &der);

    assert_true(len > 0);
    if (spec->spoil)
        der[len - 1] ^= 1;
    struct cert *c = cert_from_der(der, (size_t)len, NULL);

    OPENSSL_free(der);
    assert_non_null(c);
    return c;
}

/* A leaf for www.example.org, its intermediate and the root, with their keys. */
struct test_pki {
    struct key *root_key, *ca_key, *leaf_key;
    struct cert *root, *ca;
};

static inline void test_pki_make(struct test_pki *p)
{
    p->root_key = test_key();
    p->ca_key = test_key();
    p->leaf_key = test_key();
    p->root = test_cert(&(struct test_spec){.cn = "Root", .ca = true, .key = p->root_key});
    p->ca = test_cert(&(struct test_spec){.cn = "Intermediate",
                                          .ca = true,
                                          .key = p->ca_key,
                                          .issuer = p->root,
                                          .issuer_key = p->root_key});
}

static inline void test_pki_done(struct test_pki *p)
{
    key_unref(p->root_key);
    key_unref(p->ca_key);
    key_unref(p->leaf_key);
    cert_free(p->root);
    cert_free(p->ca);
}

static inline struct cert *test_copy(const struct cert *c)
{
    return cert_from_der(c->der, c->der_len, NULL);
}

/* Leaf (owned by the chain afterwards) and a copy of the intermediate. */
static inline struct chain *test_chain(struct test_pki *p, struct cert *leaf)
{
    struct chain *c = xcalloc(1, sizeof(*c));

    chain_add(c, leaf);
    chain_add(c, test_copy(p->ca));
    return c;
}

static inline struct cert *test_leaf(struct test_pki *p, struct test_spec spec)
{
    if (!spec.names)
        spec.names = "DNS:www.example.org";
    if (!spec.key)
        spec.key = p->leaf_key;
    spec.issuer = p->ca;
    spec.issuer_key = p->ca_key;
    return test_cert(&spec);
}
