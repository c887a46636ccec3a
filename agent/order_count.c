#include "agent/order_count.h"

#include "agent/pause.h"
#include "base/clock.h"
#include "base/log.h"

static struct limits *limits_of(const struct order_count *c)
{
    return authority_limits(c->authority);
}

/* Less is no matter of a wrong clock. */
#define SKEW_MAX_S 300

static bool is_due_by_both_clocks(const struct order_count *c, struct err **err)
{
    time_t now = clock_now(), theirs = authority_time(c->authority, now);
    char text[CLOCK_TEXT_MAX];

    if (c->due_at == 0 || c->force || now - theirs < SKEW_MAX_S || theirs >= c->due_at)
        return true;
    err_set(err, ERR_SYSTEM, "our clock is %s ahead of the CA's, by which nothing is due",
            duration_text((int64_t)now - theirs, text));
    err_hint(err, "set the clock; `renew --force` renews all the same");
    return err_step(err, "clock");
}

bool order_count_may_place(struct order_count *c, bool replaces, struct err **err)
{
    auto_err struct err *e = NULL;

    if (!is_due_by_both_clocks(c, err))
        return false;
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
