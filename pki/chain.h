/* Certificate chains as PEM and the checks before anything sees a new one. Included by pki/cert.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "base/err.h"
#include "base/strv.h"

struct cert;
struct key;

#define CHAIN_CERTS_MAX 16
#define CHAIN_PEM_MAX   (1024 * 1024)

struct chain {
    struct cert **items; /* leaf first */
    size_t n;            /* at least 1 in every chain that a function here returned or takes */
};

/* For what a CA sends: CERTIFICATE blocks and white space only. Any other block or text (RFC
 * 8555 9.1), more than 16 certificates, over 1 MiB, or none at all is ERR_REFUSED. */
NODISCARD struct chain *chain_from_pem(const void *pem, size_t len, struct err **err);
/* Lenient variant for `inspect` and PEM files of operators: other blocks and text are skipped. */
NODISCARD struct chain *chain_from_pem_file_text(const void *pem, size_t len, struct err **err);
void chain_free(struct chain *c);
static inline void chain_free_p(struct chain **c)
{
    chain_free(*c);
}
#define auto_chain __attribute__((cleanup(chain_free_p)))

/* Appends; the certificate belongs to the chain then. */
void chain_add(struct chain *c, struct cert *cert);

/* Normalised PEM (no comments, 64 columns) of certificates [from, n). Caller frees. */
char *chain_to_pem(const struct chain *c, size_t from);

/* Acceptance of an issued chain: leaf key is `key`, names exactly `names` (canonical, order does
 * not count), not a CA, now < notAfter, notBefore <= now + 1 h, notBefore < notAfter, each
 * certificate is signed by the next (a chain of one is fine only when the leaf is not self-signed),
 * the others are CAs and unexpired. ERR_REFUSED naming the fact otherwise. */
NODISCARD bool chain_accept(const struct chain *c, const struct key *key, const struct strv *names,
                            time_t now, struct err **err);
/* The pair check before a reload: leaf key equals key and links hold. */
NODISCARD bool chain_matches_key(const struct chain *c, const struct key *key, struct err **err);
/* Topmost certificate's issuer CN or any element's subject CN equals (case-insensitively) `name`,
 * or `name` is 64 hex digits equal to an element's SHA-256 or SPKI SHA-256. */
bool chain_is_preferred(const struct chain *c, const char *name);

/* Trust of a chain for `inspect`, product.md: "ok", "unknown-ca", "self-signed", "incomplete",
 * "expired" (or not yet valid), "name-mismatch"; text says more (caller frees; ret_text may be
 * NULL). The leaf's dates come before everything else. ca_file NULL: the system's roots. host NULL:
 * no name check. */
const char *chain_trust(const struct chain *c, const char *ca_file, const char *host, time_t now,
                        char **ret_text);
