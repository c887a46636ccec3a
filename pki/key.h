/* Private keys. Every use of one is a job (generate, sign, CSR), so that keys can later live in a
 * process without network; nothing outside pki/ touches an EVP_PKEY.
 *
 * A `struct key` is reference-counted and immutable; jobs hold their own reference. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strv.h"
#include "base/worker.h"
#include "pki/csr.h"

enum key_type { KEY_ECDSA_P256, KEY_ECDSA_P384, KEY_RSA_2048, KEY_RSA_3072, KEY_RSA_4096 };

const char *key_type_name(enum key_type type); /* "ecdsa-p256", ... */
bool key_type_parse(const char *name, enum key_type *ret_type);
extern const char *const key_type_names[]; /* NULL-terminated, in enum order */

struct key;
struct key *key_ref(struct key *k);
void key_unref(struct key *k); /* NULL is fine */
static inline void key_unref_p(struct key **k)
{
    key_unref(*k);
}
#define auto_key __attribute__((cleanup(key_unref_p)))

/* PKCS#8 or traditional PEM, unencrypted; types of enum key_type only. NULL and ERR_SYSTEM else.
 * Parsing is cheap and not a job. */
NODISCARD struct key *key_from_pem(const void *pem, size_t len, struct err **err);
/* PKCS#8 PEM ("-----BEGIN PRIVATE KEY-----"). */
struct secret *key_to_pem(const struct key *k);
enum key_type key_type(const struct key *k);
/* Same public key? */
bool key_equal(const struct key *a, const struct key *b);
/* SHA-256 of the SubjectPublicKeyInfo DER. */
void key_spki_sha256(const struct key *k, unsigned char out[32]);

/* RFC 7517 public JWK with the required members only, and its RFC 7638 thumbprint (base64url). */
json_t *key_jwk(const struct key *k);
char *key_thumbprint(const struct key *k);
/* "ES256", "ES384" or "RS256". */
const char *key_jws_alg(const struct key *k);

/* Jobs (these and csr_make of pki/csr.h). The callback gets either a result or e (both borrowed
 * unless said), on the loop; the handle ends with it. Freeing the handle (key_job_free) cancels. */
struct key_job;
void key_job_free(struct key_job *j); /* NULL is fine; inside the callback harmless, not after it */

/* key: owned by the callee (key_unref). */
typedef void key_made_fn(struct key *key, const struct err *e, void *userdata);
struct key_job *key_generate(struct worker *w, enum key_type type, key_made_fn *fn, void *userdata);

/* JWS signature bytes: ECDSA r||s fixed width (RFC 7518 3.4), RSA PKCS#1 v1.5 with SHA-256. */
typedef void key_signed_fn(const unsigned char *sig, size_t len, const struct err *e,
                           void *userdata);
struct key_job *key_sign(struct worker *w, struct key *key, const void *data, size_t len,
                         key_signed_fn *fn, void *userdata);

/* HMAC-SHA256 for EAB (RFC 8555 7.3.4); not a job: the key is ours for this one use. */
void hmac_sha256(const struct secret *key, const void *data, size_t len, unsigned char out[32]);
