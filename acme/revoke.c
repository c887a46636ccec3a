#include "acme/revoke.h"

#include <ctype.h>
#include <string.h>

#include "acme/post.h"
#include "acme/problem.h"
#include "base/enc.h"
#include "pki/cert.h"

struct revoke {
    struct session *own; /* when the certificate's key signs */
    struct post *post;
    revoke_fn *fn;
    void *userdata;
    bool called;
};

/* Reasons -------------------------------------------------------------------------------------- */

static const struct {
    enum revoke_reason reason;
    const char *number;
} reasons[] = {
    {REVOKE_UNSPECIFIED, "0"},
    {REVOKE_KEY_COMPROMISE, "1"},
    {REVOKE_AFFILIATION_CHANGED, "3"},
    {REVOKE_SUPERSEDED, "4"},
    {REVOKE_CESSATION_OF_OPERATION, "5"},
    {REVOKE_PRIVILEGE_WITHDRAWN, "9"},
};
const char *const revoke_reason_names[] = {
    "unspecified", "keyCompromise",        "affiliationChanged",
    "superseded",  "cessationOfOperation", "privilegeWithdrawn",
    NULL,
};
_Static_assert(ARRAY_LEN(revoke_reason_names) == ARRAY_LEN(reasons) + 1, "a name for each");

/* key-compromise, key_compromise and KEYCOMPROMISE are keyCompromise. */
static bool same_word(const char *typed, const char *name)
{
    for (;; typed++) {
        if (*typed == '-' || *typed == '_')
            continue;
        if (tolower((unsigned char)*typed) != tolower((unsigned char)*name))
            return false;
        if (*name++ == '\0')
            return true;
    }
}

bool revoke_reason_parse(const char *text, enum revoke_reason *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (same_word(text, revoke_reason_names[i]) || strcmp(text, reasons[i].number) == 0) {
            *ret = reasons[i].reason;
            return true;
        }
    }
    return false;
}

const char *revoke_reason_name(enum revoke_reason reason)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].reason == reason)
            return revoke_reason_names[i];
    }
    return revoke_reason_names[0];
}

/* The request ---------------------------------------------------------------------------------- */

static void revoke_end(struct revoke *r)
{
    post_free(r->post);
    session_free(r->own);
    free(r);
}

static void on_reply(const struct reply *reply, const struct err *e, void *userdata)
{
    struct revoke *r = userdata;

    (void)reply;
    r->called = true;
    r->fn(err_is_problem(e, "alreadyRevoked") ? NULL : e, r->userdata);
    r->post = NULL; /* ends by itself */
    revoke_end(r);
}

static const char *revoke_url(const struct directory *d)
{
    return d->revoke_cert;
}

struct revoke *revoke_start(struct session *s, const struct cert *cert, enum revoke_reason reason,
                            struct key *key, revoke_fn *fn, void *userdata)
{
    struct revoke *r = xcalloc(1, sizeof(*r));
    auto_json json_t *payload = json_object();
    auto_free char *der = enc_base64url(cert->der, cert->der_len);

    json_put_str(payload, "certificate", der);
    if (reason != REVOKE_UNSPECIFIED) /* RFC 5280 5.3.1: absent rather than 0 */
        json_put_int(payload, "reason", reason);
    auto_free char *text = json_compact(payload);

    r->fn = fn;
    r->userdata = userdata;
    r->own = key ? post_session_of_key(s, key) : NULL;
    r->post = post_start(r->own ? r->own : s,
                         &(struct post_spec){
                             .operation = "revoke",
                             .url_of = revoke_url,
                             .payload = text,
                             .key = key ? REQUEST_JWK : REQUEST_KID,
                         },
                         on_reply, r);
    return r;
}

void revoke_free(struct revoke *r)
{
    if (r && !r->called)
        revoke_end(r);
}
