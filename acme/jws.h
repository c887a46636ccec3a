/* Flattened JWS with the protected header of RFC 8555 6.2. Texts only; signing is pki/key.h's.
 * Nonces and URLs have been checked to need no escaping (acme/nonces.h, acme/url.h). All results
 * are new. */
#pragma once

#include <stddef.h>

#include "base/json.h"
#include "base/mem.h"

/* The protected header without nonce and url, unfinished: what stays the same for one account. */
char *jws_header_kid(const char *alg, const char *kid);
char *jws_header_jwk(const char *alg, const char *jwk); /* jwk: JSON text */

/* BASE64URL(header) "." payload; `payload` is encoded already. nonce NULL: none (inner JWS). */
char *jws_signing_input(const char *header, const char *nonce, const char *url,
                        const char *payload);
/* The whole JWS; signing_input as above. */
char *jws_body(const char *signing_input, const unsigned char *signature, size_t len);

/* externalAccountBinding (RFC 8555 7.3.4): HS256 over the account's JWK. */
json_t *jws_external_account(const struct secret *hmac, const char *kid, const char *url,
                             const char *jwk);
