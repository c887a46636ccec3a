#include "agent/revoking.h"

#include "acme/problem.h"
#include "base/log.h"

struct revoking {
    struct revoking_settings settings;
    struct issuer_wait *wait;
    struct revoke *revoke;
    bool by_account;
    bool entered;
    revoking_fn *fn;
    void *userdata;
};

void revoking_free(struct revoking *r)
{
    if (!r)
        return;
    issuer_wait_free(r->wait);
    revoke_free(r->revoke);
    if (r->entered)
        issuer_leave(r->settings.issuer);
    generation_unref(r->settings.generation);
    free(r);
}

static void revoking_finish(struct revoking *r, const struct err *e)
{
    revoking_fn *fn = r->fn;
    void *userdata = r->userdata;
    auto_err struct err *copy = err_copy(e);

    err_step(&copy, "revoke");
    revoking_free(r);
    fn(copy, userdata);
}

static void ask(struct revoking *r, bool by_account);

/* Whether the certificate's key may be believed where the account was not. */
static bool is_about_the_account(const struct err *e)
{
    return err_is_problem(e, "unauthorized") || err_is_problem(e, "accountDoesNotExist");
}

static void on_revoked(const struct err *e, void *userdata)
{
    struct revoking *r = userdata;

    r->revoke = NULL; /* ends by itself */
    if (e && r->by_account && is_about_the_account(e)) {
        log_failure(LOG_LEVEL_INFO, e,
                    "not revoked by the account, asking by the certificate's key", "issuer",
                    issuer_name(r->settings.issuer));
        ask(r, false);
        return;
    }
    revoking_finish(r, e);
}

static void ask(struct revoking *r, bool by_account)
{
    const struct revoking_settings *s = &r->settings;

    r->by_account = by_account;
    r->revoke = revoke_start(issuer_session(s->issuer), s->generation->chain->items[0], s->reason,
                             by_account ? NULL : s->generation->key, on_revoked, r);
}

static void on_prepared(const struct err *e, void *userdata)
{
    struct revoking *r = userdata;

    r->wait = NULL;
    r->entered = true;
    issuer_enter(r->settings.issuer);
    ask(r, !e && issuer_account(r->settings.issuer));
}

struct revoking *revoking_start(const struct revoking_settings *settings, revoking_fn *fn,
                                void *userdata)
{
    struct revoking *r = xcalloc(1, sizeof *r);

    r->settings = *settings;
    r->settings.generation = generation_ref(settings->generation);
    r->fn = fn;
    r->userdata = userdata;
    if (issuer_account(settings->issuer))
        r->wait = issuer_prepare(settings->issuer, on_prepared, r);
    else /* a key for an account is not made for this */
        ask(r, false);
    return r;
}
