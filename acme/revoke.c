#include "acme/revoke.h"

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
