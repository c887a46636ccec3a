#include "agent/order_count.h"

#include "agent/pause.h"
#include "base/clock.h"
#include "base/log.h"

static struct limits *limits_of(const struct order_count *c)
{
    return authority_limits(c->authority);
}

bool order_count_may_place(struct order_count *c, bool replaces, struct err **err)
{
    auto_err struct err *e = NULL;

    order_count_ended(c, false); /* the one before was given up for this one */
    c->order.replaces = replaces;
    if (!limits_may_order(limits_of(c), &c->order, clock_now(), &e)) {
        err_step(&e, ORDER_COUNT_STEP);
        if (!c->force)
            return err_move(err, &e);
        log_failure(LOG_LEVEL_WARNING, e, "ordering by force although the CA will probably refuse",
                    "certificate", c->certificate);
    }
    c->asked = true;
    limits_order_asked(limits_of(c), &c->order, clock_now());
    return true;
}

void order_count_placed(struct order_count *c, bool replaces)
{
    order_count_ended(c, false);
    c->order.replaces = replaces;
    c->open = true;
    limits_order_placed(limits_of(c), &c->order, clock_now());
    authority_touch(c->authority);
}

void order_count_resumed(struct order_count *c, bool replaces)
{
    order_count_ended(c, false);
    c->order.replaces = replaces;
    c->open = true;
    limits_order_resumed(limits_of(c), &c->order, clock_now());
}

void order_count_refused(struct order_count *c, const struct err *e)
{
    if (limits_refused(limits_of(c), &c->order, e, clock_now())) {
        auto_free char *url = pause_url(e);
        log_error("the CA has paused names of this certificate until somebody goes to its page",
                  "certificate", c->certificate, "url", url);
    }
    authority_touch(c->authority);
}

void order_count_validated(struct order_count *c, const char *name, bool good)
{
    if (good)
        limits_validated(limits_of(c), name, clock_now());
    else
        limits_failed(limits_of(c), name, clock_now());
    authority_touch(c->authority);
}

void order_count_ended(struct order_count *c, bool issued)
{
    if (c->asked)
        limits_order_unasked(limits_of(c), &c->order, clock_now());
    c->asked = false;
    if (!c->open)
        return;
    c->open = false;
    limits_order_ended(limits_of(c), &c->order, issued, clock_now());
    authority_touch(c->authority);
}
