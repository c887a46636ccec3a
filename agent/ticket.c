#include "agent/ticket.h"

struct ticket {
    struct ticket_list *list;
    struct ticket *next;
    struct ticket_options options;
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
        if (t->options.force)
            return true;
    }
    return false;
}

bool tickets_ignore_backoff(const struct ticket_list *list)
{
    for (const struct ticket *t = list->first; t; t = t->next) {
        if (!t->options.due_only)
            return true;
    }
    return false;
}

void tickets_tell(struct ticket_list *list, const json_t *result, int exit_status)
{
    /* Those that come in while these are told belong to the next answer. */
    struct ticket_list now = *list;

    list->first = NULL;
    for (struct ticket *t = now.first; t; t = t->next)
        t->list = &now;
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
