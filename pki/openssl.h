/* What every user of OpenSSL in pki/ needs: its error queue as our errors, cleanup variables for
 * its types, and one answer to "out of memory". For pki/ only. */
#pragma once

#include <stdbool.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ocsp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/err.h"

/* Sets an error from fmt and the reasons in OpenSSL's queue of this thread ("reading x: bad base64
 * decode"), and empties the queue so that they cannot be blamed on the next call. Returns false. */
bool err_from_openssl(struct err **err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* For calls that fail only when memory runs out (or OpenSSL is broken): ends the process as xmalloc
 * does. `what` says which call. */
void openssl_must(bool ok, const char *what);

/* Bytes that OpenSSL allocated (the result of an i2d call). */
static inline void openssl_free_p(unsigned char **p)
{
    OPENSSL_free(*p);
}
#define auto_openssl __attribute__((cleanup(openssl_free_p)))

#define OPENSSL_CLEANUP(type, free_fn)                                                             \
    static inline void free_fn##_p(type **p)                                                       \
    {                                                                                              \
        free_fn(*p);                                                                               \
    }

OPENSSL_CLEANUP(BIO, BIO_free_all)
OPENSSL_CLEANUP(BIGNUM, BN_clear_free)
OPENSSL_CLEANUP(EVP_PKEY, EVP_PKEY_free)
OPENSSL_CLEANUP(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
OPENSSL_CLEANUP(EVP_MD_CTX, EVP_MD_CTX_free)
OPENSSL_CLEANUP(X509, X509_free)
OPENSSL_CLEANUP(X509_REQ, X509_REQ_free)
OPENSSL_CLEANUP(X509_STORE, X509_STORE_free)
OPENSSL_CLEANUP(X509_STORE_CTX, X509_STORE_CTX_free)
OPENSSL_CLEANUP(GENERAL_NAMES, GENERAL_NAMES_free)
OPENSSL_CLEANUP(OCSP_CERTID, OCSP_CERTID_free)
OPENSSL_CLEANUP(OCSP_REQUEST, OCSP_REQUEST_free)
OPENSSL_CLEANUP(OCSP_RESPONSE, OCSP_RESPONSE_free)
OPENSSL_CLEANUP(OCSP_BASICRESP, OCSP_BASICRESP_free)
OPENSSL_CLEANUP(ISSUING_DIST_POINT, ISSUING_DIST_POINT_free)
OPENSSL_CLEANUP(X509_ALGOR, X509_ALGOR_free)

#define auto_bio       __attribute__((cleanup(BIO_free_all_p)))
#define auto_bn        __attribute__((cleanup(BN_clear_free_p)))
#define auto_pkey      __attribute__((cleanup(EVP_PKEY_free_p)))
#define auto_pkey_ctx  __attribute__((cleanup(EVP_PKEY_CTX_free_p)))
#define auto_md_ctx    __attribute__((cleanup(EVP_MD_CTX_free_p)))
#define auto_x509      __attribute__((cleanup(X509_free_p)))
#define auto_req       __attribute__((cleanup(X509_REQ_free_p)))
#define auto_store     __attribute__((cleanup(X509_STORE_free_p)))
#define auto_store_ctx __attribute__((cleanup(X509_STORE_CTX_free_p)))
#define auto_names     __attribute__((cleanup(GENERAL_NAMES_free_p)))
#define auto_certid    __attribute__((cleanup(OCSP_CERTID_free_p)))
#define auto_ocsp_req  __attribute__((cleanup(OCSP_REQUEST_free_p)))
#define auto_ocsp_resp __attribute__((cleanup(OCSP_RESPONSE_free_p)))
#define auto_basicresp __attribute__((cleanup(OCSP_BASICRESP_free_p)))
#define auto_idp       __attribute__((cleanup(ISSUING_DIST_POINT_free_p)))
#define auto_algor     __attribute__((cleanup(X509_ALGOR_free_p)))
