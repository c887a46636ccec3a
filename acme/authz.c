/* Strategy: a small step table as the order's, but nothing of it is saved: after a stop the CA's
 * status of the authorization and of its challenge tell where to go on (PRESENT always happens
 * anew, ANSWER only when the CA does not work on the challenge already). */
#include "acme/authz.h"

#include <string.h>

#include "acme/authz_object.h"
#include "acme/pace.h"
#include "acme/problem.h"
#include "acme/request_private.h"

struct authz {
    struct authz_settings settings;
    char *url;
    authz_fn *fn;
    void *userdata;

    enum authz_state state;
    struct authz_object object; /* as read first */
    struct err *answer_error;   /* the CA did not want the answer; the poll tells what that means */
    struct err *error;
    struct pace_poll poll;
    struct pace_retry retry;
    int64_t pause_ms;

    bool busy;
    bool judged; /* the end is what the CA found out after our answer */
    struct request *request;
    struct present *present;
    struct timer *pause;
};

struct step {
    void (*ask)(struct authz *a);
    enum authz_state (*judge)(struct authz *a, const struct reply *r, const struct err *e,
                              struct err **err);
};

static void authz_advance(struct authz *a, const struct reply *r, const struct err *e);

static enum authz_state fail(const struct err *e, struct err **err)
{
    auto_err struct err *copy = err_copy(e);

    err_move(err, &copy);
    return AUTHZ_FAILED;
}

static void on_reply(const struct reply *r, const struct err *e, void *userdata)
{
    struct authz *a = userdata;

    a->request = NULL;
    authz_advance(a, r, e);
}

/* READ ----------------------------------------------------------------------------------------- */

/* POST-as-GET (RFC 8555 7.5). Also polls: the authorization, not the challenge, says when it is
 * over. */
static void ask_read(struct authz *a)
{
    a->request = request_start(
        a->settings.session,
        &(struct request_spec){.operation = "authorization", .url = a->url, .payload = ""},
        on_reply, a);
}

static enum authz_state judge_read(struct authz *a, const struct reply *r, const struct err *e,
                                   struct err **err)
{
    const struct challenge_type *type = a->settings.explain ? NULL : a->settings.solver->type;

    if (e)
        return fail(e, err);
    authz_object_done(&a->object);
    if (!reply_need_json(r, err) ||
        !authz_object_read(r->json, type, a->settings.names, &a->object, err)) {
        reply_blame(r, err);
        return AUTHZ_FAILED;
    }
    if (a->object.status == AUTHZ_STATUS_OVER)
        return fail(a->object.error, err);
    if (a->object.status == AUTHZ_STATUS_VALID || a->settings.explain)
        return AUTHZ_VALID;
    return AUTHZ_PRESENT;
}

/* PRESENT -------------------------------------------------------------------------------------- */

static void on_presented(const struct err *e, void *userdata)
{
    authz_advance(userdata, NULL, e);
}

static void ask_present(struct authz *a)
{
    struct solver *solver = a->settings.solver;
    auto_free char *text = /* RFC 8555 8.1 */
        xasprintf("%s.%s", a->object.token, session_thumbprint(a->settings.session));

    a->present =
        solver->type->present(solver, a->object.identifier, a->object.token, text, on_presented, a);
}

static enum authz_state judge_present(struct authz *a, const struct reply *r, const struct err *e,
                                      struct err **err)
{
    (void)r;
    if (e)
        return fail(e, err);
    return a->object.answered ? AUTHZ_POLL : AUTHZ_ANSWER;
}

/* ANSWER --------------------------------------------------------------------------------------- */

static void ask_answer(struct authz *a)
{
    a->request = request_start(a->settings.session,
                               &(struct request_spec){.operation = "challenge",
                                                      .url = a->object.challenge_url,
                                                      .payload = "{}"}, /* RFC 8555 7.5.1 */
                               on_reply, a);
}

/* A refusal may only mean that an answer whose reply was lost has done its work: the authorization
 * itself decides. */
static enum authz_state judge_answer(struct authz *a, const struct reply *r, const struct err *e,
                                     struct err **err)
{
    if (e && (e->kind != ERR_REFUSED || err_is_problem(e, "accountDoesNotExist")))
        return fail(e, err);
    if (e)
        a->answer_error = err_copy(e);
    else
        a->pause_ms = pace_poll_ms(&a->poll, r->retry_after);
    return AUTHZ_POLL;
}

/* POLL ----------------------------------------------------------------------------------------- */

static enum authz_state judge_poll(struct authz *a, const struct reply *r, const struct err *e,
                                   struct err **err)
{
    struct authz_object now = {0};
    enum authz_state next = AUTHZ_POLL;

    if (e)
        return fail(e, err);
    if (!reply_need_json(r, err) ||
        !authz_object_read(r->json, NULL, a->settings.names, &now, err)) {
        reply_blame(r, err);
        return AUTHZ_FAILED;
    }
    if (now.status == AUTHZ_STATUS_VALID)
        next = AUTHZ_VALID;
    else if (now.status == AUTHZ_STATUS_OVER)
        next = fail(now.error, err);
    else if (a->answer_error)
        next = fail(a->answer_error, err);
    else
        a->pause_ms = pace_poll_ms(&a->poll, r->retry_after);
    a->judged = now.status == AUTHZ_STATUS_VALID || now.status == AUTHZ_STATUS_OVER;
    authz_object_done(&now);
    return next;
}

static const struct step steps[] = {
    [AUTHZ_READ] = {ask_read, judge_read},
    [AUTHZ_PRESENT] = {ask_present, judge_present},
    [AUTHZ_ANSWER] = {ask_answer, judge_answer},
    [AUTHZ_POLL] = {ask_read, judge_poll},
};

/* The machine ---------------------------------------------------------------------------------- */

static void withdraw(struct authz *a)
{
    if (a->present)
        a->settings.solver->type->withdraw(take(a->present));
}

static void on_pause_over(void *userdata)
{
    struct authz *a = userdata;

    timer_free(take(a->pause));
    a->fn(a, a->userdata);
}

/* The identifier goes before the text unless the parser put it there. */
static void set_error(struct authz *a, struct err **err)
{
    const char *name = a->object.identifier;
    size_t len = name ? strlen(name) : 0;
    bool named = name && strncmp((*err)->text, name, len) == 0;

    if (name && !named)
        err_wrap(err, "%s%s", a->object.wildcard ? "*." : "", name);
    err_move(&a->error, err);
}

/* The only place where the state changes. */
static void authz_advance(struct authz *a, const struct reply *r, const struct err *e)
{
    auto_err struct err *err = NULL;
    enum authz_state next = steps[a->state].judge(a, r, e, &err);

    a->busy = false;
    /* What cannot be presented is this machine's trouble: waiting a moment does not help. */
    if (next == AUTHZ_FAILED && a->state != AUTHZ_PRESENT &&
        pace_retry_ms(&a->retry, err, &a->pause_ms))
        next = a->state;
    else if (next == AUTHZ_FAILED)
        set_error(a, &err);
    else if (!e)
        a->retry = (struct pace_retry){0};
    a->state = next;
    if (next == AUTHZ_VALID || next == AUTHZ_FAILED)
        withdraw(a);
    else if (a->pause_ms > 0)
        a->pause = timer_after(session_loop(a->settings.session), a->pause_ms, on_pause_over, a);
    a->pause_ms = 0;
    a->fn(a, a->userdata);
}

struct authz *authz_new(const struct authz_settings *settings, const char *url, authz_fn *fn,
                        void *userdata)
{
    struct authz *a = xcalloc(1, sizeof(*a));

    a->settings = *settings;
    a->url = xstrdup(url);
    a->fn = fn;
    a->userdata = userdata;
    return a;
}

void authz_free(struct authz *a)
{
    if (!a)
        return;
    request_free(a->request);
    withdraw(a);
    timer_free(a->pause);
    authz_object_done(&a->object);
    err_free(a->answer_error);
    err_free(a->error);
    free(a->url);
    free(a);
}

enum authz_state authz_state(const struct authz *a)
{
    return a->state;
}

bool authz_is_busy(const struct authz *a)
{
    return a->busy;
}

bool authz_is_ready(const struct authz *a)
{
    return !a->busy && !a->pause && a->state != AUTHZ_VALID && a->state != AUTHZ_FAILED;
}

void authz_go(struct authz *a)
{
    a->busy = true;
    steps[a->state].ask(a);
}

const struct err *authz_error(const struct authz *a)
{
    return a->error;
}

bool authz_is_judged(const struct authz *a)
{
    return a->judged;
}

char *authz_name(const struct authz *a)
{
    return xasprintf("%s%s", a->object.wildcard ? "*." : "", a->object.identifier);
}

const char *authz_identifier(const struct authz *a)
{
    return a->object.identifier;
}
