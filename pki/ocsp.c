/* OpenSSL's OCSP_basic_verify() does the signature and the delegate: with the issuer as the only
 * anchor and no explicit trust, the signer is the issuer or has a certificate directly by it with
 * id-kp-OCSPSigning. All else is checked here. */
#include "pki/ocsp.h"

#include <string.h>

#include <openssl/err.h>

#include "base/clock.h"
#include "pki/cert_private.h"
#include "pki/crl.h"
#include "pki/ocsp_private.h"

#define ENTRIES_MAX  256
#define DELEGATE_MAX 8 /* certificates in a response */

const unsigned char ocsp_reply_malformed[5] = {0x30, 3, 0x0a, 1, 1};
const unsigned char ocsp_reply_try_later[5] = {0x30, 3, 0x0a, 1, 3};

const char *ocsp_status_name(enum ocsp_status status)
{
    switch (status) {
    case OCSP_STATUS_GOOD:
        return "good";
    case OCSP_STATUS_REVOKED:
        return "revoked";
    case OCSP_STATUS_UNKNOWN:
        return "unknown";
    case OCSP_STATUS_TRY_LATER:
        return "tryLater";
    case OCSP_STATUS_UNAUTHORIZED:
        return "unauthorized";
    case OCSP_STATUS_NOT_UNDERSTOOD:
        break;
    }
    return "not understood";
}

/* Parsing ------------------------------------------------------------------------------------- */

static OCSP_RESPONSE *parse(const void *der, size_t len, struct err **err)
{
    const unsigned char *at = der;

    if (len > OCSP_RESPONSE_MAX) {
        err_set(err, ERR_REFUSED, "an OCSP response of %zu octets is too large", len);
        return NULL;
    }
    auto_ocsp_resp OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &at, (long)len);

    if (!r || at != (const unsigned char *)der + len) {
        err_from_openssl(err, ERR_REFUSED, "not an OCSP response");
        return NULL;
    }
    return take(r);
}

static bool read_refusal(int code, struct ocsp_answer *ret, struct err **err)
{
    *ret = (struct ocsp_answer){0};
    switch (code) {
    case OCSP_RESPONSE_STATUS_TRYLATER:
    case OCSP_RESPONSE_STATUS_INTERNALERROR:
        ret->status = OCSP_STATUS_TRY_LATER;
        return true;
    case OCSP_RESPONSE_STATUS_UNAUTHORIZED:
        ret->status = OCSP_STATUS_UNAUTHORIZED;
        return true;
    case OCSP_RESPONSE_STATUS_MALFORMEDREQUEST:
    case OCSP_RESPONSE_STATUS_SIGREQUIRED:
        ret->status = OCSP_STATUS_NOT_UNDERSTOOD;
        return true;
    default:
        return err_set(err, ERR_REFUSED, "an OCSP response with status %d", code);
    }
}

static bool read_time(const ASN1_GENERALIZEDTIME *t, const char *what, time_t *ret,
                      struct err **err)
{
    struct tm tm;

    if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
        return err_set(err, ERR_REFUSED, "the OCSP response has no readable %s", what);
    *ret = timegm(&tm);
    return true;
}

/* Status and dates of an entry. */
static bool read_entry(OCSP_SINGLERESP *entry, struct ocsp_answer *ret, struct err **err)
{
    int reason = -1;
    ASN1_GENERALIZEDTIME *revoked = NULL, *this_update = NULL, *next_update = NULL;
    int status = OCSP_single_get0_status(entry, &reason, &revoked, &this_update, &next_update);

    *ret = (struct ocsp_answer){.status = OCSP_STATUS_UNKNOWN};
    if (!read_time(this_update, "thisUpdate", &ret->this_update, err) ||
        (next_update && !read_time(next_update, "nextUpdate", &ret->next_update, err)))
        return false;
    if (status == V_OCSP_CERTSTATUS_GOOD)
        ret->status = OCSP_STATUS_GOOD;
    if (status != V_OCSP_CERTSTATUS_REVOKED)
        return true;
    ret->status = OCSP_STATUS_REVOKED;
    ret->reason = crl_reason_name(reason);
    return read_time(revoked, "revocationTime", &ret->revoked_at, err);
}

/* Which entry --------------------------------------------------------------------------------- */

static bool entry_has_critical(OCSP_SINGLERESP *entry)
{
    for (int i = 0; i < OCSP_SINGLERESP_get_ext_count(entry); i++) {
        if (X509_EXTENSION_get_critical(OCSP_SINGLERESP_get_ext(entry, i)))
            return true;
    }
    return false;
}

static bool response_has_critical(OCSP_BASICRESP *basic)
{
    for (int i = 0; i < OCSP_BASICRESP_get_ext_count(basic); i++) {
        if (X509_EXTENSION_get_critical(OCSP_BASICRESP_get_ext(basic, i)))
            return true;
    }
    return false;
}

/* Two entries for one certificate could say two things. */
static OCSP_SINGLERESP *find_entry(OCSP_BASICRESP *basic, const char *id, struct err **err)
{
    OCSP_SINGLERESP *found = NULL;
    int n = OCSP_resp_count(basic);

    for (int i = 0; i < n && i < ENTRIES_MAX; i++) {
        OCSP_SINGLERESP *entry = OCSP_resp_get0(basic, i);
        auto_free char *its = ocsp_id_text(OCSP_SINGLERESP_get0_id(entry));
        if (strcmp(its, id) != 0)
            continue;
        if (found) {
            err_set(err, ERR_REFUSED, "the OCSP response speaks of the certificate twice");
            return NULL;
        }
        found = entry;
    }
    if (!found) {
        err_set(err, ERR_REFUSED, "the OCSP response is about another certificate");
    } else if (entry_has_critical(found) || response_has_critical(basic)) {
        err_set(err, ERR_REFUSED, "the OCSP response has a critical extension nobody knows");
        return NULL;
    }
    return found;
}

/* Who signed ---------------------------------------------------------------------------------- */

static bool check_signer(OCSP_BASICRESP *basic, X509 *issuer, time_t now, time_t *ret_end,
                         struct err **err)
{
    const unsigned long flags = OCSP_PARTIAL_CHAIN | OCSP_NOEXPLICIT;
    auto_store X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *known = sk_X509_new_null();
    X509 *signer = NULL;
    struct tm tm;

    openssl_must(store && known && sk_X509_push(known, issuer) > 0 &&
                     X509_STORE_add_cert(store, issuer),
                 "X509_STORE_add_cert");
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), now);
    bool good = OCSP_basic_verify(basic, known, store, flags) == 1 &&
                OCSP_resp_get0_signer(basic, &signer, known) == 1;

    if (!good)
        err_from_openssl(err, ERR_REFUSED,
                         "the OCSP response is signed neither by the issuer nor for it");
    else if (ASN1_TIME_to_tm(X509_get0_notAfter(signer), &tm) != 1)
        good = err_set(err, ERR_REFUSED, "the responder's certificate has no readable end");
    else
        *ret_end = timegm(&tm);
    sk_X509_free(known);
    return good;
}

/* Bad news needs no nextUpdate (RFC 6960 2.4: newer is there at any time). */
static bool check_dates(const OCSP_BASICRESP *basic, struct ocsp_answer *a, time_t held, time_t now,
                        struct err **err)
{
    char text[CLOCK_TEXT_MAX];
    time_t produced = 0;
    time_t late = a->status == OCSP_STATUS_GOOD ? 0 : OCSP_SKEW_S;

    if (!read_time(OCSP_resp_get0_produced_at(basic), "producedAt", &produced, err))
        return false;
    if (a->this_update > now + OCSP_SKEW_S || produced > now + OCSP_SKEW_S)
        return err_set(err, ERR_REFUSED, "the OCSP response is from the future (%s)",
                       clock_rfc3339(produced > a->this_update ? produced : a->this_update, text));
    if (a->next_update == 0 && a->status == OCSP_STATUS_GOOD)
        return err_set(err, ERR_REFUSED, "the OCSP response does not say how long it is good");
    if (a->next_update != 0 && a->next_update <= a->this_update)
        return err_set(err, ERR_REFUSED, "the OCSP response ends before it begins");
    if (a->next_update != 0 && a->next_update + late <= now)
        return err_set(err, ERR_REFUSED, "the OCSP response is over since %s",
                       clock_rfc3339(a->next_update, text));
    if (a->this_update < held)
        return err_set(err, ERR_REFUSED, "the OCSP response (%s) is older than the one held",
                       clock_rfc3339(a->this_update, text));
    return true;
}

bool ocsp_check(const void *der, size_t len, const struct cert *leaf, const struct cert *issuer,
                enum ocsp_hash hash, time_t held, time_t now, struct ocsp_answer *ret,
                struct err **err)
{
    struct ocsp_answer a;
    time_t signer_end = 0;
    auto_ocsp_resp OCSP_RESPONSE *r = parse(der, len, err);

    if (!r)
        return false;
    int code = OCSP_response_status(r);
    if (code != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        return read_refusal(code, ret, err);
    auto_basicresp OCSP_BASICRESP *basic = OCSP_response_get1_basic(r);
    if (!basic)
        return err_from_openssl(err, ERR_REFUSED, "an OCSP response of an unknown type");
    if (sk_X509_num(OCSP_resp_get0_certs(basic)) > DELEGATE_MAX)
        return err_set(err, ERR_REFUSED, "an OCSP response with too many certificates");
    auto_x509 X509 *authority = cert_to_x509(issuer);
    auto_free char *id = ocsp_id(leaf, issuer, hash);
    OCSP_SINGLERESP *entry = find_entry(basic, id, err);

    if (!entry || !read_entry(entry, &a, err) ||
        !check_signer(basic, authority, now, &signer_end, err))
        return false;
    if (!check_dates(basic, &a, held, now, err))
        return false;
    a.beyond_leaf = a.next_update > leaf->not_after;
    if (a.beyond_leaf)
        a.next_update = leaf->not_after;
    if (a.next_update > signer_end)
        a.next_update = signer_end;
    if (a.status == OCSP_STATUS_GOOD && a.next_update <= now)
        return err_set(err, ERR_REFUSED, "the OCSP response outlives the certificate");
    ERR_clear_error(); /* a signer that is looked for in two places leaves traces */
    *ret = a;
    return true;
}

bool ocsp_peek(const void *der, size_t len, const struct cert *leaf, struct ocsp_answer *ret,
               struct err **err)
{
    auto_ocsp_resp OCSP_RESPONSE *r = parse(der, len, err);

    if (!r)
        return false;
    int code = OCSP_response_status(r);
    if (code != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        return read_refusal(code, ret, err);
    auto_basicresp OCSP_BASICRESP *basic = OCSP_response_get1_basic(r);
    auto_x509 X509 *x = cert_to_x509(leaf);

    for (int i = 0; basic && i < OCSP_resp_count(basic) && i < ENTRIES_MAX; i++) {
        OCSP_SINGLERESP *entry = OCSP_resp_get0(basic, i);
        OCSP_CERTID *id = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(entry);
        ASN1_INTEGER *serial = NULL;
        OCSP_id_get0_info(NULL, NULL, NULL, &serial, id);
        if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(x)) == 0)
            return read_entry(entry, ret, err);
    }
    return err_from_openssl(err, ERR_REFUSED, "the OCSP response is about another certificate");
}

bool ocsp_is_about(const void *der, size_t len, const char *id)
{
    auto_ocsp_resp OCSP_RESPONSE *r = parse(der, len, NULL);
    auto_basicresp OCSP_BASICRESP *basic = r ? OCSP_response_get1_basic(r) : NULL;
    bool found = basic && find_entry(basic, id, NULL);

    ERR_clear_error();
    return found;
}
