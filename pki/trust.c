/* chain_trust of pki/chain.h: what a TLS client would say, in the words of product.md section 10.
 */
#include "pki/chain.h"

#include <openssl/err.h>

#include "base/clock.h"
#include "pki/cert_private.h"
#include "pki/name.h"
#include "pki/openssl.h"

struct verdict {
    const char *word;
    char *text; /* owned */
};

static X509_STORE *load_roots(const char *ca_file, struct err **err)
{
    auto_store X509_STORE *store = X509_STORE_new();

    openssl_must(store, "X509_STORE_new");
    if (ca_file && X509_STORE_load_file(store, ca_file) != 1) {
        err_from_openssl(err, ERR_SYSTEM, "reading the CA file %s", ca_file);
        return NULL;
    }
    if (!ca_file && X509_STORE_set_default_paths(store) != 1) {
        err_from_openssl(err, ERR_SYSTEM, "reading the system's CA certificates");
        return NULL;
    }
    return take(store);
}

static void set_host(X509_VERIFY_PARAM *param, const char *host)
{
    int ok = name_type(host) == NAME_IP ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
                                        : X509_VERIFY_PARAM_set1_host(param, host, 0);

    openssl_must(ok == 1, "X509_VERIFY_PARAM_set1_host");
}

static bool names_its_issuers_address(X509 *leaf)
{
    AUTHORITY_INFO_ACCESS *aia = X509_get_ext_d2i(leaf, NID_info_access, NULL, NULL);
    bool found = false;

    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(aia); i++) {
        if (OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(aia, i)->method) == NID_ad_ca_issuers)
            found = true;
    }
    AUTHORITY_INFO_ACCESS_free(aia);
    return found;
}

/* The issuer of the certificate at `depth` is neither sent nor known. For the leaf that means
 * missing intermediates when others were sent, or when it says where to fetch its issuer, as those
 * of public CAs do; else the CA may simply be an unknown one without intermediates. */
static struct verdict judge_missing_issuer(const struct chain *c, int depth)
{
    const struct cert *orphan = c->items[(size_t)depth < c->n ? (size_t)depth : c->n - 1];
    auto_x509 X509 *leaf = cert_to_x509(c->items[0]);

    if (depth == 0 && (c->n > 1 || names_its_issuers_address(leaf)))
        return (struct verdict){"incomplete", xasprintf("the certificate of the issuer \"%s\" is "
                                                        "not sent",
                                                        orphan->issuer_cn)};
    return (struct verdict){"unknown-ca",
                            xasprintf("the CA \"%s\" is not trusted here", orphan->issuer_cn)};
}

static struct verdict judge_dates(const struct cert *c, const char *what, bool early)
{
    char text[CLOCK_TEXT_MAX];

    if (early)
        return (struct verdict){"expired", xasprintf("%s is not valid before %s", what,
                                                     clock_rfc3339(c->not_before, text))};
    return (struct verdict){"expired",
                            xasprintf("%s expired on %s", what, clock_rfc3339(c->not_after, text))};
}

/* The certificate may be one of the store, which we have no facts of yet. */
static struct verdict judge_issuers_dates(const X509 *issuer, bool early)
{
    auto_openssl unsigned char *der = NULL;
    int len = i2d_X509(issuer, &der);
    auto_cert struct cert *cert = len > 0 ? cert_from_der(der, (size_t)len, NULL) : NULL;

    if (!cert)
        return (struct verdict){"expired", xstrdup("a certificate of its issuers expired")};
    auto_free char *what = xasprintf("the CA certificate \"%s\"",
                                     cert->subject_cn ? cert->subject_cn : cert->issuer_cn);

    return judge_dates(cert, what, early);
}

static struct verdict judge_names(const struct chain *c, const char *host)
{
    auto_free char *names = strv_join(&c->items[0]->names, ", ");

    return (struct verdict){"name-mismatch",
                            xasprintf("the certificate is for %s, not for %s",
                                      c->items[0]->names.n ? names : "no name", host)};
}

static struct verdict judge(const struct chain *c, const char *host, X509_STORE_CTX *ctx)
{
    int error = X509_STORE_CTX_get_error(ctx);

    switch (error) {
    case X509_V_OK:
        return (struct verdict){"ok", xstrdup("the chain leads to a trusted root")};
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return (struct verdict){"self-signed", xstrdup("the certificate is self-signed")};
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        return judge_missing_issuer(c, X509_STORE_CTX_get_error_depth(ctx));
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return judge_issuers_dates(X509_STORE_CTX_get_current_cert(ctx),
                                   error == X509_V_ERR_CERT_NOT_YET_VALID);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return judge_names(c, host);
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return (struct verdict){"unknown-ca", xasprintf("the CA \"%s\" is not trusted here",
                                                        c->items[c->n - 1]->issuer_cn)};
    default:
        return (struct verdict){"unknown-ca", xstrdup(X509_verify_cert_error_string(error))};
    }
}

static struct verdict verify(const struct chain *c, X509_STORE *store, bool own_roots,
                             const char *host, time_t now)
{
    auto_x509 X509 *leaf = cert_to_x509(c->items[0]);
    auto_store_ctx X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *others = sk_X509_new_null();

    openssl_must(ctx && others, "X509_STORE_CTX_new");
    for (size_t i = 1; i < c->n; i++)
        openssl_must(sk_X509_push(others, cert_to_x509(c->items[i])) > 0, "sk_X509_push");
    openssl_must(X509_STORE_CTX_init(ctx, store, leaf, others) == 1, "X509_STORE_CTX_init");

    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

    X509_VERIFY_PARAM_set_time(param, now);
    X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_SERVER);
    /* In a file of its own an operator may name an intermediate, or the server's certificate
     * itself. */
    if (own_roots)
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
    if (host)
        set_host(param, host);
    X509_verify_cert(ctx);
    struct verdict v = judge(c, host, ctx);

    ERR_clear_error();
    sk_X509_pop_free(others, X509_free);
    return v;
}

const char *chain_trust(const struct chain *c, const char *ca_file, const char *host, time_t now,
                        char **ret_text)
{
    auto_err struct err *err = NULL;
    struct verdict v;

    /* Dates of the leaf first: unlike an unknown CA they are bad in everybody's eyes, and OpenSSL
     * looks at them last. */
    if (c->items[0]->not_after <= now || c->items[0]->not_before > now) {
        v = judge_dates(c->items[0], "the certificate", c->items[0]->not_before > now);
    } else {
        auto_store X509_STORE *store = load_roots(ca_file, &err);

        if (store)
            v = verify(c, store, ca_file != NULL, host, now);
        else
            v = (struct verdict){"unknown-ca", xstrdup(err->text)};
    }
    if (ret_text)
        *ret_text = v.text;
    else
        free(v.text);
    return v.word;
}
