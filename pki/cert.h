/* Certificates as parsed facts; chains; the checks before anything sees a new one. Foreign bytes:
 * everything is bounded and nothing is trusted. The only other user of OpenSSL's X.509 is pki/. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/err.h"
#include "base/json.h"
#include "base/strv.h"
#include "pki/key.h"

struct cert {
    unsigned char *der; /* owned */
    size_t der_len;
    unsigned char sha256[32]; /* of the DER */
    char *sha256_hex;
    char *serial_hex;         /* lower case, as the INTEGER's content octets (leading 00 kept off) */
    struct strv names;        /* SAN: DNS lower case and IP canonical, as in the certificate's order */
    char *subject_cn;         /* escaped text or NULL */
    char *issuer_cn;          /* escaped text or NULL (then the issuer's O, else "?") */
    char *key_type_name;      /* "ecdsa-p256", ... or "other" */
    unsigned char spki_sha256[32];
    time_t not_before;
    time_t not_after; /* 99991231235959Z and beyond 64 bit are clamped, never overflow */
    bool is_ca;
    bool self_signed;  /* issuer equals subject and its own key verifies it */
    bool must_staple;
    char *ocsp_url;    /* first http(s) URL of the AIA, or NULL */
    char *ari_id;      /* RFC 9773 4.1 certID, NULL without AKI */
};

struct chain {
    struct cert **items; /* leaf first */
    size_t n;
};

void cert_free(struct cert *c);
NODISCARD struct cert *cert_from_der(const void *der, size_t len, struct err **err);
/* CERTIFICATE blocks only: any other block, text that looks like a key, more than 16 certificates,
 * over 1 MiB, or none at all is ERR_REFUSED. Comments outside blocks are skipped. */
NODISCARD struct chain *chain_from_pem(const void *pem, size_t len, struct err **err);
/* Lenient variant for `inspect` and PEM files of operators: other blocks are skipped. */
NODISCARD struct chain *chain_from_pem_file_text(const void *pem, size_t len, struct err **err);
void chain_free(struct chain *c);
static inline void chain_free_p(struct chain **c)
{
    chain_free(*c);
}
#define auto_chain __attribute__((cleanup(chain_free_p)))
static inline void cert_free_p(struct cert **c)
{
    cert_free(*c);
}
#define auto_cert __attribute__((cleanup(cert_free_p)))

/* Normalised PEM (no comments, 64 columns) of certificates [from, n). Caller frees. */
char *chain_to_pem(const struct chain *c, size_t from);

/* Acceptance of an issued chain: leaf key is `key`, names exactly `names` (canonical, order does not
 * count), not a CA, now < notAfter, notBefore <= now + 1 h, notBefore < notAfter, each certificate is
 * signed by the next (a chain of one is fine only when the leaf is not self-signed), the others are CAs
 * and unexpired. ERR_REFUSED naming the fact otherwise. */
NODISCARD bool chain_accept(const struct chain *c, const struct key *key, const struct strv *names,
                            time_t now, struct err **err);
/* The pair check before a reload: leaf key equals key and links hold. */
NODISCARD bool chain_matches_key(const struct chain *c, const struct key *key, struct err **err);
/* Topmost certificate's issuer CN or any element's subject CN equals (case-insensitively) `name`, or
 * `name` is 64 hex digits equal to an element's SHA-256 or SPKI SHA-256. */
bool chain_is_preferred(const struct chain *c, const char *name);

/* Trust of a chain for `inspect`, product.md: "ok", "unknown-ca", "self-signed", "incomplete",
 * "expired", "name-mismatch"; text says more. ca_file NULL: the system's roots. host NULL: no name check. */
const char *chain_trust(const struct chain *c, const char *ca_file, const char *host, time_t now,
                        char **ret_text);

/* product.md section 10 "cert" (revoked: false). NULL gives JSON null. */
json_t *cert_to_json(const struct cert *c);
