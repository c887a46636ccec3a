/* The steps of an order, RFC 8555 7.4. The usual way is straight down the table; Poll is where
 * resumed orders and everything unclear (a lost reply, orderNotReady) are sorted out by the CA's
 * word:
 *
 *     pending -> authorize, ready -> finalize, processing -> poll again, valid -> fetch, invalid ->
 * explain
 *
 * Any of these may be the answer to newOrder, to the CSR, or to a poll: servers reuse orders and
 * skip states. */
#include "acme/order_private.h"

#include <string.h>

#include "acme/problem.h"
#include "base/enc.h"
#include "base/log.h"

/* account -------------------------------------------------------------------------------------- */

static void on_account(const json_t *json, const struct err *e, void *userdata)
{
    struct order *o = userdata;

    o->account_job = NULL;
    if (json)
        o->new_account = json_deep_copy(json);
    order_advance(o, NULL, e);
}

static void ask_account(struct order *o)
{
    o->account_job = account_ensure(o->settings.session, &o->settings.account, on_account, o);
}

static enum order_state judge_account(struct order *o, const struct reply *r, const struct err *e,
                                      struct err **err)
{
    const char *account = session_account_url(o->settings.session);

    (void)r;
    if (e)
        return order_step_fail(e, err);
    if (key_equal(session_key(o->settings.session), o->settings.key)) { /* RFC 8555 11.1 */
        err_set(err, ERR_CONFIG, "the certificate's key is the account's key");
        return ORDER_FAILED;
    }
    if (o->url && o->account && strcmp(o->account, account) != 0) {
        log_info("the order on disk is another account's: placing a new one", "certificate",
                 o->settings.label);
        order_forget(o);
    }
    set_string(&o->account, xstrdup(account));
    return o->url ? ORDER_POLL : ORDER_NEW;
}

/* authorize, explain --------------------------------------------------------------------------- */

static void on_authz_activity(const char *text, void *userdata)
{
    order_tell(userdata, text);
}

static void on_validated(const char *name, bool good, void *userdata)
{
    struct order *o = userdata;

    if (o->events.validated)
        o->events.validated(o, name, good, o->events.userdata);
}

static void on_authorized(const struct err *e, void *userdata)
{
    struct order *o = userdata;

    /* Not freed before its pending ones are counted: the set is over once this returns. */
    order_advance(o, NULL, e);
}

static void start_authz(struct order *o, bool explain)
{
    authz_set_free(o->authz);
    o->authz = authz_set_start(&(struct authz_settings){.session = o->settings.session,
                                                        .solver = o->settings.solver,
                                                        .names = &o->settings.names,
                                                        .explain = explain},
                               &o->authorizations,
                               &(struct authz_set_events){.activity = on_authz_activity,
                                                          .validated = on_validated,
                                                          .done = on_authorized,
                                                          .userdata = o});
}

static void ask_authorize(struct order *o)
{
    start_authz(o, false);
}

/* When all are valid the order is ready (RFC 8555 7.1.6): no need to ask. orderNotReady tells if it
 * takes a moment. */
static enum order_state judge_authorize(struct order *o, const struct reply *r, const struct err *e,
                                        struct err **err)
{
    (void)r;
    if (e)
        return order_step_fail(e, err);
    o->authorized = true;
    return ORDER_FINALIZE;
}

static void ask_explain(struct order *o)
{
    start_authz(o, true);
}

/* The failed authorization says more than the order; the order more than nothing. */
static enum order_state judge_explain(struct order *o, const struct reply *r, const struct err *e,
                                      struct err **err)
{
    (void)r;
    if (e && e->kind == ERR_REFUSED)
        order_step_fail(e, err);
    else if (o->invalid)
        order_step_fail(o->invalid, err);
    else
        err_set(err, ERR_REFUSED, "no reason given");
    err_wrap(err, "the CA moved the order to \"invalid\"");
    return ORDER_FAILED;
}

/* finalize ------------------------------------------------------------------------------------- */

static void send_csr(struct order *o)
{
    auto_free char *payload = xasprintf("{\"csr\":\"%s\"}", o->csr);

    o->finalizes++;
    order_post(o, "finalize", o->finalize, payload, NULL);
}

static void on_csr(const unsigned char *der, size_t len, const struct err *e, void *userdata)
{
    struct order *o = userdata;

    o->csr_job = NULL;
    if (e) {
        order_advance(o, NULL, e);
        return;
    }
    o->csr = enc_base64url(der, len);
    send_csr(o);
}

static void ask_finalize(struct order *o)
{
    if (o->finalizes == 0)
        o->poll = (struct pace_poll){0};
    if (o->csr)
        send_csr(o);
    else
        o->csr_job = csr_make(session_worker(o->settings.session), o->settings.key,
                              &o->settings.names, o->settings.must_staple, on_csr, o);
}

static enum order_state judge_finalize(struct order *o, const struct reply *r, const struct err *e,
                                       struct err **err)
{
    if (!e)
        return order_follow(o, r, err);
    order_step_fail(e, err);
    if (err_is_problem(e, "orderNotReady")) {
        if (o->finalizes >= ORDER_FINALIZES_MAX)
            return ORDER_FAILED;
        o->pause_ms = pace_poll_ms(&o->poll, NULL);
        return ORDER_POLL;
    }
    if (err_is_problem(e, "invalidProfile") && order_drop_profile(o, err)) {
        order_forget(o);
        return ORDER_NEW;
    }
    return ORDER_FAILED;
}

/* poll ----------------------------------------------------------------------------------------- */

static void ask_poll(struct order *o)
{
    order_post(o, "order", o->url, "", NULL);
}

/* Expired, failed, or made by a CA that lost its memory. */
static enum order_state replace_resumed(struct order *o, const char *why)
{
    log_info("the order on disk is of no more use: placing a new one", "certificate",
             o->settings.label, "reason", why);
    order_forget(o);
    return ORDER_NEW;
}

static enum order_state judge_poll(struct order *o, const struct reply *r, const struct err *e,
                                   struct err **err)
{
    if (e && e->kind == ERR_REFUSED && e->code >= 400 && o->resumed &&
        !err_is_problem(e, "accountDoesNotExist"))
        return replace_resumed(o, e->text);
    if (e)
        return order_step_fail(e, err);
    enum order_state next = order_follow(o, r, err);
    if (o->resumed && next == ORDER_EXPLAIN)
        return replace_resumed(o, o->invalid ? o->invalid->text : "it is invalid");
    o->resumed = false;
    return next;
}

/* The table ------------------------------------------------------------------------------------ */

const struct order_step order_steps[] = {
    [ORDER_ACCOUNT] = {"account", "looking up the account", 120, ORDER_ACCOUNT, ask_account,
                       judge_account},
    [ORDER_NEW] = {"new-order", "placing the order", 120, ORDER_NEW, order_ask_new,
                   order_judge_new},
    [ORDER_AUTHORIZE] = {"authorize", "reading the authorizations", 300, ORDER_FAILED,
                         ask_authorize, judge_authorize},
    /* Whether the CA got the CSR is not known after a lost reply: the order tells. */
    [ORDER_FINALIZE] = {"finalize", "finalizing the order", 120, ORDER_POLL, ask_finalize,
                        judge_finalize},
    [ORDER_POLL] = {"poll", "waiting for the CA to issue", 180, ORDER_POLL, ask_poll, judge_poll},
    [ORDER_FETCH] = {"fetch", "downloading the certificate", 120, ORDER_FETCH, order_ask_fetch,
                     order_judge_fetch},
    [ORDER_ALTERNATES] = {"alternates", "looking for the preferred chain", 120, ORDER_FAILED,
                          order_ask_alternate, order_judge_alternate},
    [ORDER_EXPLAIN] = {"authorize", "finding out what went wrong", 60, ORDER_FAILED, ask_explain,
                       judge_explain},
    [ORDER_DONE] = {.name = "done"},
    [ORDER_FAILED] = {.name = "failed"},
};
