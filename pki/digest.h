/* Plain digests, for names derived from text (account folders). */
#pragma once

#include <stddef.h>

void sha256(const void *data, size_t len, unsigned char out[32]);
