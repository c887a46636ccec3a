/* An OCSP responder for tests that tells every lie it is asked for. */
#pragma once

#include "base/clock.h"
#include "pki/ocsp_private.h"
#include "pki/test_ca.h"

struct test_answer {
    int status;             /* V_OCSP_CERTSTATUS_* */
    int reason;             /* REVOKED: CRLReason, -1: none */
    int64_t this_s, next_s; /* from now; both 0: an hour ago to in 4 days */
    bool no_next;
    enum ocsp_hash hash;
    const struct cert *signer; /* NULL: the intermediate itself */
    const struct key *signer_key;
    bool bare;               /* the signer's certificate is not in it */
    const struct cert *also; /* an entry about this one follows */
    bool twice;              /* the same entry again */
    bool spoil;              /* break the signature */
};

static inline void test_entry(OCSP_BASICRESP *b, const struct cert *leaf, const struct cert *issuer,
                              const struct test_answer *a)
{
    bool preset = a->this_s == 0 && a->next_s == 0;
    time_t now = clock_now();
    ASN1_TIME *from = ASN1_GENERALIZEDTIME_set(NULL, now + (preset ? -3600 : a->this_s));
    ASN1_TIME *to = ASN1_GENERALIZEDTIME_set(NULL, now + (preset ? 4 * 86400 : a->next_s));
    ASN1_TIME *revoked = ASN1_GENERALIZEDTIME_set(NULL, now - 7200);
    OCSP_CERTID *id = ocsp_certid(leaf, issuer, a->hash);

    assert_non_null(OCSP_basic_add1_status(b, id, a->status, a->reason,
                                           a->status == V_OCSP_CERTSTATUS_REVOKED ? revoked : NULL,
                                           from, a->no_next ? NULL : to));
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
    ASN1_TIME_free(revoked);
    OCSP_CERTID_free(id);
}

/* free() */
static inline unsigned char *test_ocsp(struct test_pki *p, const struct cert *leaf,
                                       struct test_answer a, size_t *ret_len)
{
    OCSP_BASICRESP *b = OCSP_BASICRESP_new();
    auto_x509 X509 *signer = cert_to_x509(a.signer ? a.signer : p->ca);
    const struct key *key = a.signer_key ? a.signer_key : p->ca_key;
    unsigned char *der = NULL;

    test_entry(b, leaf, p->ca, &a);
    if (a.twice)
        test_entry(b, leaf, p->ca, &a);
    if (a.also)
        test_entry(b, a.also, p->ca, &a);
    assert_int_equal(
        OCSP_basic_sign(b, signer, key->pkey, EVP_sha256(), NULL, a.bare ? OCSP_NOCERTS : 0), 1);
    OCSP_RESPONSE *r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, b);
    int len = i2d_OCSP_RESPONSE(r, &der);
    unsigned char *copy = xmemdup(der, (size_t)len);

    if (a.spoil) { /* the signature, wherever the certificates behind it begin */
        const ASN1_OCTET_STRING *sig = OCSP_resp_get0_signature(b);
        unsigned char *at =
            memmem(copy, (size_t)len, ASN1_STRING_get0_data(sig), (size_t)ASN1_STRING_length(sig));
        assert_non_null(at);
        at[ASN1_STRING_length(sig) - 1] ^= 1;
    }
    OPENSSL_free(der);
    OCSP_RESPONSE_free(r);
    OCSP_BASICRESP_free(b);
    *ret_len = (size_t)len;
    return copy;
}
