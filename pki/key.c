#include "pki/key.h"

#include <assert.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include "base/enc.h"
#include "pki/key_private.h"
#include "pki/openssl.h"

/* An RSA-4096 key with comments around it is under 8 KiB. */
#define KEY_PEM_MAX (64 * 1024)

const char *const key_type_names[] = {"ecdsa-p256", "ecdsa-p384", "rsa-2048",
                                      "rsa-3072",   "rsa-4096",   NULL};

const char *key_type_name(enum key_type type)
{
    return key_type_names[type];
}

bool key_type_parse(const char *name, enum key_type *ret_type)
{
    for (size_t i = 0; key_type_names[i]; i++) {
        if (strcmp(name, key_type_names[i]) == 0) {
            *ret_type = (enum key_type)i;
            return true;
        }
    }
    return false;
}

static bool ec_type_of(const EVP_PKEY *pkey, enum key_type *ret_type)
{
    char group[64];
    size_t len;

    if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), &len) != 1)
        return false;
    if (strcmp(group, "prime256v1") == 0 || strcmp(group, "P-256") == 0)
        *ret_type = KEY_ECDSA_P256;
    else if (strcmp(group, "secp384r1") == 0 || strcmp(group, "P-384") == 0)
        *ret_type = KEY_ECDSA_P384;
    else
        return false;
    return true;
}

bool key_type_of(const EVP_PKEY *pkey, enum key_type *ret_type)
{
    if (EVP_PKEY_is_a(pkey, "EC"))
        return ec_type_of(pkey, ret_type);
    if (!EVP_PKEY_is_a(pkey, "RSA"))
        return false;
    switch (EVP_PKEY_get_bits(pkey)) {
    case 2048:
        *ret_type = KEY_RSA_2048;
        return true;
    case 3072:
        *ret_type = KEY_RSA_3072;
        return true;
    case 4096:
        *ret_type = KEY_RSA_4096;
        return true;
    default:
        return false;
    }
}

struct key *key_ref(struct key *k)
{
    k->refs++;
    return k;
}

void key_unref(struct key *k)
{
    if (!k || --k->refs > 0)
        return;
    EVP_PKEY_free(k->pkey); /* wipes the private part */
    free(k);
}

struct key *key_from_pkey(EVP_PKEY *pkey, struct err **err)
{
    enum key_type type;

    if (!key_type_of(pkey, &type)) {
        err_set(err, ERR_SYSTEM, "the key is of a type we do not use (%s, %d bits)",
                EVP_PKEY_get0_type_name(pkey), EVP_PKEY_get_bits(pkey));
        err_hint(err, "use an ECDSA key on P-256 or P-384, or RSA with 2048, 3072 or 4096 bits");
        EVP_PKEY_free(pkey);
        return NULL;
    }
    struct key *k = xcalloc(1, sizeof(*k));

    *k = (struct key){.refs = 1, .type = type, .pkey = pkey};
    return k;
}

enum key_type key_type(const struct key *k)
{
    return k->type;
}

const EVP_MD *key_digest(const struct key *k)
{
    return k->type == KEY_ECDSA_P384 ? EVP_sha384() : EVP_sha256();
}

bool key_sign_raw(const struct key *k, const void *data, size_t len, unsigned char **ret_sig,
                  size_t *ret_len, struct err **err)
{
    auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t sig_len = 0;

    if (!ctx || EVP_DigestSignInit(ctx, NULL, key_digest(k), NULL, k->pkey) != 1 ||
        EVP_DigestSign(ctx, NULL, &sig_len, data, len) != 1)
        return err_from_openssl(err, ERR_SYSTEM, "signing with the %s key", key_type_name(k->type));

    auto_free unsigned char *sig = xmalloc(sig_len);

    if (EVP_DigestSign(ctx, sig, &sig_len, data, len) != 1)
        return err_from_openssl(err, ERR_SYSTEM, "signing with the %s key", key_type_name(k->type));
    *ret_sig = take(sig);
    *ret_len = sig_len;
    return true;
}

/* A file damaged or edited by hand may hold a private and a public key that do not belong together.
 * All checks against certificates look at the public one, a server signs with the other: prove the
 * pair by a signature (6 ms at worst; EVP_PKEY_check would test RSA primes for 100 ms). */
static bool check_pair(const struct key *k, struct err **err)
{
    static const unsigned char probe[] = "everleaf: do these belong together?";
    auto_free unsigned char *sig = NULL;
    size_t len;

    if (!key_sign_raw(k, probe, sizeof(probe), &sig, &len, err))
        return false;

    auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    openssl_must(ctx, "EVP_MD_CTX_new");
    if (EVP_DigestVerifyInit(ctx, NULL, key_digest(k), NULL, k->pkey) != 1 ||
        EVP_DigestVerify(ctx, sig, len, probe, sizeof(probe)) != 1)
        return err_from_openssl(err, ERR_SYSTEM,
                                "the private key does not belong to the public key beside it");
    return true;
}

/* Without it OpenSSL would ask for the passphrase on the terminal. */
static int refuse_passphrase(char *buf, int size, int rwflag, void *userdata)
{
    (void)buf;
    (void)size;
    (void)rwflag;
    *(bool *)userdata = true;
    return -1;
}

struct key *key_from_pem(const void *pem, size_t len, struct err **err)
{
    if (len > KEY_PEM_MAX) {
        err_set(err, ERR_SYSTEM, "%zu bytes are too many for a private key", len);
        return NULL;
    }
    auto_bio BIO *bio = BIO_new_mem_buf(pem, (int)len); /* reads in place: no copy to wipe */
    bool encrypted = false;

    openssl_must(bio, "BIO_new_mem_buf");
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &encrypted);

    if (!pkey) {
        err_from_openssl(err, ERR_SYSTEM, "%s",
                         encrypted ? "the private key is encrypted" : "no private key in PEM form");
        if (encrypted)
            err_hint(err, "decrypt it with: openssl pkey -in OLD -out NEW");
        return NULL;
    }
    auto_key struct key *k = key_from_pkey(pkey, err);

    if (!k || !check_pair(k, err))
        return NULL;
    return take(k);
}

struct secret *key_to_pem(const struct key *k)
{
    auto_bio BIO *bio = BIO_new(BIO_s_secmem()); /* wiped when freed and when it grows */
    char *data;

    openssl_must(bio && PEM_write_bio_PKCS8PrivateKey(bio, k->pkey, NULL, NULL, 0, NULL, NULL) == 1,
                 "PEM_write_bio_PKCS8PrivateKey");
    long len = BIO_get_mem_data(bio, &data);

    return secret_new(data, (size_t)len);
}

bool key_equal(const struct key *a, const struct key *b)
{
    return EVP_PKEY_eq(a->pkey, b->pkey) == 1;
}

void key_spki_sha256(const struct key *k, unsigned char out[32])
{
    auto_openssl unsigned char *der = NULL;
    int len = i2d_PUBKEY(k->pkey, &der);

    openssl_must(len > 0 && EVP_Digest(der, (size_t)len, out, NULL, EVP_sha256(), NULL) == 1,
                 "i2d_PUBKEY");
}

/* Adds a number as base64url of its octets: `width` of them (RFC 7518 6.2.1.2), or without leading
 * zeros when width is 0 (RFC 7518 6.3.1.1). */
static void put_number(json_t *o, const char *name, const struct key *k, const char *param,
                       size_t width)
{
    auto_bn BIGNUM *n = NULL;

    openssl_must(EVP_PKEY_get_bn_param(k->pkey, param, &n) == 1, "EVP_PKEY_get_bn_param");
    if (width == 0)
        width = (size_t)BN_num_bytes(n);

    auto_free unsigned char *octets = xmalloc(width);

    openssl_must(BN_bn2binpad(n, octets, (int)width) == (int)width, "BN_bn2binpad");
    auto_free char *text = enc_base64url(octets, width);

    json_put_str(o, name, text);
}

json_t *key_jwk(const struct key *k)
{
    json_t *o = json_object();

    if (k->type == KEY_ECDSA_P256 || k->type == KEY_ECDSA_P384) {
        size_t width = k->type == KEY_ECDSA_P256 ? 32 : 48;

        json_put_str(o, "crv", k->type == KEY_ECDSA_P256 ? "P-256" : "P-384");
        json_put_str(o, "kty", "EC");
        put_number(o, "x", k, OSSL_PKEY_PARAM_EC_PUB_X, width);
        put_number(o, "y", k, OSSL_PKEY_PARAM_EC_PUB_Y, width);
    } else {
        put_number(o, "e", k, OSSL_PKEY_PARAM_RSA_E, 0);
        json_put_str(o, "kty", "RSA");
        put_number(o, "n", k, OSSL_PKEY_PARAM_RSA_N, 0);
    }
    return o;
}

char *key_thumbprint(const struct key *k)
{
    auto_json json_t *jwk = key_jwk(k);
    auto_free char *text = json_compact(jwk); /* sorted, no spaces: RFC 7638 3.3 */
    unsigned char digest[32];

    openssl_must(EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) == 1,
                 "EVP_Digest");
    return enc_base64url(digest, sizeof(digest));
}

const char *key_jws_alg(const struct key *k)
{
    switch (k->type) {
    case KEY_ECDSA_P256:
        return "ES256";
    case KEY_ECDSA_P384:
        return "ES384";
    case KEY_RSA_2048:
    case KEY_RSA_3072:
    case KEY_RSA_4096:
        return "RS256";
    }
    assert(false);
    return NULL;
}

void hmac_sha256(const struct secret *key, const void *data, size_t len, unsigned char out[32])
{
    unsigned out_len = 0;

    assert(key->len <= INT_MAX);
    openssl_must(HMAC(EVP_sha256(), key->data, (int)key->len, data, len, out, &out_len) &&
                     out_len == 32,
                 "HMAC");
}
