#include "pki/cert.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include <openssl/err.h>

#include "base/buf.h"
#include "base/enc.h"
#include "pki/key_private.h"
#include "pki/name.h"
#include "pki/openssl.h"

#define TEXT_MAX 256 /* of a CN or O that is shown */
#define URL_MAX  2048

#define TLS_FEATURE_STATUS_REQUEST 5 /* RFC 7633, RFC 6066 */

void cert_free(struct cert *c)
{
    if (!c)
        return;
    free(c->der);
    free(c->sha256_hex);
    free(c->serial_hex);
    strv_done(&c->names);
    free(c->subject_cn);
    free(c->issuer_cn);
    free(c->key_type_name);
    strv_done(&c->ocsp_urls);
    strv_done(&c->crl_urls);
    free(c->ari_id);
    X509_free(c->x509);
    free(c);
}

/* An IA5String as a DNS name in lower case. A name with a NUL inside has fooled others
 * (CVE-2009-2408); here everything that no host name has stays visible and cannot equal one. */
static char *dns_text(const unsigned char *data, size_t len)
{
    auto_buf struct buf b;

    buf_init(&b, 4 * len + 1);
    for (size_t i = 0; i < len; i++) {
        if (data[i] > 0x20 && data[i] < 0x7f && data[i] != '\\')
            buf_addf(&b, "%c", tolower(data[i]));
        else
            buf_addf(&b, "\\x%02x", data[i]);
    }
    return buf_take(&b);
}

static bool read_names(struct cert *c, const X509 *x, struct err **err)
{
    int critical;
    auto_names GENERAL_NAMES *san = X509_get_ext_d2i(x, NID_subject_alt_name, &critical, NULL);

    if (!san && critical != -1) /* there, but twice or unreadable */
        return err_from_openssl(err, ERR_REFUSED,
                                "the certificate's subject alternative names cannot be read");
    for (int i = 0; i < sk_GENERAL_NAME_num(san); i++) {
        int type;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(san, i), &type);

        if (type != GEN_DNS && type != GEN_IPADD)
            continue;
        const unsigned char *data = ASN1_STRING_get0_data(s);
        size_t len = (size_t)ASN1_STRING_length(s);
        char *text = type == GEN_DNS ? dns_text(data, len) : name_from_ip(data, len);

        if (!text)
            return err_set(err, ERR_REFUSED, "the certificate names an IP address of %zu octets",
                           len);
        strv_add_owned(&c->names, text);
    }
    return true;
}

/* The last value of an attribute is the most specific one. */
static char *name_text(const X509_NAME *name, int nid)
{
    auto_openssl unsigned char *utf8 = NULL;
    int found = -1;

    for (int i = -1; (i = X509_NAME_get_index_by_NID(name, nid, i)) >= 0;)
        found = i;
    if (found < 0)
        return NULL;
    int len =
        ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, found)));

    if (len < 0)
        return NULL;
    return text_escape((const char *)utf8, len < TEXT_MAX ? (size_t)len : TEXT_MAX);
}

static void read_subject_and_issuer(struct cert *c, const X509 *x)
{
    const X509_NAME *issuer = X509_get_issuer_name(x);

    c->subject_cn = name_text(X509_get_subject_name(x), NID_commonName);
    c->issuer_cn = name_text(issuer, NID_commonName);
    if (!c->issuer_cn)
        c->issuer_cn = name_text(issuer, NID_organizationName);
    if (!c->issuer_cn)
        c->issuer_cn = xstrdup("?");
}

static bool read_time(const ASN1_TIME *t, time_t *ret)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1)
        return false;
    *ret = timegm(&tm); /* years 0 to 9999: far from the ends of 64 bits */
    return true;
}

/* The content octets of the INTEGER, with the leading zero of numbers whose high bit is set. */
static unsigned char *serial_octets(const X509 *x, size_t *ret_len)
{
    auto_openssl unsigned char *der = NULL;
    int der_len = i2d_ASN1_INTEGER(X509_get0_serialNumber(x), &der);
    const unsigned char *at = der;
    long len = 0;
    int tag, class;

    openssl_must(der_len > 0 && !(ASN1_get_object(&at, &len, &tag, &class, der_len) & 0x80),
                 "i2d_ASN1_INTEGER");
    *ret_len = (size_t)len;
    return xmemdup(at, (size_t)len);
}

static void read_serial_and_ari_id(struct cert *c, X509 *x)
{
    size_t len;
    auto_free unsigned char *serial = serial_octets(x, &len);
    const ASN1_OCTET_STRING *aki = X509_get0_authority_key_id(x);
    bool padded = len > 1 && serial[0] == 0;

    c->serial_hex = enc_hex(serial + padded, len - padded);
    if (!aki || ASN1_STRING_length(aki) == 0)
        return;
    /* RFC 9773 4.1: here the leading zero belongs to it. */
    auto_free char *left =
        enc_base64url(ASN1_STRING_get0_data(aki), (size_t)ASN1_STRING_length(aki));
    auto_free char *right = enc_base64url(serial, len);

    c->ari_id = xasprintf("%s.%s", left, right);
}

static void read_key(struct cert *c, const X509 *x)
{
    auto_openssl unsigned char *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    EVP_PKEY *pkey = X509_get0_pubkey(x);
    enum key_type type;

    openssl_must(len > 0 &&
                     EVP_Digest(spki, (size_t)len, c->spki_sha256, NULL, EVP_sha256(), NULL) == 1,
                 "i2d_X509_PUBKEY");
    c->key_type_name = xstrdup(pkey && key_type_of(pkey, &type) ? key_type_name(type) : "other");
}

static bool has_must_staple(const X509 *x)
{
    TLS_FEATURE *features = X509_get_ext_d2i(x, NID_tlsfeature, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++) {
        if (ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLS_FEATURE_STATUS_REQUEST)
            found = true;
    }
    sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
    return found;
}

static bool is_usable_url(const char *url)
{
    if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
        return false;
    for (const char *c = url; *c; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
            return false;
    }
    return strlen(url) <= URL_MAX;
}

static void add_url(struct strv *urls, const char *url)
{
    if (urls->n < CERT_URLS_MAX && is_usable_url(url) && !strv_has(urls, url))
        strv_add(urls, url);
}

/* Plain http first: a responder whose certificate must be checked by asking a responder is unusual
 * and trouble. */
static void read_ocsp_urls(struct cert *c, X509 *x)
{
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(x); /* leaves out those with a NUL inside */

    for (int https = 0; https < 2; https++) {
        for (int i = 0; i < sk_OPENSSL_STRING_num(urls); i++) {
            const char *url = sk_OPENSSL_STRING_value(urls, i);
            if ((strncasecmp(url, "https:", 6) == 0) == https)
                add_url(&c->ocsp_urls, url);
        }
    }
    X509_email_free(urls);
}

static void add_names(struct strv *urls, const GENERAL_NAMES *names)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type;
        const ASN1_STRING *s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type != GEN_URI)
            continue;
        size_t len = (size_t)ASN1_STRING_length(s);
        auto_free char *url = xstrndup((const char *)ASN1_STRING_get0_data(s), len);
        if (strlen(url) == len)
            add_url(urls, url);
    }
}

/* Lists signed by somebody else than the issuer (cRLIssuer) are none we could check. */
static void read_crl_urls(struct cert *c, X509 *x)
{
    CRL_DIST_POINTS *points = X509_get_ext_d2i(x, NID_crl_distribution_points, NULL, NULL);

    for (int i = 0; i < sk_DIST_POINT_num(points); i++) {
        const DIST_POINT *p = sk_DIST_POINT_value(points, i);
        if (p->distpoint && p->distpoint->type == 0 && !p->CRLissuer)
            add_names(&c->crl_urls, p->distpoint->name.fullname);
    }
    CRL_DIST_POINTS_free(points);
}

/* What signs others: CA:TRUE, a version 1 root, or no basicConstraints but keyCertSign (1, 3, 4).
 */
static bool is_ca(X509 *x)
{
    int kind = X509_check_ca(x);

    return kind == 1 || kind == 3 || kind == 4;
}

static bool read_facts(struct cert *c, X509 *x, struct err **err)
{
    if (!read_time(X509_get0_notBefore(x), &c->not_before) ||
        !read_time(X509_get0_notAfter(x), &c->not_after))
        return err_set(err, ERR_REFUSED, "the certificate's dates cannot be read");
    if (!read_names(c, x, err))
        return false;
    read_subject_and_issuer(c, x);
    read_serial_and_ari_id(c, x);
    read_key(c, x);
    c->is_ca = is_ca(x);
    c->self_signed = X509_self_signed(x, 1) == 1;
    c->must_staple = has_must_staple(x);
    read_ocsp_urls(c, x);
    read_crl_urls(c, x);
    return true;
}

struct cert *cert_from_der(const void *der, size_t len, struct err **err)
{
    if (len > CERT_DER_MAX) {
        err_set(err, ERR_REFUSED, "a certificate of %zu bytes is too large", len);
        return NULL;
    }
    const unsigned char *at = der;
    auto_x509 X509 *x = d2i_X509(NULL, &at, (long)len);

    if (!x) {
        err_from_openssl(err, ERR_REFUSED, "not a certificate");
        return NULL;
    }
    if (at != (const unsigned char *)der + len) {
        err_set(err, ERR_REFUSED, "something follows the certificate");
        return NULL;
    }
    auto_cert struct cert *c = xcalloc(1, sizeof(*c));

    c->der = xmemdup(der, len);
    c->der_len = len;
    openssl_must(EVP_Digest(der, len, c->sha256, NULL, EVP_sha256(), NULL) == 1, "EVP_Digest");
    c->sha256_hex = enc_hex(c->sha256, sizeof(c->sha256));
    bool ok = read_facts(c, x, err);

    ERR_clear_error(); /* absent or odd extensions are facts, not failures */
    c->x509 = take(x);
    return ok ? take(c) : NULL;
}

json_t *cert_to_json(const struct cert *c)
{
    if (!c)
        return json_null();
    json_t *o = json_object();

    json_put_str(o, "serial", c->serial_hex);
    json_put_str(o, "sha256", c->sha256_hex);
    json_put_strv(o, "names", &c->names);
    json_put_str(o, "issuer_cn", c->issuer_cn);
    json_put_str(o, "key_type", c->key_type_name);
    json_put_time(o, "not_before", c->not_before);
    json_put_time(o, "not_after", c->not_after);
    json_put_bool(o, "revoked", false);
    return o;
}
