/* Requests of people and timers for one certificate, kept until they are answered. */
#pragma once

#include "agent/managed.h"
#include "base/json.h"

struct ticket_list {
    struct ticket *first;
};

struct ticket *tickets_add(struct ticket_list *list, const struct ticket_options *options,
                           ticket_fn *fn, void *userdata);
bool tickets_force(const struct ticket_list *list);          /* does any ask for it? */
bool tickets_ask_for_due(const struct ticket_list *list);    /* does any want what is due? */
bool tickets_ignore_backoff(const struct ticket_list *list); /* did any ask by name? */
/* What the oldest of an action that was not granted asks for (borrowed as long as it is there), or
 * NULL. It and those that ask for exactly the same are granted: the next answer is theirs. */
const struct ticket_options *tickets_grant(struct ticket_list *list, enum ticket_action action);

#define TICKETS_OF(action) (1U << (action))
#define TICKETS_ALL        (~0U)
bool tickets_any(const struct ticket_list *list, unsigned actions);
/* Answers those of the actions; each is gone before its callback. Of those that name a generation
 * only the granted ones, but TICKETS_ALL are all. */
void tickets_tell(struct ticket_list *list, unsigned actions, const json_t *result,
                  int exit_status);
void tickets_done(struct ticket_list *list); /* forgets them unanswered */
