#include "hooks/server.h"

#include <string.h>

#include "hooks/job_private.h"

const struct server_type *server_type_find(const char *name)
{
    for (size_t i = 0; server_type_all[i]; i++) {
        if (strcmp(server_type_all[i]->name, name) == 0)
            return server_type_all[i];
    }
    return NULL;
}

void server_free(struct server *s)
{
    if (s->settings)
        schema_done(s->type->fields, s->settings);
    free(s->settings);
    free(s->name);
    free(s->where);
    strv_done(&s->check);
    *s = (struct server){0};
}

/* With the server's name in it, whoever made it. */
static struct hook_event event_for(const struct server *s, const struct hook_event *event)
{
    struct hook_event whole = event ? *event : (struct hook_event){0};

    whole.server = s->name;
    return whole;
}

struct hook_job *server_check(const struct server *s, struct loop *l,
                              const struct hook_event *event, check_fn *fn, void *userdata)
{
    auto_strv struct strv argv = {0};
    struct hook_event whole = event_for(s, event);

    if (!s->check_off && s->check.n > 0)
        strv_copy(&argv, &s->check);
    else if (!s->check_off && (!s->type->check_argv || !s->type->check_argv(s, &argv)))
        strv_done(&argv);
    return hook_check(l, &argv, &whole, s->timeout_s, fn, userdata);
}

struct hook_job *server_reload(const struct server *s, struct loop *l,
                               const struct hook_event *event, reload_fn *fn, void *userdata)
{
    struct hook_event whole = event_for(s, event);

    /* The job has what it needs of the event. */
    return s->type->reload(s, l, &whole, fn, userdata); // cppcheck-suppress returnDanglingLifetime
}
