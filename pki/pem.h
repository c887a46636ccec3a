/* PEM blocks (RFC 7468) of foreign text, in one pass: every byte is looked at a bounded number of
 * times and nothing is given to OpenSSL but the decoded DER of the blocks we want (crafted PEM made
 * others burn CPU: GHSA-r4pg-vg54-wxx4). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct pem_reader {
    const char *at;
    const char *end;
    unsigned line; /* of `at`, from 1 */
    bool strict;   /* nothing but white space outside blocks (RFC 8555 9.1: stricttextualmsg) */
};

/* Points into the text that is read. */
struct pem_block {
    const char *label; /* "CERTIFICATE" */
    size_t label_len;
    const char *body;
    size_t body_len;
    unsigned line; /* of the BEGIN line */
};

enum pem_next { PEM_BLOCK, PEM_END, PEM_BAD };

void pem_init(struct pem_reader *r, const void *text, size_t len);
/* The next block. Text outside blocks is skipped (unless `strict`, which the caller may set after
 * pem_init), except for lines that begin with -----BEGIN or -----END and are none. PEM_BAD: err is
 * ERR_REFUSED and names the line. */
NODISCARD enum pem_next pem_next(struct pem_reader *r, struct pem_block *ret, struct err **err);
bool pem_block_is(const struct pem_block *b, const char *label);
/* Base64 and white space only (no RFC 1421 headers). Caller frees. */
NODISCARD bool pem_decode(const struct pem_block *b, unsigned char **ret_der, size_t *ret_len,
                          struct err **err);
