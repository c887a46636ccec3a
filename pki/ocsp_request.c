#include "pki/ocsp_request.h"

#include <ctype.h>
#include <string.h>

#include <openssl/err.h>

#include "base/buf.h"
#include "base/enc.h"
#include "pki/cert_private.h"
#include "pki/ocsp_private.h"

#define IDS_MAX 16

/* CertIDs ------------------------------------------------------------------------------------- */

static void add_hex(struct buf *b, const ASN1_STRING *s)
{
    auto_free char *hex = enc_hex(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));

    buf_addf(b, ":%s", hex);
}

char *ocsp_id_text(const OCSP_CERTID *id)
{
    ASN1_OCTET_STRING *name = NULL, *key = NULL;
    ASN1_OBJECT *digest = NULL;
    ASN1_INTEGER *serial = NULL;
    char oid[64];
    auto_buf struct buf b;

    openssl_must(OCSP_id_get0_info(&name, &digest, &key, &serial, (OCSP_CERTID *)(uintptr_t)id) ==
                     1,
                 "OCSP_id_get0_info");
    OBJ_obj2txt(oid, sizeof oid, digest, 1);
    buf_init(&b, 64 * 1024);
    buf_add_str(&b, oid);
    add_hex(&b, name);
    add_hex(&b, key);
    buf_add_str(&b, ASN1_STRING_type(serial) & V_ASN1_NEG ? ":-" : ":");
    add_hex(&b, serial);
    return buf_take(&b);
}

OCSP_CERTID *ocsp_certid(const struct cert *leaf, const struct cert *issuer, enum ocsp_hash hash)
{
    auto_x509 X509 *l = cert_to_x509(leaf), *i = cert_to_x509(issuer);
    OCSP_CERTID *id = OCSP_cert_to_id(hash == OCSP_HASH_SHA256 ? EVP_sha256() : EVP_sha1(), l, i);

    openssl_must(id, "OCSP_cert_to_id");
    return id;
}

char *ocsp_id(const struct cert *leaf, const struct cert *issuer, enum ocsp_hash hash)
{
    auto_certid OCSP_CERTID *id = ocsp_certid(leaf, issuer, hash);

    return ocsp_id_text(id);
}

/* Making -------------------------------------------------------------------------------------- */

unsigned char *ocsp_request_make(const struct cert *leaf, const struct cert *issuer,
                                 enum ocsp_hash hash, size_t *ret_len)
{
    auto_ocsp_req OCSP_REQUEST *r = OCSP_REQUEST_new();
    auto_openssl unsigned char *der = NULL;

    openssl_must(r && OCSP_request_add0_id(r, ocsp_certid(leaf, issuer, hash)),
                 "OCSP_request_add0_id");
    int len = i2d_OCSP_REQUEST(r, &der);

    openssl_must(len > 0, "i2d_OCSP_REQUEST");
    *ret_len = (size_t)len;
    return xmemdup(der, (size_t)len);
}

char *ocsp_get_url(const char *responder, const unsigned char *der, size_t len)
{
    size_t end = strlen(responder);

    if (strpbrk(responder, "?#"))
        return NULL;
    auto_free char *text = enc_base64(der, len);
    auto_buf struct buf b;
    while (end > 0 && responder[end - 1] == '/')
        end--;
    buf_init(&b, OCSP_GET_MAX);
    buf_add(&b, responder, end);
    buf_add_str(&b, "/");
    for (const char *c = text; *c; c++)
        buf_addf(&b, isalnum((unsigned char)*c) ? "%c" : "%%%02X", *c);
    return b.overflow ? NULL : buf_take(&b);
}

/* Reading ------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (!isxdigit((unsigned char)c))
        return -1;
    return isdigit((unsigned char)c) ? c - '0' : tolower(c) - 'a' + 10;
}

bool ocsp_path_decode(const char *path, unsigned char **ret, size_t *ret_len)
{
    auto_buf struct buf text;

    buf_init(&text, OCSP_REQUEST_MAX * 4 / 3 + 4);
    path += strspn(path, "/");
    for (const char *c = path; *c; c++) {
        char octet = *c;
        if (octet == '%') {
            int high = hex_digit(c[1]), low = high < 0 ? -1 : hex_digit(c[2]);
            if (low < 0)
                return false;
            octet = (char)(high * 16 + low);
            c += 2;
        }
        if (octet == '\0' || !buf_add(&text, &octet, 1))
            return false;
    }
    return text.len > 0 && dec_base64_any(text.data, ret, ret_len);
}

bool ocsp_request_parse(const void *der, size_t len, struct strv *ret_ids, struct err **err)
{
    const unsigned char *at = der;

    if (len > OCSP_REQUEST_MAX)
        return err_set(err, ERR_REFUSED, "an OCSP request of %zu octets is too large", len);
    auto_ocsp_req OCSP_REQUEST *r = d2i_OCSP_REQUEST(NULL, &at, (long)len);

    if (!r || at != (const unsigned char *)der + len)
        return err_from_openssl(err, ERR_REFUSED, "not an OCSP request");
    int n = OCSP_request_onereq_count(r);

    if (n < 1 || n > IDS_MAX)
        return err_set(err, ERR_REFUSED, "an OCSP request for %d certificates", n);
    *ret_ids = (struct strv){0};
    for (int i = 0; i < n; i++)
        strv_add_owned(ret_ids, ocsp_id_text(OCSP_onereq_get0_id(OCSP_request_onereq_get0(r, i))));
    return true;
}
