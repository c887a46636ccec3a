#include "pki/chain.h"

#include <string.h>
#include <strings.h>

#include <openssl/err.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/enc.h"
#include "pki/cert_private.h"
#include "pki/key_private.h"
#include "pki/openssl.h"
#include "pki/pem.h"

#define PEM_COLUMNS 64

/* RFC 5280 does not allow for it, but clocks of CAs and ours differ. */
#define NOT_BEFORE_SLACK_S 3600

/* Parsing
 * ------------------------------------------------------------------------------------------ */

void chain_free(struct chain *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        cert_free(c->items[i]);
    free(c->items);
    free(c);
}

void chain_add(struct chain *c, struct cert *cert)
{
    c->items = xreallocarray(c->items, c->n + 1, sizeof(c->items[0]));
    c->items[c->n++] = cert;
}

static bool add_block(struct chain *c, const struct pem_block *b, struct err **err)
{
    auto_free unsigned char *der = NULL;
    size_t len;

    if (c->n == CHAIN_CERTS_MAX)
        return err_set(err, ERR_REFUSED, "more than %d certificates", CHAIN_CERTS_MAX);
    if (!pem_decode(b, &der, &len, err))
        return false;
    struct cert *cert = cert_from_der(der, len, err);

    if (!cert)
        return err_wrap(err, "certificate %zu (line %u)", c->n + 1, b->line);
    chain_add(c, cert);
    return true;
}

/* RFC 8555 11.4: a CA that sends more than certificates may be trying to plant a key. */
static bool check_only_certificates(const void *pem, size_t len, struct err **err)
{
    if (memmem(pem, len, "PRIVATE KEY", strlen("PRIVATE KEY")))
        return err_set(err, ERR_REFUSED, "there is a private key between the certificates");
    return true;
}

static struct chain *parse(const void *pem, size_t len, bool strict, struct err **err)
{
    struct pem_reader reader;
    struct pem_block block;
    enum pem_next next;

    if (len > CHAIN_PEM_MAX) {
        err_set(err, ERR_REFUSED, "%zu bytes are too many for a certificate chain", len);
        return NULL;
    }
    if (strict && !check_only_certificates(pem, len, err))
        return NULL;

    auto_chain struct chain *c = xcalloc(1, sizeof(*c));

    pem_init(&reader, pem, len);
    reader.strict = strict;
    while ((next = pem_next(&reader, &block, err)) == PEM_BLOCK) {
        if (pem_block_is(&block, "CERTIFICATE")) {
            if (!add_block(c, &block, err))
                return NULL;
        } else if (strict) {
            auto_free char *label = xstrndup(block.label, block.label_len);

            err_set(err, ERR_REFUSED, "line %u: \"%s\" where only certificates are expected",
                    block.line, label);
            return NULL;
        }
    }
    if (next == PEM_BAD)
        return NULL;
    if (c->n == 0) {
        err_set(err, ERR_REFUSED, "there is no certificate in it");
        return NULL;
    }
    return take(c);
}

/* Checks
 * ------------------------------------------------------------------------------------------- */

static bool check_key(const X509 *leaf, const struct key *key, struct err **err)
{
    EVP_PKEY *pkey = X509_get0_pubkey(leaf);

    if (!pkey || EVP_PKEY_eq(pkey, key->pkey) != 1) {
        ERR_clear_error();
        return err_set(err, ERR_REFUSED, "the certificate is for another key");
    }
    return true;
}

static bool check_link(const struct chain *c, size_t i, struct err **err)
{
    auto_x509 X509 *subject = cert_to_x509(c->items[i]);
    auto_x509 X509 *issuer = cert_to_x509(c->items[i + 1]);
    EVP_PKEY *pkey = X509_get0_pubkey(issuer);
    /* Names, key identifiers and key usage first, then the signature itself. */
    bool ok =
        pkey && X509_check_issued(issuer, subject) == X509_V_OK && X509_verify(subject, pkey) == 1;

    ERR_clear_error();
    if (!ok)
        return err_set(err, ERR_REFUSED,
                       "certificate %zu of the chain does not sign certificate %zu", i + 2, i + 1);
    return true;
}

static bool check_links(const struct chain *c, struct err **err)
{
    for (size_t i = 0; i + 1 < c->n; i++) {
        if (!check_link(c, i, err))
            return false;
    }
    return true;
}

static bool check_names(const struct cert *leaf, const struct strv *names, struct err **err)
{
    auto_strv struct strv have = {0}, want = {0};

    strv_copy(&have, &leaf->names);
    strv_copy(&want, names);
    strv_sort_unique(&have);
    strv_sort_unique(&want);
    if (strv_equal(&have, &want))
        return true;

    auto_free char *have_text = strv_join(&have, ", ");
    auto_free char *want_text = strv_join(&want, ", ");

    return err_set(err, ERR_REFUSED, "the certificate's names are %s instead of %s",
                   have.n ? have_text : "(none)", want_text);
}

/* `what`: "the certificate", "certificate 2 of the chain". */
static bool check_dates(const struct cert *c, const char *what, time_t now, struct err **err)
{
    char text[CLOCK_TEXT_MAX];

    if (c->not_before >= c->not_after)
        return err_set(err, ERR_REFUSED, "%s ends before it begins", what);
    if (c->not_after <= now)
        return err_set(err, ERR_REFUSED, "%s expired on %s", what,
                       clock_rfc3339(c->not_after, text));
    if (c->not_before > now + NOT_BEFORE_SLACK_S) {
        err_set(err, ERR_REFUSED, "%s is not valid before %s", what,
                clock_rfc3339(c->not_before, text));
        return err_hint(err, "is the clock of this machine right?");
    }
    return true;
}

/* A critical extension that nobody can read makes every TLS client refuse the certificate. */
static bool check_extensions(X509 *leaf, struct err **err)
{
    if (X509_get_extension_flags(leaf) & EXFLAG_INVALID)
        return err_set(err, ERR_REFUSED, "the certificate has extensions that cannot be read");
    return true;
}

static bool check_leaf(const struct cert *leaf, const struct key *key, const struct strv *names,
                       time_t now, struct err **err)
{
    auto_x509 X509 *x = cert_to_x509(leaf);

    if (!check_key(x, key, err) || !check_names(leaf, names, err) || !check_extensions(x, err) ||
        !check_dates(leaf, "the certificate", now, err))
        return false;
    if (leaf->is_ca)
        return err_set(err, ERR_REFUSED, "the certificate is one of a CA");
    if (leaf->self_signed)
        return err_set(err, ERR_REFUSED, "the certificate is self-signed");
    return true;
}

static bool check_issuer(const struct chain *c, size_t i, time_t now, struct err **err)
{
    auto_free char *what = xasprintf("certificate %zu of the chain", i + 1);

    if (!c->items[i]->is_ca)
        return err_set(err, ERR_REFUSED, "%s is none of a CA", what);
    return check_dates(c->items[i], what, now, err);
}

/* Public
 * ------------------------------------------------------------------------------------------- */

struct chain *chain_from_pem(const void *pem, size_t len, struct err **err)
{
    return parse(pem, len, true, err);
}

struct chain *chain_from_pem_file_text(const void *pem, size_t len, struct err **err)
{
    return parse(pem, len, false, err);
}

char *chain_to_pem(const struct chain *c, size_t from)
{
    auto_buf struct buf b;

    buf_init(&b, SIZE_MAX);
    for (size_t i = from; i < c->n; i++) {
        auto_free char *text = enc_base64(c->items[i]->der, c->items[i]->der_len);

        buf_add_str(&b, "-----BEGIN CERTIFICATE-----\n");
        for (size_t at = 0, len = strlen(text); at < len; at += PEM_COLUMNS)
            buf_addf(&b, "%.*s\n", PEM_COLUMNS, text + at);
        buf_add_str(&b, "-----END CERTIFICATE-----\n");
    }
    return buf_take(&b);
}

bool chain_matches_key(const struct chain *c, const struct key *key, struct err **err)
{
    auto_x509 X509 *leaf = cert_to_x509(c->items[0]);

    return check_key(leaf, key, err) && check_links(c, err);
}

bool chain_accept(const struct chain *c, const struct key *key, const struct strv *names,
                  time_t now, struct err **err)
{
    if (!check_leaf(c->items[0], key, names, now, err))
        return false;
    for (size_t i = 1; i < c->n; i++) {
        if (!check_issuer(c, i, now, err))
            return false;
    }
    return check_links(c, err);
}

bool chain_is_preferred(const struct chain *c, const char *name)
{
    if (strcasecmp(c->items[c->n - 1]->issuer_cn, name) == 0)
        return true;
    for (size_t i = 0; i < c->n; i++) {
        const struct cert *cert = c->items[i];
        auto_free char *spki = enc_hex(cert->spki_sha256, sizeof(cert->spki_sha256));

        if ((cert->subject_cn && strcasecmp(cert->subject_cn, name) == 0) ||
            strcasecmp(cert->sha256_hex, name) == 0 || strcasecmp(spki, name) == 0)
            return true;
    }
    return false;
}
