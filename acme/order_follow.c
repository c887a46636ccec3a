/* What the steps of an order share: posting, and following the CA's word. */
#include "acme/order_private.h"

enum order_state order_step_fail(const struct err *e, struct err **err)
{
    auto_err struct err *copy = err_copy(e);

    err_move(err, &copy);
    return ORDER_FAILED;
}

static void on_reply(const struct reply *r, const struct err *e, void *userdata)
{
    struct order *o = userdata;

    o->request = NULL;
    order_advance(o, r, e);
}

void order_post(struct order *o, const char *operation, const char *url, const char *payload,
                const char *accept)
{
    o->request =
        request_start(o->settings.session,
                      &(struct request_spec){
                          .operation = operation, .url = url, .payload = payload, .accept = accept},
                      on_reply, o);
}

void order_tell(struct order *o, const char *activity)
{
    if (o->events.activity)
        o->events.activity(o, activity, o->events.userdata);
}

enum order_state order_follow(struct order *o, const struct reply *r, struct err **err)
{
    struct order_object now;

    if (!reply_need_json(r, err) || !order_object_read(r->json, &now, err))
        return ORDER_FAILED;
    enum order_status status = now.status;
    /* What a reply leaves out stays as it was: after finalize many CAs send less than before. */
    if (now.finalize)
        set_string(&o->finalize, take(now.finalize));
    if (now.certificate)
        set_string(&o->certificate, take(now.certificate));
    if (now.authorizations.n > 0)
        strv_copy(&o->authorizations, &now.authorizations);
    err_move(&o->invalid, &now.error);
    order_object_done(&now);

    switch (status) {
    case ORDER_STATUS_PENDING: /* all valid and still pending: the CA is slow to notice */
        if (!o->authorized)
            return ORDER_AUTHORIZE;
        break;
    case ORDER_STATUS_READY:
        if (o->finalizes >= ORDER_FINALIZES_MAX) {
            err_set(err, ERR_REFUSED, "the CA keeps the order \"ready\" after %d CSRs",
                    o->finalizes);
            return ORDER_FAILED;
        }
        if (o->finalizes > 0)
            o->pause_ms = pace_poll_ms(&o->poll, r->retry_after);
        return ORDER_FINALIZE;
    case ORDER_STATUS_PROCESSING:
        break;
    case ORDER_STATUS_VALID:
        return ORDER_FETCH;
    case ORDER_STATUS_INVALID:
        return ORDER_EXPLAIN;
    }
    o->pause_ms = pace_poll_ms(&o->poll, r->retry_after);
    return ORDER_POLL;
}
