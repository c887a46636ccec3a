/* Our own count of what a CA limits, so that the agent stops before the CA does. One object per
 * directory (accounts and domains are counted there, whichever issuer of ours uses it); other
 * programs' requests are not seen, so the CA may still be the first to say no.
 *
 * Token buckets with continuous refill. A row exists only while its bucket is not full. No clock is
 * read here: `now` is wall-clock time, and a step of it gives nothing back and takes nothing; a
 * jump ahead can do no more than fill the buckets.
 *
 *     if (!limits_may_order(l, &order, now, &e))       ERR_LIMITED: retry_at says when
 *     limits_order_asked(l, &order, now);              its token is kept for it
 *         ...
 *     limits_order_unasked(l, &order, now);            there is a reply, or none will come
 *     limits_order_placed(l, &order, now);             the CA answered newOrder with 201
 *     limits_failed(l, "www.example.org", now);        an authorization became invalid
 *     limits_order_ended(l, &order, issued, now);      the same flags as before
 *
 * What changes is the owner's to save (limits_changes, limits_to_json). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/limit_table.h"
#include "base/json.h"

/* `issuers.X.limits`; count 0: what is known of the CA. */
struct limits_config {
    struct rate orders;
    struct rate certificates; /* per registered domain */
    struct rate requests;     /* of any kind, beside the CA's own numbers for each kind */
};

struct limits;
/* config: NULL or copied. */
struct limits *limits_new(const char *directory, const struct limits_config *config);
void limits_free(struct limits *l);
/* A new configuration; what was counted stays. */
void limits_configure(struct limits *l, const struct limits_config *config);
/* The requests per second of a directory; NULL when nothing limits them. */
struct gate *limits_make_gate(const char *directory, const struct limits_config *config,
                              struct loop *loop);

struct limits_order {
    const struct strv *names; /* canonical */
    bool replaces;            /* with ARI's `replaces`: the CA exempts it from every limit */
    bool same_names; /* renews a certificate of this CA with exactly these names: exempt from
                        LIMIT_ORDERS and LIMIT_CERTIFICATES */
};
/* False and ERR_LIMITED: the text says which limit, for which name, and until when; retry_at; hint.
 * A name that the CA has paused stops every order with it, one try a day excepted. */
NODISCARD bool limits_may_order(struct limits *l, const struct limits_order *o, time_t now,
                                struct err **err);
/* Between the check and the reply: orders asked for at the same time do not share a token. */
void limits_order_asked(struct limits *l, const struct limits_order *o, time_t now);
void limits_order_unasked(struct limits *l, const struct limits_order *o, time_t now);
void limits_order_placed(struct limits *l, const struct limits_order *o, time_t now);
/* An order of before a restart goes on: it may still become a certificate. */
void limits_order_resumed(struct limits *l, const struct limits_order *o, time_t now);
void limits_order_ended(struct limits *l, const struct limits_order *o, bool issued, time_t now);

/* One authorization's end; `name` is the order's identifier (with "*."). */
void limits_failed(struct limits *l, const char *name, time_t now);
void limits_validated(struct limits *l, const char *name, time_t now);
/* The CA's refusal of an order: remembers names that it has paused. True when it said so. */
bool limits_refused(struct limits *l, const struct limits_order *o, const struct err *e,
                    time_t now);

/* The same for new accounts. */
NODISCARD bool limits_may_register(struct limits *l, time_t now, struct err **err);
void limits_registered(struct limits *l, time_t now);
/* The account's URL, whenever it becomes known: what was counted for another one is forgotten. */
void limits_set_account(struct limits *l, const char *url);

/* On disk: what is unreadable in a document counts for nothing. */
void limits_read(struct limits *l, const json_t *json, time_t now);
json_t *limits_to_json(struct limits *l, time_t now);
/* Grows with every change that a restart should not forget. */
uint64_t limits_changes(const struct limits *l);

/* For status: "limits" of an issuer, [{"name","used","max","free_at"}]: what counts for the account
 * first, then the fullest of the others, LIMITS_ROWS_MAX at most. free_at null: one is free now. */
#define LIMITS_ROWS_MAX 20
json_t *limits_status(struct limits *l, time_t now);
bool limits_is_paused(const struct limits *l); /* any name */
/* For everleaf_rate_limit_remaining{limit=limit_names[limit]}: tokens left where the fewest are
 * left; -1 when there is no such limit. */
int64_t limits_remaining(struct limits *l, enum limit limit, time_t now);
