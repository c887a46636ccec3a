/* What one issuance counts at its CA: asked before newOrder, told of what came of it. */
#pragma once

#include "agent/authority.h"

struct order_count {
    struct authority *authority; /* borrowed */
    const char *certificate;     /* for the log; borrowed */
    struct limits_order order;   /* names borrowed; `replaces` is set here */
    time_t due_at; /* by the clock's word alone it is due, since then; 0: there are other reasons */
    bool force;    /* somebody asked for it now: our own count warns, but holds nobody up */
    bool asked;    /* newOrder is on the way: its token is kept */
    bool open;     /* an order was counted, its end was not */
};

/* The step of errors that are our own count's, not the CA's word. */
#define ORDER_COUNT_STEP "limits"
/* Also asks the CA's clock: a jump of ours is no reason to renew everything. */
NODISCARD bool order_count_may_place(struct order_count *c, bool replaces, struct err **err);
void order_count_placed(struct order_count *c, bool replaces);
/* An order of before a restart goes on. */
void order_count_resumed(struct order_count *c, bool replaces);
/* What the CA said to newOrder; a pause of names becomes an alarm. */
void order_count_refused(struct order_count *c, const struct err *e);
void order_count_validated(struct order_count *c, const char *name, bool good);
/* Also when it stays on disk for another attempt: that will be a resumed one. Counts once. */
void order_count_ended(struct order_count *c, bool issued);
