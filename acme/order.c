/* The machine over the steps of order_steps.c: one function moves the order, and retries, saves,
 * pauses, deadlines and the step limit live here and nowhere else. */
#include "acme/order_private.h"

#include <errno.h>
#include <string.h>

#include "acme/problem.h"
#include "acme/session_private.h"
#include "base/clock.h"
#include "base/log.h"

#define DEADLINE_S       3600
#define STEPS_MAX        1000 /* a CA that leads us in circles */
#define ABANDON_LIMIT_MS 10000

/* Life ----------------------------------------------------------------------------------------- */

static void stop(struct order *o)
{
    account_job_free(take(o->account_job));
    directory_wait_free(take(o->directory_wait));
    request_free(take(o->request));
    key_job_free(take(o->csr_job));
    authz_set_free(take(o->authz));
    abandon_free(take(o->abandon));
    timer_free(take(o->pause));
    timer_free(take(o->deadline));
}

void order_free(struct order *o)
{
    if (!o)
        return;
    stop(o);
    free(o->url);
    free(o->account);
    free(o->finalize);
    free(o->certificate);
    strv_done(&o->authorizations);
    err_free(o->invalid);
    free(o->csr);
    chain_free(o->chain);
    strv_done(&o->alternates);
    json_decref(o->new_account);
    err_free(o->error);

    strv_done(&o->settings.names);
    strv_done(&o->settings.account.contact);
    key_unref(o->settings.key);
    free(o->eab_kid);
    secret_free(o->eab_hmac);
    free_p(&o->settings.label);
    free_p(&o->settings.attempt);
    free_p(&o->settings.profile);
    free_p(&o->settings.preferred_chain);
    free_p(&o->settings.replaces);
    free(o);
}

void order_forget(struct order *o)
{
    set_string(&o->url, NULL);
    set_string(&o->finalize, NULL);
    set_string(&o->certificate, NULL);
    strv_done(&o->authorizations);
    err_free(take(o->invalid));
    o->replaces = o->resumed = o->from_disk = o->authorized = false;
    o->finalizes = 0;
}

/* The end -------------------------------------------------------------------------------------- */

/* The CA's word on the order is on the way down, but was not understood: asked once more by the
 * next attempt, which gives the order up when it is told the same. */
static bool is_garbled(const struct order *o, const struct err *e)
{
    bool late = o->state == ORDER_FINALIZE || o->state == ORDER_POLL || o->state == ORDER_FETCH;

    return e->kind == ERR_REFUSED && e->code == 0 && late && !o->from_disk && !o->rejected;
}

/* Trouble that is not the order's fault leaves it as good as it was: EPROTO is TLS (exchange.c). A
 * refused CSR leaves it, too (RFC 8555 7.4), and so does an account that could not be found. */
static bool is_resumable(const struct order *o, const struct err *e)
{
    if (!o->url || e->kind == ERR_BUG)
        return false;
    if (e->kind == ERR_TRANSIENT || e->kind == ERR_LIMITED || e->kind == ERR_SYSTEM)
        return true;
    return o->state == ORDER_ACCOUNT || e->code == EPROTO || err_is_problem(e, "badCSR") ||
           is_garbled(o, e);
}

static void finish(struct order *o, const struct err *e)
{
    struct chain *chain = e ? NULL : take(o->chain);
    bool resumable = e && is_resumable(o, e);

    stop(o);
    o->events.done(o, chain, e, resumable, o->events.userdata); /* may free the order */
}

static void finish_failed(struct order *o)
{
    auto_err struct err *e = take(o->error);

    finish(o, e);
}

static void on_abandoned(void *userdata)
{
    struct order *o = userdata;

    o->abandon = NULL;
    finish_failed(o);
}

/* Authorizations of an order that is given up are not left to pile up at the CA (RFC 8555 7.5.2).
 */
static void order_fail(struct order *o, struct err **err)
{
    bool open = o->authz && o->state == ORDER_AUTHORIZE && authz_set_open(o->authz) > 0;

    err_step(err, order_steps[o->state].name);
    err_move(&o->error, err);
    if (open && o->url && !is_resumable(o, o->error)) {
        stop(o);
        o->abandon = abandon_start(o->settings.session, o->url, ABANDON_LIMIT_MS, on_abandoned, o);
    } else {
        finish_failed(o);
    }
}

static void order_expire(struct order *o)
{
    const struct order_step *step = &order_steps[o->state];
    auto_err struct err *err = NULL;
    char after[CLOCK_TEXT_MAX];

    err_set(&err, ERR_TRANSIENT, "no end after %s: gave up %s",
            duration_text((clock_boot_ms() - o->started_ms) / 1000, after), step->activity);
    if (o->url)
        err_hint(&err, "the order stays good and is gone on with at the next try");
    order_fail(o, &err);
}

/* Going on ------------------------------------------------------------------------------------- */

static void on_deadline(void *userdata)
{
    struct order *o = userdata;

    if (o->saving) /* the owner's save is never left without its order */
        o->expired = true;
    else
        order_expire(o);
}

static void arm_deadline(struct order *o)
{
    int64_t whole_s = o->settings.deadline_s > 0 ? o->settings.deadline_s : DEADLINE_S;
    int64_t left_ms = o->started_ms + whole_s * 1000 - clock_boot_ms();
    int64_t step_ms = order_steps[o->state].deadline_s * 1000;

    timer_free(o->deadline);
    left_ms = left_ms < step_ms ? left_ms : step_ms;
    o->deadline =
        timer_after(session_loop(o->settings.session), left_ms > 0 ? left_ms : 0, on_deadline, o);
}

static void enter(struct order *o, enum order_state state)
{
    log_debug("order step", "certificate", o->settings.label, "attempt", o->settings.attempt,
              "step", order_steps[state].name);
    o->state = state;
    if (state == ORDER_DONE)
        return;
    arm_deadline(o);
    order_tell(o, order_steps[state].activity);
}

static void on_pause_over(void *userdata)
{
    struct order *o = userdata;

    timer_free(take(o->pause));
    order_steps[o->state].ask(o);
}

static json_t *state_json(const struct order *o)
{
    json_t *json = json_object();

    json_put_int(json, "version", 1);
    json_put_str(json, "directory", o->settings.session->settings.directory_url);
    json_put_strv(json, "names", &o->settings.names);
    json_put_str(json, "account", o->account);
    json_put_str(json, "url", o->url);
    json_put_bool(json, "replaces", o->replaces);
    json_put_str(json, "step", order_step_name(o));
    json_put_str(json, "attempt", o->settings.attempt);
    json_put_time(json, "saved", clock_now());
    return json;
}

/* Saves what has to be on disk first, else pauses or asks. */
static void order_continue(struct order *o)
{
    if (o->new_account) {
        auto_json json_t *account = take(o->new_account);
        o->saving = true;
        o->events.save_account(o, account, o->events.userdata);
    } else if (o->save_state) {
        auto_json json_t *state = state_json(o);
        o->save_state = false;
        o->saving = true;
        o->events.save(o, state, o->events.userdata);
    } else if (o->state == ORDER_DONE) {
        finish(o, NULL);
    } else {
        int64_t ms = o->pause_ms;
        o->pause_ms = 0;
        if (ms > 0)
            o->pause = timer_after(session_loop(o->settings.session), ms, on_pause_over, o);
        else
            order_steps[o->state].ask(o);
    }
}

/* The CA lost our account (a test server that was restarted, a data base restored): it is looked up
 * or made again with the same key, once. Another order may have done so since. */
static bool recover_account(struct order *o, const struct err *e)
{
    struct session *s = o->settings.session;
    const char *account = session_account_url(s);

    if (!err_is_problem(e, "accountDoesNotExist") || o->reregistered || o->state == ORDER_ACCOUNT)
        return false;
    log_warning("the CA does not know our account any more: registering its key again",
                "certificate", o->settings.label);
    o->reregistered = true;
    if (account && o->account && strcmp(account, o->account) == 0) {
        session_set_account(s, session_key(s), NULL);
        s->maybe_registered = true;
    }
    order_forget(o);
    return true;
}

/* Where to go on after a failed step; ORDER_FAILED: nowhere. */
static enum order_state recover(struct order *o, const struct err *e)
{
    enum order_state retry = order_steps[o->state].retry;

    if (recover_account(o, e))
        return ORDER_ACCOUNT;
    if (retry != ORDER_FAILED && pace_retry_ms(&o->retry, e, &o->pause_ms)) {
        log_debug("trying again", "certificate", o->settings.label, "error", e->text);
        return retry;
    }
    return ORDER_FAILED;
}

/* The only place where an order changes state. */
void order_advance(struct order *o, const struct reply *r, const struct err *e)
{
    auto_err struct err *err = NULL;
    enum order_state next = order_steps[o->state].judge(o, r, e, &err);

    if (next == ORDER_FAILED && r)
        reply_blame(r, &err);
    if (next == ORDER_FAILED)
        next = recover(o, err);
    else if (!e)
        o->retry = (struct pace_retry){0};

    if (next != ORDER_FAILED && ++o->steps > STEPS_MAX) {
        err_set(&err, ERR_REFUSED, "the CA leads the order in circles");
        next = ORDER_FAILED;
    }
    if (next == ORDER_FAILED) {
        order_fail(o, &err);
        return;
    }
    if (next != o->state)
        enter(o, next);
    order_continue(o);
}

/* The owner's side ----------------------------------------------------------------------------- */

void order_saved(struct order *o)
{
    o->saving = false;
    if (o->expired)
        order_expire(o);
    else
        order_continue(o);
}

void order_save_failed(struct order *o, const struct err *e)
{
    auto_err struct err *err = err_copy(e);

    o->saving = false;
    err_wrap(&err, "saving the order");
    order_fail(o, &err);
}

const char *order_step_name(const struct order *o)
{
    return order_steps[o->state].name;
}

static void copy_settings(struct order *o, const struct order_settings *settings)
{
    struct order_settings *to = &o->settings;

    *to = *settings;
    to->label = xstrdup(settings->label);
    to->attempt = xstrdup(settings->attempt);
    to->profile = xstrdup(settings->profile);
    to->preferred_chain = xstrdup(settings->preferred_chain);
    to->replaces = xstrdup(settings->replaces);
    to->key = key_ref(settings->key);
    to->names = (struct strv){0};
    strv_copy(&to->names, &settings->names);

    const struct account_settings *account = &settings->account;
    to->account.contact = (struct strv){0};
    strv_copy(&to->account.contact, &account->contact);
    o->eab_kid = xstrdup(account->eab_kid);
    if (account->eab_hmac)
        o->eab_hmac = secret_new(account->eab_hmac->data, account->eab_hmac->len);
    to->account.eab_kid = o->eab_kid;
    to->account.eab_hmac = o->eab_hmac;
}

static void on_start(void *userdata)
{
    struct order *o = userdata;

    timer_free(take(o->pause));
    enter(o, ORDER_ACCOUNT);
    order_continue(o);
}

struct order *order_start(const struct order_settings *settings, const struct order_events *events,
                          const json_t *saved)
{
    struct order *o = xcalloc(1, sizeof(*o));
    const char *url = json_str(saved, "url");

    copy_settings(o, settings);
    o->events = *events;
    o->started_ms = clock_boot_ms();
    if (url && json_int(saved, "version") == 1) {
        o->url = xstrdup(url);
        o->account = xstrdup(json_str(saved, "account"));
        o->replaces = json_bool(saved, "replaces");
        o->resumed = o->from_disk = true;
    }
    o->pause = timer_after(session_loop(settings->session), 0, on_start, o);
    return o;
}
