#include "pki/library.h"

#include <stddef.h>

#include <idn2.h>
#include <openssl/crypto.h>

const char *library_openssl_version(void)
{
    return OpenSSL_version(OPENSSL_VERSION_STRING);
}

const char *library_idn2_version(void)
{
    return idn2_check_version(NULL);
}
