#include "pki/digest.h"

#include "pki/openssl.h"

void sha256(const void *data, size_t len, unsigned char out[32])
{
    openssl_must(EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1, "EVP_Digest");
}
