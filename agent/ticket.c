#include "agent/ticket.h"

struct ticket {
    struct ticket_list *list;
    struct ticket *next;
    struct ticket_options options;
    bool granted;
    ticket_fn *fn;
    void *userdata;
};

struct ticket *tickets_add(struct ticket_list *list, const struct ticket_options *options,
                           ticket_fn *fn, void *userdata)
{
    struct ticket *t = xcalloc(1, sizeof *t);

    *t = (struct ticket){
        .list = list, .next = list->first, .options = *options, .fn = fn, .userdata = userdata};
    list->first = t;
    return t;
}

void ticket_free(struct ticket *t)
{
    if (!t)
        return;
    if (t->list) {
        struct ticket **at = &t->list->first;
        while (*at != t)
            at = &(*at)->next;
        *at = t->next;
    }
    free(t);
}

bool tickets_force(const struct ticket_list *list)
{
    for (const struct ticket *t = list->first; t; t = t->next) {
        if (t->options.action == TICKET_RENEW && t->options.force)
            return true;
    }
    return false;
}

bool tickets_ask_for_due(const struct ticket_list *list)
{
    for (const struct ticket *t = list->first; t; t = t->next) {
        if (t->options.action == TICKET_RENEW && !t->options.force)
            return true;
    }
    return false;
}

bool tickets_ignore_backoff(const struct ticket_list *list)
{
    for (const struct ticket *t = list->first; t; t = t->next) {
        if (t->options.action == TICKET_REVOKE ||
            (t->options.action == TICKET_RENEW && !t->options.due_only))
            return true;
    }
    return false;
}

static bool same_wish(const struct ticket_options *a, const struct ticket_options *b)
{
    return a->action == b->action && a->generation == b->generation && a->reason == b->reason &&
           a->now == b->now;
}

const struct ticket_options *tickets_grant(struct ticket_list *list, enum ticket_action action)
{
    const struct ticket_options *first = NULL;

    for (const struct ticket *t = list->first; t; t = t->next) {
        if (t->options.action == action && !t->granted)
            first = &t->options; /* new ones are put before the others */
    }
    for (struct ticket *t = list->first; t && first; t = t->next)
        t->granted = t->granted || same_wish(&t->options, first);
    return first;
}

bool tickets_any(const struct ticket_list *list, unsigned actions)
{
    for (const struct ticket *t = list->first; t; t = t->next) {
        if (actions & TICKETS_OF(t->options.action))
            return true;
    }
    return false;
}

static bool is_addressed(const struct ticket *t, unsigned actions)
{
    bool particular = t->options.action == TICKET_ROLLBACK;

    return actions == TICKETS_ALL ||
           ((actions & TICKETS_OF(t->options.action)) && (!particular || t->granted));
}

/* Moves the tickets of the actions to `ret`, in their order. */
static void take_tickets(struct ticket_list *list, unsigned actions, struct ticket_list *ret)
{
    struct ticket **at = &list->first, **end = &ret->first;

    while (*at) {
        struct ticket *t = *at;
        if (!is_addressed(t, actions)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        t->list = ret;
        t->next = NULL;
        *end = t;
        end = &t->next;
    }
}

void tickets_tell(struct ticket_list *list, unsigned actions, const json_t *result, int exit_status)
{
    /* Those that come in while these are told belong to the next answer. */
    struct ticket_list now = {0};

    take_tickets(list, actions, &now);
    while (now.first) {
        ticket_fn *fn = now.first->fn;
        void *userdata = now.first->userdata;
        ticket_free(now.first);
        fn(result, exit_status, userdata);
    }
}

void tickets_done(struct ticket_list *list)
{
    while (list->first)
        ticket_free(list->first);
}
