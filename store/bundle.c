#include "store/bundle.h"

#include <string.h>

#include "base/enc.h"
#include "pki/digest.h"

const char *const bundle_names[BUNDLE_PARTS] = {
    [BUNDLE_CHAIN] = "chain.pem", [BUNDLE_FULLCHAIN] = "fullchain.pem",
    [BUNDLE_CERT] = "cert.pem",   [BUNDLE_STAPLING] = "nginx-stapling.conf",
    [BUNDLE_KEY] = "privkey.pem",
};

void bundle_init(struct bundle *b)
{
    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        buf_init(&b->parts[i], BUNDLE_PART_MAX);
        b->parts[i].wipe = true;
    }
    buf_init(&b->staple, BUNDLE_PART_MAX);
}

void bundle_make(struct bundle *b, const struct chain *chain, const struct secret *key_pem)
{
    auto_free char *full = chain_to_pem(chain, 0);
    auto_free char *rest = chain_to_pem(chain, 1);
    size_t leaf_len = strlen(full) - strlen(rest);

    bundle_init(b);
    buf_add_str(&b->parts[BUNDLE_FULLCHAIN], full);
    buf_add(&b->parts[BUNDLE_CERT], full, leaf_len);
    buf_add_str(&b->parts[BUNDLE_CHAIN], rest);
    buf_add(&b->parts[BUNDLE_KEY], key_pem->data, key_pem->len);
}

void bundle_done(struct bundle *b)
{
    for (size_t i = 0; i < BUNDLE_PARTS; i++)
        buf_done(&b->parts[i]);
    buf_done(&b->staple);
}

char *bundle_digest(const struct bundle *b)
{
    unsigned char digests[BUNDLE_PARTS][32] = {0};
    unsigned char digest[32];

    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        if (i != BUNDLE_STAPLING)
            sha256(b->parts[i].data, b->parts[i].len, digests[i]);
    }
    sha256(digests, sizeof digests, digest);
    return enc_hex(digest, sizeof digest);
}

/* fullchain.pem is cert.pem and chain.pem. */
static bool parts_agree(const struct bundle *b)
{
    const struct buf *full = &b->parts[BUNDLE_FULLCHAIN], *cert = &b->parts[BUNDLE_CERT],
                     *chain = &b->parts[BUNDLE_CHAIN];

    return full->len == cert->len + chain->len && memcmp(full->data, cert->data, cert->len) == 0 &&
           memcmp(full->data + cert->len, chain->data, chain->len) == 0;
}

bool bundle_parse(const struct bundle *b, struct chain **ret_chain, struct key **ret_key,
                  struct err **err)
{
    const struct buf *full = &b->parts[BUNDLE_FULLCHAIN], *pem = &b->parts[BUNDLE_KEY];

    if (!parts_agree(b))
        return err_set(err, ERR_SYSTEM, "fullchain.pem is not cert.pem followed by chain.pem");
    auto_chain struct chain *chain = chain_from_pem(full->data, full->len, err);
    if (!chain)
        return err_wrap(err, "fullchain.pem");
    auto_key struct key *key = key_from_pem(pem->data, pem->len, err);
    if (!key)
        return err_wrap(err, "privkey.pem");
    if (!chain_matches_key(chain, key, err))
        return false;
    *ret_chain = take(chain);
    *ret_key = take(key);
    return true;
}
