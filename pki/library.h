/* Versions of the libraries behind pki/ as they run (not as they were compiled against). */
#pragma once

const char *library_openssl_version(void); /* "3.0.15" */
const char *library_idn2_version(void);
