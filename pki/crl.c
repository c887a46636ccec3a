/* CertificateList (RFC 5280 5.1) by hand: OpenSSL's own object takes ten times the octets of a list
 * with a million entries. Only the extensions and the signature are given to it. */
#include "pki/crl.h"

#include <stdint.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/clock.h"
#include "base/enc.h"
#include "pki/cert_private.h"

#define REMOVE_FROM_CRL 8
#define SERIAL_MAX      64
#define TIME_MAX        32

struct span {
    const unsigned char *at;
    size_t len;
};

struct crl {
    unsigned char *der;
    struct span tbs;     /* with its header: what is signed */
    struct span algo;    /* with its header */
    struct span sig;     /* the octets of the BIT STRING */
    struct span issuer;  /* Name with its header */
    struct span entries; /* content of revokedCertificates; empty: none */
    time_t this_update, next_update;
    ISSUING_DIST_POINT *idp; /* or NULL */
};

void crl_free(struct crl *c)
{
    if (!c)
        return;
    ISSUING_DIST_POINT_free(c->idp);
    free(c->der);
    free(c);
}

time_t crl_this_update(const struct crl *c)
{
    return c->this_update;
}

time_t crl_next_update(const struct crl *c)
{
    return c->next_update;
}

const char *crl_reason_name(long reason)
{
    static const char *const names[] = {
        "unspecified",   "keyCompromise",        "cACompromise",    "affiliationChanged",
        "superseded",    "cessationOfOperation", "certificateHold", "unspecified",
        "removeFromCRL", "privilegeWithdrawn",   "aACompromise",
    };

    return reason >= 0 && (size_t)reason < ARRAY_LEN(names) ? names[reason] : names[0];
}

/* DER ----------------------------------------------------------------------------------------- */

/* Takes one element off the front; `ret` is its content, `ret_whole` (may be NULL) with its header.
 * False when it is no DER, reaches behind the end, or is not `tag`. */
static bool next(struct span *from, int tag, struct span *ret, struct span *ret_whole)
{
    const unsigned char *at = from->at;
    long len;
    int its_tag, class;

    if (from->len == 0)
        return false;
    int flags = ASN1_get_object(&at, &len, &its_tag, &class, (long)from->len);
    if (flags & 0x81) { /* an error, or a length that is not given */
        ERR_clear_error();
        return false;
    }
    if ((class | its_tag) != tag)
        return false;
    size_t whole = (size_t)(at - from->at) + (size_t)len;
    *ret = (struct span){at, (size_t)len};
    if (ret_whole)
        *ret_whole = (struct span){from->at, whole};
    from->at += whole;
    from->len -= whole;
    return true;
}

static bool is_next(const struct span *from, int tag)
{
    struct span rest = *from, ignored;

    return next(&rest, tag, &ignored, NULL);
}

static bool next_time(struct span *from, time_t *ret)
{
    int tag = is_next(from, V_ASN1_UTCTIME) ? V_ASN1_UTCTIME : V_ASN1_GENERALIZEDTIME;
    char text[TIME_MAX];
    struct span s;
    struct tm tm;

    if (!next(from, tag, &s, NULL) || s.len >= sizeof text)
        return false;
    memcpy(text, s.at, s.len);
    text[s.len] = '\0';
    ASN1_TIME *t = ASN1_STRING_type_new(tag);
    bool good = t && ASN1_STRING_set(t, text, (int)s.len) == 1 && ASN1_TIME_to_tm(t, &tm) == 1;

    ASN1_STRING_free(t);
    if (!good) {
        ERR_clear_error();
        return false;
    }
    *ret = timegm(&tm);
    return true;
}

/* Entries ------------------------------------------------------------------------------------- */

struct entry {
    struct span serial;
    struct span date; /* with its header */
    struct span extensions;
};

static bool next_entry(struct span *from, struct entry *ret)
{
    struct span s, time;

    *ret = (struct entry){0};
    if (!next(from, V_ASN1_SEQUENCE, &s, NULL) || !next(&s, V_ASN1_INTEGER, &ret->serial, NULL))
        return false;
    int tag = is_next(&s, V_ASN1_UTCTIME) ? V_ASN1_UTCTIME : V_ASN1_GENERALIZEDTIME;
    if (!next(&s, tag, &time, &ret->date))
        return false;
    return s.len == 0 || (next(&s, V_ASN1_SEQUENCE, &ret->extensions, NULL) && s.len == 0);
}

static long entry_reason(const struct entry *e)
{
    static const unsigned char oid[] = {0x55, 0x1d, 0x15}; /* cRLReason, 2.5.29.21 */
    struct span list = e->extensions, ext, s;

    while (next(&list, V_ASN1_SEQUENCE, &ext, NULL)) {
        if (!next(&ext, V_ASN1_OBJECT, &s, NULL) || s.len != sizeof oid ||
            memcmp(s.at, oid, sizeof oid) != 0)
            continue;
        if (is_next(&ext, V_ASN1_BOOLEAN) && !next(&ext, V_ASN1_BOOLEAN, &s, NULL))
            continue;
        if (next(&ext, V_ASN1_OCTET_STRING, &s, NULL) && next(&s, V_ASN1_ENUMERATED, &ext, NULL) &&
            ext.len == 1)
            return ext.at[0];
    }
    return 0;
}

static bool entries_are_well_formed(struct span entries)
{
    struct entry e;

    while (entries.len > 0) {
        if (!next_entry(&entries, &e))
            return false;
    }
    return true;
}

/* Extensions ---------------------------------------------------------------------------------- */

static bool read_extensions(struct crl *c, const struct span *whole, struct err **err)
{
    const unsigned char *at = whole->at;
    X509_EXTENSIONS *list = d2i_X509_EXTENSIONS(NULL, &at, (long)whole->len);
    bool good = true;

    if (!list)
        return err_from_openssl(err, ERR_REFUSED, "the extensions of the CRL cannot be read");
    for (int i = 0; good && i < sk_X509_EXTENSION_num(list); i++) {
        X509_EXTENSION *e = sk_X509_EXTENSION_value(list, i);
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(e));
        if (nid == NID_delta_crl)
            good = err_set(err, ERR_REFUSED, "a delta CRL, which says nothing by itself");
        else if (nid == NID_issuing_distribution_point && !c->idp)
            good = (c->idp = X509V3_EXT_d2i(e)) ||
                   err_from_openssl(err, ERR_REFUSED, "the CRL's distribution point");
        else if (X509_EXTENSION_get_critical(e))
            good = err_set(err, ERR_REFUSED, "the CRL has a critical extension nobody knows");
    }
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    return good;
}

/* The list ------------------------------------------------------------------------------------ */

static bool malformed(struct err **err)
{
    return err_set(err, ERR_REFUSED, "not a certificate revocation list");
}

static bool read_tbs(struct crl *c, struct span tbs, struct err **err)
{
    struct span s, ignored;

    if (is_next(&tbs, V_ASN1_INTEGER) && !next(&tbs, V_ASN1_INTEGER, &s, NULL))
        return malformed(err);
    if (!next(&tbs, V_ASN1_SEQUENCE, &s, &ignored) ||
        !next(&tbs, V_ASN1_SEQUENCE, &s, &c->issuer) || !next_time(&tbs, &c->this_update))
        return malformed(err);
    /* The algorithm is told twice, and only one of them is signed (RFC 5280 5.1.1.2). */
    if (ignored.len != c->algo.len || memcmp(ignored.at, c->algo.at, ignored.len) != 0)
        return malformed(err);
    if (!next_time(&tbs, &c->next_update))
        return err_set(err, ERR_REFUSED, "the CRL does not say how long it is good");
    if (is_next(&tbs, V_ASN1_SEQUENCE) && !next(&tbs, V_ASN1_SEQUENCE, &c->entries, NULL))
        return malformed(err);
    if (!entries_are_well_formed(c->entries))
        return malformed(err);
    if (tbs.len == 0)
        return true;
    if (!next(&tbs, V_ASN1_CONTEXT_SPECIFIC | 0, &s, NULL) || tbs.len != 0)
        return malformed(err);
    return read_extensions(c, &s, err);
}

static bool read_list(struct crl *c, size_t len, struct err **err)
{
    struct span all = {c->der, len}, list, tbs, s;

    if (!next(&all, V_ASN1_SEQUENCE, &list, NULL) || all.len != 0 ||
        !next(&list, V_ASN1_SEQUENCE, &tbs, &c->tbs) ||
        !next(&list, V_ASN1_SEQUENCE, &s, &c->algo) ||
        !next(&list, V_ASN1_BIT_STRING, &c->sig, NULL) || list.len != 0)
        return malformed(err);
    if (c->sig.len < 2 || c->sig.at[0] != 0) /* no unused bits */
        return malformed(err);
    c->sig.at++;
    c->sig.len--;
    return read_tbs(c, tbs, err);
}

static bool is_pem(const void *data, size_t len)
{
    return len > 10 && memcmp(data, "-----BEGIN", 10) == 0;
}

/* free() */
static unsigned char *from_pem(const void *data, size_t len, size_t *ret_len)
{
    auto_bio BIO *in = BIO_new_mem_buf(data, (int)len);
    auto_openssl unsigned char *der = NULL;
    long der_len = 0;
    char *name = NULL;

    openssl_must(in, "BIO_new_mem_buf");
    bool good = PEM_bytes_read_bio(&der, &der_len, &name, PEM_STRING_X509_CRL, in, NULL, NULL) == 1;
    OPENSSL_free(name);
    ERR_clear_error();
    *ret_len = (size_t)der_len;
    return good ? xmemdup(der, (size_t)der_len) : NULL;
}

struct crl *crl_parse(const void *data, size_t len, struct err **err)
{
    auto_crl struct crl *c = xcalloc(1, sizeof *c);

    if (len > CRL_MAX) {
        err_set(err, ERR_REFUSED, "a CRL of %zu octets is too large", len);
        return NULL;
    }
    c->der = is_pem(data, len) ? from_pem(data, len, &len) : xmemdup(data, len);
    if (!c->der) {
        malformed(err);
        return NULL;
    }
    return read_list(c, len, err) ? take(c) : NULL;
}

/* Whose it is --------------------------------------------------------------------------------- */

static bool names_url(const DIST_POINT_NAME *point, const char *url)
{
    if (point->type != 0)
        return false;
    for (int i = 0; i < sk_GENERAL_NAME_num(point->name.fullname); i++) {
        int type;
        const ASN1_STRING *s =
            GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(point->name.fullname, i), &type);
        if (type == GEN_URI && (size_t)ASN1_STRING_length(s) == strlen(url) &&
            memcmp(ASN1_STRING_get0_data(s), url, strlen(url)) == 0)
            return true;
    }
    return false;
}

static bool check_point(const struct crl *c, const char *url, struct err **err)
{
    const ISSUING_DIST_POINT *p = c->idp;

    if (!p)
        return true;
    if (p->indirectCRL > 0 || p->onlyCA > 0 || p->onlyattr > 0 || p->onlysomereasons)
        return err_set(err, ERR_REFUSED, "the CRL is not one of all revoked leaf certificates");
    if (p->distpoint && !names_url(p->distpoint, url))
        return err_set(err, ERR_REFUSED, "the CRL is that of another distribution point than %s",
                       url);
    return true;
}

/* Over the octets as they are: no object is made of the list. */
static bool check_signature(const struct crl *c, X509 *issuer, struct err **err)
{
    const unsigned char *at = c->algo.at;
    auto_algor X509_ALGOR *algo = d2i_X509_ALGOR(NULL, &at, (long)c->algo.len);
    ASN1_TYPE *tbs = ASN1_TYPE_new();
    ASN1_STRING *octets = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
    ASN1_BIT_STRING *sig = ASN1_BIT_STRING_new();

    openssl_must(tbs && octets && sig && ASN1_STRING_set(octets, c->tbs.at, (int)c->tbs.len) &&
                     ASN1_STRING_set(sig, c->sig.at, (int)c->sig.len),
                 "ASN1_STRING_set");
    sig->flags = (sig->flags & ~7L) | ASN1_STRING_FLAG_BITS_LEFT;
    ASN1_TYPE_set(tbs, V_ASN1_SEQUENCE, octets);
    EVP_PKEY *key = X509_get0_pubkey(issuer);
    bool good = algo && key && ASN1_item_verify(ASN1_ITEM_rptr(ASN1_ANY), algo, sig, tbs, key) == 1;

    ASN1_TYPE_free(tbs);
    ASN1_BIT_STRING_free(sig);
    return good || err_from_openssl(err, ERR_REFUSED, "the CRL is not signed by the issuer");
}

static bool is_by(const struct crl *c, X509 *issuer)
{
    const unsigned char *at = c->issuer.at;
    X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)c->issuer.len);
    bool same = name && X509_NAME_cmp(name, X509_get_subject_name(issuer)) == 0;

    X509_NAME_free(name);
    return same && (X509_get_key_usage(issuer) & KU_CRL_SIGN); /* all ones without the extension */
}

bool crl_check(const struct crl *c, const struct cert *issuer, const char *url, time_t now,
               struct err **err)
{
    auto_x509 X509 *x = cert_to_x509(issuer);
    char text[CLOCK_TEXT_MAX];

    if (!is_by(c, x)) {
        ERR_clear_error();
        return err_set(err, ERR_REFUSED, "the CRL is of another issuer than %s",
                       issuer->subject_cn ? issuer->subject_cn : "the certificate's");
    }
    if (!check_point(c, url, err) || !check_signature(c, x, err))
        return false;
    if (c->this_update > now + CRL_SKEW_S)
        return err_set(err, ERR_REFUSED, "the CRL is from the future (%s)",
                       clock_rfc3339(c->this_update, text));
    if (c->next_update + CRL_SKEW_S < now)
        return err_set(err, ERR_REFUSED, "the CRL is over since %s",
                       clock_rfc3339(c->next_update, text));
    return true;
}

/* Looking up ---------------------------------------------------------------------------------- */

struct wanted {
    unsigned char serial[SERIAL_MAX];
    size_t len;
    struct crl_query *query;
};

static int compare_octets(const unsigned char *a, size_t a_len, const unsigned char *b,
                          size_t b_len)
{
    if (a_len != b_len)
        return a_len < b_len ? -1 : 1;
    return memcmp(a, b, a_len);
}

static int compare(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;

    return compare_octets(x->serial, x->len, y->serial, y->len);
}

static int compare_to_entry(const void *key, const void *element)
{
    const struct span *s = key;
    const struct wanted *w = element;

    return compare_octets(s->at, s->len, w->serial, w->len);
}

static void found(struct wanted *list, size_t n, const struct span *serial, const struct entry *e)
{
    struct wanted *w = bsearch(serial, list, n, sizeof *list, compare_to_entry);
    struct span date = e->date;

    if (!w)
        return;
    while (w > list && compare(w - 1, w) == 0) /* the same question may be asked twice */
        w--;
    for (struct wanted *end = list + n; w < end; w++) {
        if (compare_to_entry(serial, w) != 0)
            break;
        long reason = entry_reason(e);
        struct crl_query *q = w->query;
        q->revoked = reason != REMOVE_FROM_CRL;
        q->reason = q->revoked ? crl_reason_name(reason) : NULL;
        if (!next_time(&date, &q->revoked_at) || !q->revoked)
            q->revoked_at = 0;
        date = e->date;
    }
}

void crl_look_up(const struct crl *c, struct crl_query *queries, size_t n)
{
    struct wanted *list = xcalloc(n, sizeof *list);
    struct span entries = c->entries;
    struct entry e;

    for (size_t i = 0; i < n; i++) {
        unsigned char *serial = NULL;
        struct crl_query *q = &queries[i];

        *q = (struct crl_query){.serial_hex = q->serial_hex};
        list[i].query = q;
        if (!dec_hex(q->serial_hex, &serial, &list[i].len) || list[i].len > SERIAL_MAX)
            list[i].len = 0;
        else
            memcpy(list[i].serial, serial, list[i].len);
        free(serial);
    }
    qsort(list, n, sizeof *list, compare);
    while (n > 0 && entries.len > 0 && next_entry(&entries, &e)) {
        struct span serial = e.serial;
        bool padded = serial.len > 1 && serial.at[0] == 0; /* cert->serial_hex has no such zero */
        serial.at += padded;
        serial.len -= padded;
        found(list, n, &serial, &e);
    }
    free(list);
}
