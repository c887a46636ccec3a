/* Any server with a systemd unit: its reload job, with the job's result. */
#include <stddef.h>
#include <string.h>

#include "base/bus.h"
#include "hooks/job.h"

struct systemd {
    char *unit;
    int action; /* enum bus_action */
};

struct task {
    struct hook_job *job;
    struct bus_job *bus;
};

static const char *const action_names[] = {
    [BUS_RELOAD] = "reload",
    [BUS_TRY_RESTART] = "try-restart",
    [BUS_RELOAD_OR_RESTART] = "reload-or-restart",
    NULL,
};

static const struct field fields[] = {
    {.name = "unit",
     .type = FIELD_STRING,
     .offset = offsetof(struct systemd, unit),
     .required = true,
     .help = "the unit, such as app.service"},
    {.name = "action",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct systemd, action),
     .choices = action_names,
     .preset = "reload",
     .help = "what systemd is asked to do; a unit that does not run is never started"},
    {0},
};

static void check_settings(void *settings, const struct yaml_node *node, const char *path,
                           struct problems *problems)
{
    const struct systemd *s = settings;
    const char *dot = strrchr(s->unit, '.');
    auto_free char *suggestion = xasprintf("%s.service", s->unit);

    if (!dot || dot == s->unit || strchr(s->unit, '/'))
        yaml_problem(problems, false, yaml_get(node, "unit"), path, dot ? NULL : suggestion,
                     "expected the full name of a unit, this is \"%s\"", s->unit);
}

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    bus_job_free(t->bus);
    free(t);
}

static void on_job(enum bus_outcome outcome, const struct err *e, void *userdata)
{
    struct task *t = userdata;

    t->bus = NULL;
    if (outcome == BUS_DONE)
        hook_end(t->job, RELOAD_DONE, NULL);
    else
        hook_end(t->job, e ? RELOAD_FAILED : RELOAD_NOT_RUNNING, e);
}

static struct hook_job *systemd_reload(const struct server *s, struct loop *l,
                                       const struct hook_event *event, reload_fn *fn,
                                       void *userdata)
{
    const struct systemd *settings = s->settings;
    struct task *t = xcalloc(1, sizeof(*t));

    (void)event;
    t->job = hook_task(l, t, task_drop, fn, userdata);
    t->bus = bus_job_start(l, (enum bus_action)settings->action, settings->unit, 0,
                           s->timeout_s * 1000, on_job, t);
    return t->job;
}

extern const struct server_type server_type_systemd;
const struct server_type server_type_systemd = {
    .name = "systemd",
    .help = "any server with a systemd unit",
    .settings_size = sizeof(struct systemd),
    .fields = fields,
    .check_settings = check_settings,
    .reload = systemd_reload,
};
