#include "pki/csr.h"

#include <arpa/inet.h>
#include <string.h>

#include "pki/key_private.h"
#include "pki/name.h"
#include "pki/openssl.h"

/* RFC 7633: SEQUENCE OF INTEGER with status_request (5). */
static const unsigned char tls_feature_must_staple[] = {0x30, 0x03, 0x02, 0x01, 0x05};

static ASN1_OCTET_STRING *octets(const void *data, size_t len)
{
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();

    openssl_must(s && ASN1_OCTET_STRING_set(s, data, (int)len) == 1, "ASN1_OCTET_STRING_set");
    return s;
}

static GENERAL_NAME *general_name(const char *name)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    unsigned char ip[16];

    openssl_must(g, "GENERAL_NAME_new");
    if (inet_pton(AF_INET, name, ip) == 1) {
        GENERAL_NAME_set0_value(g, GEN_IPADD, octets(ip, 4));
    } else if (inet_pton(AF_INET6, name, ip) == 1) {
        GENERAL_NAME_set0_value(g, GEN_IPADD, octets(ip, 16));
    } else {
        ASN1_IA5STRING *dns = ASN1_IA5STRING_new();

        openssl_must(dns && ASN1_STRING_set(dns, name, (int)strlen(name)) == 1, "ASN1_STRING_set");
        GENERAL_NAME_set0_value(g, GEN_DNS, dns);
    }
    return g;
}

static void add_san(STACK_OF(X509_EXTENSION) * *extensions, const struct strv *names)
{
    auto_names GENERAL_NAMES *san = sk_GENERAL_NAME_new_null();

    openssl_must(san, "sk_GENERAL_NAME_new_null");
    for (size_t i = 0; i < names->n; i++)
        openssl_must(sk_GENERAL_NAME_push(san, general_name(names->items[i])) > 0,
                     "sk_GENERAL_NAME_push");
    openssl_must(X509V3_add1_i2d(extensions, NID_subject_alt_name, san, 0, 0) == 1,
                 "X509V3_add1_i2d");
}

static void add_must_staple(STACK_OF(X509_EXTENSION) * *extensions)
{
    ASN1_OCTET_STRING *value = octets(tls_feature_must_staple, sizeof(tls_feature_must_staple));
    X509_EXTENSION *e = X509_EXTENSION_create_by_NID(NULL, NID_tlsfeature, 0, value);

    openssl_must(e && X509v3_add_ext(extensions, e, -1), "X509v3_add_ext");
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(value);
}

/* RFC 8555 7.4: the names of the order exactly, all in the SAN. No CN: some profiles drop it, and
 * one that is not in the SAN is refused. */
static void run_csr(struct key_job *j)
{
    auto_req X509_REQ *req = X509_REQ_new();
    STACK_OF(X509_EXTENSION) *extensions = NULL;

    add_san(&extensions, &j->names);
    if (j->must_staple)
        add_must_staple(&extensions);
    openssl_must(req && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
                     X509_REQ_set_pubkey(req, j->key->pkey) == 1 &&
                     X509_REQ_add_extensions(req, extensions) == 1,
                 "X509_REQ_new");
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);

    if (X509_REQ_sign(req, j->key->pkey, key_digest(j->key)) <= 0) {
        err_from_openssl(&j->err, ERR_SYSTEM, "signing the certificate request");
        return;
    }
    auto_openssl unsigned char *der = NULL;
    int len = i2d_X509_REQ(req, &der);

    openssl_must(len > 0, "i2d_X509_REQ");
    j->out = xmemdup(der, (size_t)len);
    j->out_len = (size_t)len;
}

struct key_job *csr_make(struct worker *w, struct key *key, const struct strv *names,
                         bool must_staple, csr_made_fn *fn, void *userdata)
{
    struct key_job job = {.run = run_csr,
                          .key = key_ref(key),
                          .must_staple = must_staple,
                          .bytes_fn = fn,
                          .userdata = userdata};

    strv_copy(&job.names, names);
    return key_job_start(w, job);
}
