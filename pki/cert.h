/* Certificates as parsed facts. Foreign bytes: everything is bounded and nothing is trusted. Chains
 * and the checks before anything sees a new one: pki/chain.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/err.h"
#include "base/json.h"
#include "base/strv.h"
#include "pki/chain.h"
#include "pki/key.h"

struct cert {
    unsigned char *der; /* owned */
    size_t der_len;
    unsigned char sha256[32]; /* of the DER */
    char *sha256_hex;
    char *serial_hex;    /* lower case, as the INTEGER's content octets (leading 00 kept off) */
    struct strv names;   /* SAN: DNS lower case and IP canonical, in the certificate's order; octets
                            that no DNS name has appear as \\xNN and so equal no canonical name */
    char *subject_cn;    /* escaped text or NULL */
    char *issuer_cn;     /* escaped text; without a CN the issuer's O, else "?" */
    char *key_type_name; /* "ecdsa-p256", ... or "other" */
    unsigned char spki_sha256[32];
    time_t not_before;
    time_t not_after; /* 99991231235959Z and beyond 64 bit are clamped, never overflow */
    bool is_ca;
    bool self_signed; /* issuer equals subject and its own key verifies it */
    bool must_staple;
    struct strv ocsp_urls; /* http(s) URLs of the AIA, http before https; at most CERT_URLS_MAX */
    struct strv crl_urls;  /* http(s) URLs of the distribution points, likewise */
    char *ari_id;          /* RFC 9773 4.1 certID, NULL without AKI */
    void *x509; /* pki/'s own view of the DER: decoding it is dear (pki/cert_private.h) */
};

void cert_free(struct cert *c);
/* Exactly one certificate of at most CERT_DER_MAX octets with readable names and dates; else NULL
 * and ERR_REFUSED. */
#define CERT_DER_MAX  (128 * 1024)
#define CERT_URLS_MAX 8
NODISCARD struct cert *cert_from_der(const void *der, size_t len, struct err **err);
static inline void cert_free_p(struct cert **c)
{
    cert_free(*c);
}
#define auto_cert __attribute__((cleanup(cert_free_p)))

/* product.md section 10 "cert" (revoked: false). NULL gives JSON null. */
json_t *cert_to_json(const struct cert *c);
