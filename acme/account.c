/* Strategy: one registration per session, whoever asks; it belongs to the session and goes on when
 * those who wait for it are freed, as newAccount may have reached the CA.
 *
 *   directory -> [onlyReturnExisting when we may be registered already] -> newAccount -> tell
 * everybody
 *
 * A newAccount whose reply was lost makes every later one begin with the look-up, so that a
 * one-shot EAB is not asked for twice. */
#include "acme/account.h"

#include <string.h>

#include "acme/directory.h"
#include "acme/jws.h"
#include "acme/problem.h"
#include "acme/request_private.h"
#include "acme/session_private.h"
#include "base/clock.h"

struct account_job {
    struct session *session; /* NULL when that was freed */
    struct account_job *next;
    struct timer *turn; /* armed once it is known what to tell */
    json_t *json;
    struct err *err;
    account_fn *fn;
    void *userdata;
};

struct registration {
    struct session *session;
    struct strv contact;
    bool terms_agreed;
    char *eab_kid;
    struct secret *eab_hmac;
    bool lookup; /* ask with onlyReturnExisting first */
    struct directory_wait *directory_wait;
    struct request *request;
};

/* Those who wait ------------------------------------------------------------------------------- */

void account_job_free(struct account_job *j)
{
    struct account_job **at;

    if (!j)
        return;
    at = j->session ? &j->session->account_jobs : NULL;
    while (at && *at && *at != j)
        at = &(*at)->next;
    if (at && *at)
        *at = j->next;
    timer_free(j->turn);
    json_decref(j->json);
    err_free(j->err);
    free(j);
}

/* Everybody is told on a turn of their own: a callback may free other jobs, or the session. */
static void on_turn(void *userdata)
{
    struct account_job *j = userdata;
    account_fn *fn = j->fn;
    void *data = j->userdata;
    auto_json json_t *json = take(j->json);
    auto_err struct err *e = take(j->err);

    account_job_free(j);
    fn(json, e, data);
}

static void job_tell(struct account_job *j, json_t *json, const struct err *e)
{
    j->json = json_incref(json);
    j->err = err_copy(e);
    j->turn = timer_after(j->session->settings.loop, 0, on_turn, j);
}

static void registration_free(struct registration *g)
{
    if (!g)
        return;
    directory_wait_free(g->directory_wait);
    request_free(g->request);
    strv_done(&g->contact);
    free(g->eab_kid);
    secret_free(g->eab_hmac);
    free(g);
}

static void registration_finish(struct registration *g, json_t *json, const struct err *e)
{
    struct session *s = g->session;

    s->registration = NULL;
    for (struct account_job *j = s->account_jobs; j; j = j->next) {
        if (!j->turn)
            job_tell(j, json, e);
    }
    registration_free(g);
}

/* The account ---------------------------------------------------------------------------------- */

/* What the owner keeps on disk. */
static json_t *account_json(const struct registration *g, const char *url)
{
    const struct directory *d = session_directory(g->session);
    json_t *json = json_object();

    json_put_str(json, "url", url);
    json_put_strv(json, "contact", &g->contact);
    json_put_str(json, "terms", d ? d->terms : NULL);
    json_put_str(json, "status", "valid");
    json_put_time(json, "created", clock_now());
    return json;
}

/* RFC 8555 7.3 promises the account's URL but not that an existing account is in the body. */
static bool judge_account(const struct reply *r, char **ret_url, struct err **err)
{
    const char *status = "valid";
    auto_err struct err *e = NULL;

    if (r->body_len > 0 && !reply_need_json(r, err))
        return false;
    json_opt_string(r->json, "status", &status, &e);
    if (e)
        return err_move(err, &e);
    if (strcmp(status, "valid") != 0) {
        err_set(err, ERR_REFUSED, "the CA says that our account is \"%s\"", status);
        return err_hint(err,
                        "remove the account's folder from the state directory to register anew");
    }
    return reply_need_location(r, ret_url, err);
}

/* Some CAs look at the binding before they look for the account. */
static bool is_unknown_account(const struct err *e)
{
    return err_is_problem(e, "accountDoesNotExist") || err_is_problem(e, "externalAccountRequired");
}

static void ask_register(struct registration *g);

static void on_account(const struct reply *r, const struct err *e, void *userdata)
{
    struct registration *g = userdata;
    struct session *s = g->session;
    auto_err struct err *failure = err_copy(e);
    auto_free char *url = NULL;

    g->request = NULL;
    if (g->lookup && is_unknown_account(e)) {
        g->lookup = s->maybe_registered = false;
        ask_register(g);
        return;
    }
    if (r && judge_account(r, &url, &failure)) {
        auto_json json_t *json = account_json(g, url);
        s->maybe_registered = false;
        session_set_account(s, s->key, url);
        registration_finish(g, json, NULL);
        return;
    }
    if (r)
        reply_blame(r, &failure);
    else if (failure->code == 404) /* the directory may have moved */
        session_forget_directory(s);
    if (failure->kind == ERR_TRANSIENT) /* it may have arrived */
        s->maybe_registered = true;
    registration_finish(g, NULL, failure);
}

static char *registration_payload(const struct registration *g, const struct directory *d)
{
    auto_json json_t *payload = json_object();

    if (g->lookup) {
        json_put_bool(payload, "onlyReturnExisting", true);
        return json_compact(payload);
    }
    if (g->terms_agreed)
        json_put_bool(payload, "termsOfServiceAgreed", true);
    if (g->contact.n > 0)
        json_put_strv(payload, "contact", &g->contact);
    if (g->eab_kid && g->eab_hmac)
        json_put(payload, "externalAccountBinding",
                 jws_external_account(g->eab_hmac, g->eab_kid, d->new_account, g->session->jwk));
    return json_compact(payload);
}

static void post_account(struct registration *g, const struct directory *d)
{
    auto_free char *payload = registration_payload(g, d);

    g->request = request_start(g->session,
                               &(struct request_spec){.operation = "new-account",
                                                      .url = d->new_account,
                                                      .payload = payload,
                                                      .key = REQUEST_JWK},
                               on_account, g);
}

static bool may_register(const struct registration *g, const struct directory *d, struct err **err)
{
    if (d->terms && !g->terms_agreed) {
        err_set(err, ERR_CONFIG, "the CA's terms of service are not agreed to");
        return err_hint(err, "read %.500s and set `terms_agreed: true`", d->terms);
    }
    if (g->eab_kid && !g->eab_hmac) {
        err_set(err, ERR_CONFIG, "the HMAC key of `eab` is a credential, and not to be seen here");
        return err_hint(err, "let the service do it: systemctl start everleaf");
    }
    if (d->eab_required && (!g->eab_kid || !g->eab_hmac)) {
        err_set(err, ERR_CONFIG, "the CA wants an external account binding");
        return err_hint(err, "get a key id and an HMAC key from the CA and set `eab: {kid, hmac}`");
    }
    return true;
}

static void on_directory(const struct directory *d, const struct err *e, void *userdata)
{
    struct registration *g = userdata;
    auto_err struct err *failure = NULL;

    g->directory_wait = NULL;
    if (e)
        registration_finish(g, NULL, e);
    else if (!g->lookup && !may_register(g, d, &failure))
        registration_finish(g, NULL, failure);
    else
        post_account(g, d);
}

/* The directory again, as it may have been dropped since. */
static void ask_register(struct registration *g)
{
    g->directory_wait = directory_get(g->session, on_directory, g);
}

static struct registration *registration_start(struct session *s,
                                               const struct account_settings *settings)
{
    struct registration *g = xcalloc(1, sizeof(*g));

    g->session = s;
    strv_copy(&g->contact, &settings->contact);
    g->terms_agreed = settings->terms_agreed;
    g->eab_kid = xstrdup(settings->eab_kid);
    if (settings->eab_hmac)
        g->eab_hmac = secret_new(settings->eab_hmac->data, settings->eab_hmac->len);
    g->lookup = settings->maybe_registered || s->maybe_registered;
    ask_register(g);
    return g;
}

struct account_job *account_ensure(struct session *s, const struct account_settings *settings,
                                   account_fn *fn, void *userdata)
{
    struct account_job *j = xcalloc(1, sizeof(*j));

    j->session = s;
    j->fn = fn;
    j->userdata = userdata;
    j->next = s->account_jobs;
    s->account_jobs = j;
    if (s->account_url)
        job_tell(j, NULL, NULL);
    else if (!s->registration)
        s->registration = registration_start(s, settings);
    return j;
}

void session_cancel_account(struct session *s)
{
    registration_free(take(s->registration));
    while (s->account_jobs) {
        struct account_job *j = s->account_jobs;
        s->account_jobs = j->next;
        timer_free(take(j->turn));
        j->session = NULL;
    }
}
