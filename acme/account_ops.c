#include "acme/account_ops.h"

#include <string.h>

#include "acme/post.h"
#include "acme/problem.h"
#include "acme/session_private.h"

struct account_op {
    bool deactivating;
    struct post *post;
    struct timer *turn; /* to say that there is no account */
    account_op_fn *fn;
    void *userdata;
    bool called;
};

static void op_end(struct account_op *o)
{
    post_free(o->post);
    timer_free(o->turn);
    free(o);
}

static void op_finish(struct account_op *o, const json_t *json, const struct err *e)
{
    o->called = true;
    o->fn(json, e, o->userdata);
    op_end(o);
}

static bool judge_status(const struct account_op *o, const json_t *json, struct err **err)
{
    const char *status = json_str(json, "status");

    if (!o->deactivating || !status || strcmp(status, "deactivated") == 0)
        return true;
    return err_set(err, ERR_REFUSED, "the CA says that the account is \"%s\" still", status);
}

static void on_reply(const struct reply *r, const struct err *e, void *userdata)
{
    struct account_op *o = userdata;
    auto_err struct err *failure = err_copy(e);
    bool arrived = post_may_have_arrived(o->post);

    o->post = NULL; /* ends by itself */
    /* RFC 8555 7.3.6: all requests of a deactivated account are refused so. The reply to the one
     * that did it was lost. */
    if (o->deactivating && arrived && err_is_problem(failure, "unauthorized"))
        op_finish(o, NULL, NULL);
    else if (r && judge_status(o, r->json, &failure))
        op_finish(o, r->json, NULL);
    else
        op_finish(o, NULL, failure);
}

static void on_turn(void *userdata)
{
    struct account_op *o = userdata;
    auto_err struct err *e = NULL;

    err_set(&e, ERR_CONFIG, "there is no account yet");
    err_hint(&e, "it is made with the first certificate");
    op_finish(o, NULL, e);
}

static struct account_op *op_start(struct session *s, const char *payload, account_op_fn *fn,
                                   void *userdata)
{
    struct account_op *o = xcalloc(1, sizeof(*o));

    o->fn = fn;
    o->userdata = userdata;
    if (s->account_url)
        o->post = post_start(s,
                             &(struct post_spec){
                                 .operation = "account",
                                 .url = s->account_url,
                                 .payload = payload,
                                 .key = REQUEST_KID,
                             },
                             on_reply, o);
    else
        o->turn = timer_after(s->settings.loop, 0, on_turn, o);
    return o;
}

struct account_op *account_show(struct session *s, account_op_fn *fn, void *userdata)
{
    return op_start(s, "", fn, userdata);
}

struct account_op *account_update(struct session *s, const struct strv *contact, account_op_fn *fn,
                                  void *userdata)
{
    auto_json json_t *payload = json_object();

    json_put_strv(payload, "contact", contact);
    auto_free char *text = json_compact(payload);
    return op_start(s, text, fn, userdata);
}

struct account_op *account_deactivate(struct session *s, account_op_fn *fn, void *userdata)
{
    struct account_op *o = op_start(s, "{\"status\":\"deactivated\"}", fn, userdata);

    o->deactivating = true;
    return o;
}

void account_op_free(struct account_op *o)
{
    if (o && !o->called)
        op_end(o);
}
