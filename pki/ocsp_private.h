/* CertIDs as OpenSSL sees them, for the OCSP files of pki/. */
#pragma once

#include "pki/ocsp_request.h"
#include "pki/openssl.h"

/* See ocsp_id(). */
char *ocsp_id_text(const OCSP_CERTID *id);
OCSP_CERTID *ocsp_certid(const struct cert *leaf, const struct cert *issuer, enum ocsp_hash hash);
