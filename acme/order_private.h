/* The inside of an order, for order.c (the machine), order_steps.c (its steps) and abandon.c. */
#pragma once

#include "acme/authz_set.h"
#include "acme/directory.h"
#include "acme/order.h"
#include "acme/order_object.h"
#include "acme/pace.h"
#include "acme/request_private.h"

enum order_state {
    ORDER_ACCOUNT,
    ORDER_NEW,
    ORDER_AUTHORIZE,
    ORDER_FINALIZE,
    ORDER_POLL,
    ORDER_FETCH,
    ORDER_ALTERNATES,
    ORDER_EXPLAIN, /* invalid: which name, and why? */
    ORDER_DONE,
    ORDER_FAILED,
};

/* A step: `ask` starts something whose end calls order_advance on a later turn; `judge` reads what
 * came (r: a reply; e: an error; neither: the thing asked for is done) and says where to go. */
struct order_step {
    const char *name;       /* in logs, errors and the saved state */
    const char *activity;   /* for people; NULL: the step tells itself */
    int64_t deadline_s;     /* for one stay in the state */
    enum order_state retry; /* where to go on after a transient error; ORDER_FAILED: give up */
    void (*ask)(struct order *o);
    enum order_state (*judge)(struct order *o, const struct reply *r, const struct err *e,
                              struct err **err);
};
extern const struct order_step order_steps[];

struct order {
    struct order_settings settings; /* strings and lists are our own */
    struct order_events events;
    char *eab_kid;
    struct secret *eab_hmac;

    enum order_state state;
    int steps;
    int64_t started_ms;
    int64_t pause_ms; /* before the next ask; set by judges */
    struct pace_poll poll;
    struct pace_retry retry;

    /* What is known of the CA's order. */
    char *url;
    char *account; /* URL of the account it was placed by */
    char *finalize, *certificate;
    struct strv authorizations;
    struct err *invalid; /* the order's own error once it is invalid */
    bool replaces;       /* it was asked for with ARI's `replaces` */
    bool from_disk;      /* placed by an earlier attempt */
    bool resumed;        /* and not yet seen to be good */
    bool rejected;       /* what it ended in was not accepted: it is of no more use */
    bool authorized;     /* all authorizations were seen valid */
    int finalizes;

    /* What is tried only once. */
    bool reregistered, refetched, without_profile, without_replaces;

    char *csr; /* base64url */
    struct chain *chain;
    struct strv alternates;
    size_t next_alternate;

    /* What has to be on disk before the machine goes on. */
    json_t *new_account;
    bool save_state;
    bool saving;
    bool expired; /* a deadline passed while saving */

    /* What is under way: one of these, and the deadline. */
    struct account_job *account_job;
    struct directory_wait *directory_wait;
    struct request *request;
    struct key_job *csr_job;
    struct authz_set *authz;
    struct abandon *abandon;
    struct timer *pause;
    struct timer *deadline;

    struct err *error; /* to be told after the abandoned authorizations */
};

/* The one way on; for the callbacks of what `ask` started. */
void order_advance(struct order *o, const struct reply *r, const struct err *e);
/* Forgets the CA's order, to place a new one. */
void order_forget(struct order *o);

/* For the steps. */
#define ORDER_FINALIZES_MAX 5
/* Copies e; returns ORDER_FAILED. */
enum order_state order_step_fail(const struct err *e, struct err **err);
void order_tell(struct order *o, const char *activity);
void order_post(struct order *o, const char *operation, const char *url, const char *payload,
                const char *accept);
/* Takes over what the CA says of the order and returns where its status leads. */
enum order_state order_follow(struct order *o, const struct reply *r, struct err **err);

void order_ask_new(struct order *o);
enum order_state order_judge_new(struct order *o, const struct reply *r, const struct err *e,
                                 struct err **err);
/* After invalidProfile: true when an order without the profile is worth a try; false with the
 * better error in err when the profile is required. */
bool order_drop_profile(struct order *o, struct err **err);
void order_ask_fetch(struct order *o);
enum order_state order_judge_fetch(struct order *o, const struct reply *r, const struct err *e,
                                   struct err **err);
void order_ask_alternate(struct order *o);
enum order_state order_judge_alternate(struct order *o, const struct reply *r, const struct err *e,
                                       struct err **err);

/* As order_abandon, by the order's URL and with a limit. */
struct abandon *abandon_start(struct session *s, const char *url, int64_t limit_ms,
                              void (*fn)(void *userdata), void *userdata);
