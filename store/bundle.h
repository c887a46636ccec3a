/* The files of one generation as bytes: what is in a generation's folder and in `files` outputs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "pki/cert.h"

/* In the order in which files are replaced one by one: the key last (lighttpd looks at its mtime).
 */
enum bundle_part {
    BUNDLE_CHAIN,
    BUNDLE_FULLCHAIN,
    BUNDLE_CERT,
    BUNDLE_STAPLING, /* included by nginx configurations; empty while there is no staple */
    BUNDLE_KEY,
    BUNDLE_PARTS,
};
extern const char *const bundle_names[BUNDLE_PARTS]; /* "chain.pem", ... */

#define BUNDLE_PART_MAX                                                                            \
    (2 * 1024 * 1024) /* of a file; more than CHAIN_PEM_MAX after normalising                      \
                       */

struct bundle {
    struct buf parts[BUNDLE_PARTS]; /* wiped when freed */
    struct buf staple;              /* DER; empty: none. Comes and goes, so it is no part */
};
/* Every part empty. */
void bundle_init(struct bundle *b);
void bundle_make(struct bundle *b, const struct chain *chain, const struct secret *key_pem);
void bundle_done(struct bundle *b);
static inline void bundle_done_p(struct bundle *b)
{
    bundle_done(b);
}
#define auto_bundle __attribute__((cleanup(bundle_done_p)))

/* SHA-256 over all parts but the stapling one (which may change), hex: whether files are what was
 * written, without parsing them. Caller frees. */
char *bundle_digest(const struct bundle *b);
/* Parses and checks: one key, its certificate, links of the chain, and the parts say the same. */
NODISCARD bool bundle_parse(const struct bundle *b, struct chain **ret_chain, struct key **ret_key,
                            struct err **err);
