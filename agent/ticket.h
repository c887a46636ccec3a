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
bool tickets_ignore_backoff(const struct ticket_list *list); /* did any ask by name? */
/* Answers all of them; each is gone before its callback. */
void tickets_tell(struct ticket_list *list, const json_t *result, int exit_status);
void tickets_done(struct ticket_list *list); /* forgets them unanswered */
