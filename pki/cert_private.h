/* From facts back to OpenSSL's view, for the checks in pki/. */
#pragma once

#include "pki/cert.h"
#include "pki/openssl.h"

/* Cannot fail: the bytes were parsed before. X509_free. */
static inline X509 *cert_to_x509(const struct cert *c)
{
    const unsigned char *at = c->der;
    X509 *x = d2i_X509(NULL, &at, (long)c->der_len);

    openssl_must(x, "d2i_X509");
    return x;
}
