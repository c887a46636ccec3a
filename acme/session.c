#include "acme/session_private.h"

#include <string.h>

#include "acme/jws.h"
#include "base/clock.h"

struct session *session_new(const struct session_settings *settings)
{
    struct session *s = xcalloc(1, sizeof(*s));

    s->settings = *settings;
    s->settings.directory_url = xstrdup(settings->directory_url);
    s->settings.ca_file = xstrdup(settings->ca_file);
    s->settings.proxy = xstrdup(settings->proxy);
    return s;
}

static void forget_account(struct session *s)
{
    set_string(&s->account_url, NULL);
    set_string(&s->thumbprint, NULL);
    set_string(&s->jwk, NULL);
    set_string(&s->header_jwk, NULL);
    set_string(&s->header_kid, NULL);
}

/* Requests first: theirs are some of the waits for account and directory. */
void session_free(struct session *s)
{
    if (!s)
        return;
    session_cancel_requests(s);
    session_cancel_account(s);
    session_cancel_directory(s);
    session_forget_directory(s);
    forget_account(s);
    nonces_done(&s->nonces);
    key_unref(s->key);
    free_p(&s->settings.directory_url);
    free_p(&s->settings.ca_file);
    free_p(&s->settings.proxy);
    free(s);
}

/* Header and thumbprint are made here once: requests only add nonce and URL. */
void session_set_account(struct session *s, struct key *key, const char *account_url)
{
    auto_free char *url = xstrdup(account_url); /* may be our own */
    struct key *old = s->key;

    s->key = key ? key_ref(key) : NULL;
    key_unref(old);
    forget_account(s);
    if (!s->key)
        return;
    auto_json json_t *jwk = key_jwk(s->key);
    s->jwk = json_compact(jwk);
    s->thumbprint = key_thumbprint(s->key);
    s->header_jwk = jws_header_jwk(key_jws_alg(s->key), s->jwk);
    if (url) {
        s->header_kid = jws_header_kid(key_jws_alg(s->key), url);
        s->account_url = take(url);
    }
}

struct key *session_key(const struct session *s)
{
    return s->key;
}

const char *session_account_url(const struct session *s)
{
    return s->account_url;
}

const char *session_thumbprint(const struct session *s)
{
    return s->thumbprint;
}

struct loop *session_loop(const struct session *s)
{
    return s->settings.loop;
}

struct worker *session_worker(const struct session *s)
{
    return s->settings.worker;
}

/* Only for 503: rateLimited may be about a single name and is no reason to keep others waiting. */
void session_note(struct session *s, const struct err *e)
{
    if (e->kind == ERR_LIMITED && e->code == 503 && e->retry_at > s->paused_until)
        s->paused_until = e->retry_at;
}

bool session_is_paused(const struct session *s, struct err **err)
{
    if (clock_now() >= s->paused_until)
        return false;

    auto_err struct err *e = NULL;
    char when[CLOCK_TEXT_MAX];
    err_set(&e, ERR_LIMITED, "the CA said that it is unavailable until %s",
            clock_rfc3339(s->paused_until, when));
    e->code = 503;
    e->retry_at = s->paused_until;
    err_move(err, &e);
    return true;
}
