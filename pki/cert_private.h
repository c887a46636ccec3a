/* From facts back to OpenSSL's view, for the checks in pki/. */
#pragma once

#include "pki/cert.h"
#include "pki/openssl.h"

/* A reference of the caller's own: X509_free. */
static inline X509 *cert_to_x509(const struct cert *c)
{
    X509_up_ref(c->x509);
    return c->x509;
}
