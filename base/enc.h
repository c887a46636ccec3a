/* base64url without padding (RFC 7515 2), base64, hex. Decoders give a new buffer with a NUL
 * behind. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

char *enc_base64url(const void *data, size_t len);
char *enc_base64(const void *data, size_t len); /* with padding */
char *enc_hex(const void *data, size_t len);    /* lower case, no separators */
/* Strict: alphabet of RFC 4648 5, no padding, no white space, canonical trailing bits. */
NODISCARD bool dec_base64url(const char *text, unsigned char **ret_data, size_t *ret_len);
/* Lenient, for keys typed by people: both alphabets, with or without padding and white space. */
NODISCARD bool dec_base64_any(const char *text, unsigned char **ret_data, size_t *ret_len);
NODISCARD bool dec_hex(const char *text, unsigned char **ret_data, size_t *ret_len);
/* 1..max characters, all of [A-Za-z0-9_-]. */
bool enc_is_base64url(const char *text, size_t max);
