/* A command that makes the server load, run without a shell. */
#include <stddef.h>

#include "hooks/job.h"

struct exec {
    struct strv reload;
};

static const struct field fields[] = {
    {.name = "reload",
     .type = FIELD_ARGV,
     .offset = offsetof(struct exec, reload),
     .required = true,
     .help =
         "program and arguments; exit status 0 means that it has loaded; `off`: nothing is run"},
    {0},
};

static struct hook_job *exec_reload(const struct server *s, struct loop *l,
                                    const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct exec *e = s->settings;

    if (e->reload.n == 0)
        return hook_result(l, RELOAD_NOTHING, NULL, fn, userdata);
    return hook_run(l, &e->reload, event, s->timeout_s, fn, userdata);
}

extern const struct server_type server_type_exec;
const struct server_type server_type_exec = {
    .name = "exec",
    .help = "any server, by commands",
    .settings_size = sizeof(struct exec),
    .fields = fields,
    .reload = exec_reload,
};
