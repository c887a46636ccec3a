/* Strategy:
 *
 *   directory -> sign the inner JWS with the new key -> POST keyChange -> accepted: NEW
 *                                                                   \-> else: resolve
 *   resolve: newAccount, onlyReturnExisting, by the new key -> our account: NEW
 *                                         \-> unknown: the same by the old key -> our account: OLD
 *
 * keyChange is sent once and never retried: the second would be signed by a key that the first made
 * invalid, and any refusal may hide that. So every refusal and every silence is resolved by
 * question, which each key signs as itself (jwk), whatever the CA thinks of the account's. */
#include "acme/rollover.h"

#include <string.h>

#include "acme/jws.h"
#include "acme/post.h"
#include "acme/problem.h"
#include "acme/session_private.h"
#include "base/enc.h"

struct rollover {
    struct session *session;
    char *account_url;
    struct key *old_key, *new_key;
    rollover_fn *fn;
    void *userdata;

    struct timer *turn;
    struct directory_wait *directory_wait; /* one of these is under way */
    struct key_job *signing;
    struct request *request;
    struct post *question;
    struct session *asking; /* as one of the keys */
    bool asking_new;
    char *signing_input, *url;
    struct err *refusal; /* why the CA did not take the new key */
    bool called;
};

static void rollover_end(struct rollover *r)
{
    timer_free(r->turn);
    directory_wait_free(r->directory_wait);
    key_job_free(r->signing);
    request_free(r->request);
    post_free(r->question);
    session_free(r->asking);
    key_unref(r->old_key);
    key_unref(r->new_key);
    free(r->account_url);
    free(r->signing_input);
    free(r->url);
    err_free(r->refusal);
    free(r);
}

static void rollover_finish(struct rollover *r, enum rollover_result result, const struct err *e)
{
    if (result != ROLLOVER_UNKNOWN)
        session_set_account(r->session, result == ROLLOVER_NEW ? r->new_key : r->old_key,
                            r->account_url);
    r->called = true;
    r->fn(result, e, r->userdata);
    rollover_end(r);
}

/* Which key it is ------------------------------------------------------------------------------ */

static const char *new_account_url(const struct directory *d)
{
    return d->new_account;
}

static void ask_as(struct rollover *r, bool new_key);

/* Some CAs look at the binding before they look for the account. */
static bool is_unknown(const struct err *e)
{
    return err_is_problem(e, "accountDoesNotExist") || err_is_problem(e, "externalAccountRequired");
}

static void judge_known(struct rollover *r, const char *location)
{
    auto_err struct err *e = NULL;

    if (location && strcmp(location, r->account_url) == 0) {
        rollover_finish(r, r->asking_new ? ROLLOVER_NEW : ROLLOVER_OLD,
                        r->asking_new ? NULL : r->refusal);
    } else if (r->asking_new) { /* of another account: not what was asked for */
        ask_as(r, false);
    } else {
        err_set(&e, ERR_REFUSED, "the CA knows the account's key as that of %s, not of %s",
                location ? location : "no account", r->account_url);
        rollover_finish(r, ROLLOVER_UNKNOWN, e);
    }
}

static void on_known(const struct reply *reply, const struct err *e, void *userdata)
{
    struct rollover *r = userdata;
    auto_err struct err *failure = NULL;

    r->question = NULL; /* ends by itself */
    if (reply) {
        judge_known(r, reply->location);
    } else if (is_unknown(e) && r->asking_new) {
        ask_as(r, false);
    } else if (err_is_problem(e, "accountDoesNotExist")) {
        err_set(&failure, ERR_REFUSED, "the CA knows neither the old nor the new account key");
        err_hint(&failure, "remove the account's folder from the state directory to register anew");
        rollover_finish(r, ROLLOVER_UNKNOWN, failure);
    } else {
        failure = err_copy(e);
        err_wrap(&failure, "finding out which account key the CA knows");
        rollover_finish(r, ROLLOVER_UNKNOWN, failure);
    }
}

static void ask_as(struct rollover *r, bool new_key)
{
    session_free(take(r->asking));
    r->asking_new = new_key;
    r->asking = post_session_of_key(r->session, new_key ? r->new_key : r->old_key);
    r->question = post_start(r->asking,
                             &(struct post_spec){
                                 .operation = "new-account",
                                 .url_of = new_account_url,
                                 .payload = "{\"onlyReturnExisting\":true}",
                                 .key = REQUEST_JWK,
                             },
                             on_known, r);
}

/* The change ----------------------------------------------------------------------------------- */

/* Before keyChange was sent nothing can have changed. */
static void fail_before(struct rollover *r, const struct err *e)
{
    rollover_finish(r, ROLLOVER_OLD, e);
}

static void on_changed(const struct reply *reply, const struct err *e, void *userdata)
{
    struct rollover *r = userdata;

    r->request = NULL;
    if (reply) {
        rollover_finish(r, ROLLOVER_NEW, NULL);
        return;
    }
    r->refusal = err_copy(e);
    ask_as(r, true);
}

/* The inner JWS is the whole payload (RFC 8555 7.3.5). */
static void on_signed(const unsigned char *sig, size_t len, const struct err *e, void *userdata)
{
    struct rollover *r = userdata;

    r->signing = NULL;
    if (e) {
        fail_before(r, e);
        return;
    }
    auto_free char *inner = jws_body(r->signing_input, sig, len);
    r->request = request_start(
        r->session,
        &(struct request_spec){
            .operation = "key-change", .url = r->url, .payload = inner, .key = REQUEST_KID},
        on_changed, r);
}

/* Header with the new key and no nonce; payload: the account and the old key. */
static char *inner_input(const struct rollover *r)
{
    auto_json json_t *new_jwk = key_jwk(r->new_key);
    auto_free char *new_text = json_compact(new_jwk);
    auto_free char *header = jws_header_jwk(key_jws_alg(r->new_key), new_text);
    auto_json json_t *payload = json_object();

    json_put_str(payload, "account", r->account_url);
    json_put(payload, "oldKey", key_jwk(r->old_key));
    auto_free char *text = json_compact(payload);
    auto_free char *encoded = enc_base64url(text, strlen(text));
    return jws_signing_input(header, NULL, r->url, encoded);
}

static void on_directory(const struct directory *d, const struct err *e, void *userdata)
{
    struct rollover *r = userdata;
    auto_err struct err *failure = err_copy(e);

    r->directory_wait = NULL;
    if (d && !d->key_change)
        err_set(&failure, ERR_REFUSED, "the CA offers no change of the account's key");
    if (failure) {
        fail_before(r, failure);
        return;
    }
    r->url = xstrdup(d->key_change);
    r->signing_input = inner_input(r);
    r->signing = key_sign(r->session->settings.worker, r->new_key, r->signing_input,
                          strlen(r->signing_input), on_signed, r);
}

/* Start ---------------------------------------------------------------------------------------- */

static void on_no_account(void *userdata)
{
    struct rollover *r = userdata;
    auto_err struct err *e = NULL;

    err_set(&e, ERR_CONFIG, "there is no account yet");
    err_hint(&e, "it is made with the first certificate");
    r->called = true;
    r->fn(ROLLOVER_OLD, e, r->userdata);
    rollover_end(r);
}

/* NULL old_key: no key. */
static struct rollover *rollover_new(struct session *s, struct key *old_key, struct key *new_key,
                                     rollover_fn *fn, void *userdata)
{
    struct rollover *r = xcalloc(1, sizeof(*r));

    r->session = s;
    r->account_url = xstrdup(s->account_url);
    r->old_key = old_key ? key_ref(old_key) : NULL;
    r->new_key = key_ref(new_key);
    r->fn = fn;
    r->userdata = userdata;
    if (!r->account_url || !r->old_key)
        r->turn = timer_after(s->settings.loop, 0, on_no_account, r);
    return r;
}

struct rollover *rollover_start(struct session *s, struct key *new_key, rollover_fn *fn,
                                void *userdata)
{
    struct rollover *r = rollover_new(s, s->key, new_key, fn, userdata);

    if (!r->turn)
        r->directory_wait = directory_get(s, on_directory, r);
    return r;
}

struct rollover *rollover_resolve(struct session *s, struct key *old_key, struct key *new_key,
                                  rollover_fn *fn, void *userdata)
{
    struct rollover *r = rollover_new(s, old_key, new_key, fn, userdata);

    if (!r->turn)
        ask_as(r, true);
    return r;
}

void rollover_free(struct rollover *r)
{
    if (r && !r->called)
        rollover_end(r);
}
