/* Certificate signing requests (PKCS#10, RFC 2986). Included by pki/key.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strv.h"
#include "base/worker.h"

struct key;
struct key_job;

/* PKCS#10 DER: empty subject, SAN with the canonical names (DNS and IP), optional must-staple (RFC
 * 7633), signed with SHA-256 (P-384: SHA-384). */
typedef void csr_made_fn(const unsigned char *der, size_t len, const struct err *e, void *userdata);
struct key_job *csr_make(struct worker *w, struct key *key, const struct strv *names,
                         bool must_staple, csr_made_fn *fn, void *userdata);
