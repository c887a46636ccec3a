/* OCSP requests (RFC 6960, RFC 5019): for one certificate, unsigned and without a nonce, so that
 * caches may answer; and those that servers send to our own responder. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "pki/cert.h"

/* How the issuer is named in a CertID. SHA-1 is what responders and servers know (RFC 5019 2.1.1);
 * nothing is authenticated by it. */
enum ocsp_hash { OCSP_HASH_SHA1, OCSP_HASH_SHA256, OCSP_HASHES };

/* A CertID as text: digest, issuer name hash, issuer key hash, serial. Equal texts are equal
 * CertIDs, whatever way somebody encoded them. Caller frees. */
char *ocsp_id(const struct cert *leaf, const struct cert *issuer, enum ocsp_hash hash);

/* Caller frees with free(). */
unsigned char *ocsp_request_make(const struct cert *leaf, const struct cert *issuer,
                                 enum ocsp_hash hash, size_t *ret_len);
/* The URL of a GET (RFC 6960 A.1), or NULL when it takes a POST: over 255 octets, or a responder
 * whose URL has a query. Caller frees. */
#define OCSP_GET_MAX 255
char *ocsp_get_url(const char *responder, const unsigned char *der, size_t len);

/* The request in the path of a GET: slashes in front are skipped, what is percent-encoded is
 * decoded, base64 with bare slashes is understood. Caller frees *ret. */
#define OCSP_REQUEST_MAX 4096
NODISCARD bool ocsp_path_decode(const char *path, unsigned char **ret, size_t *ret_len);
/* The CertIDs asked for (at least one, at most 16), as ocsp_id() writes them, in the request's
 * order. */
NODISCARD bool ocsp_request_parse(const void *der, size_t len, struct strv *ret_ids,
                                  struct err **err);
