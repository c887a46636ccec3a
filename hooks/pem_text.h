/* PEM as text, for servers that are sent files: no certificate is looked into here. */
#pragma once

#include "base/buf.h"

/* Appends the blocks "-----BEGIN ...-----END ...-----\n" of text, without blank lines and without
 * what stands between them. False when there was none, or one was cut or did not fit. */
bool pem_text_blocks(const char *text, size_t len, struct buf *ret);
/* The first CERTIFICATE block, as above; new string, NULL when there is none. */
char *pem_text_leaf(const char *text, size_t len);
bool pem_text_has_key(const char *text);
