/* A signal to the process of a pid file, or to the one that runs a program as a user: programs of
 * one's own, such as a Node.js server that listens to SIGHUP (examples/node). */
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/job.h"
#include "hooks/process.h"
#include "hooks/user.h"

struct signal_settings {
    char *pid_file;
    char *exe;  /* or NULL */
    char *user; /* or NULL */
    int signo;  /* 0: SIGHUP */
};

/* "HUP", "SIGHUP" or "1"; 0: none. Those that cannot be handled are no way to reload. */
static int signal_number(const char *text)
{
    const char *name = strncmp(text, "SIG", 3) == 0 ? text + 3 : text;
    size_t len = strlen(text);
    int signo = 0;

    if (len > 0 && len <= 2 && strspn(text, "0123456789") == len) {
        signo = (int)strtol(text, NULL, 10);
    } else {
        for (int i = 1; i < NSIG && signo == 0; i++) {
            const char *known = sigabbrev_np(i);
            if (known && strcmp(known, name) == 0)
                signo = i;
        }
    }
    return signo > 0 && signo < NSIG && signo != SIGKILL && signo != SIGSTOP ? signo : 0;
}

static void parse_signal(const struct field_in *in)
{
    const char *text = yaml_scalar(in->node);
    int signo = text ? signal_number(text) : 0;

    if (signo == 0)
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "expected a signal that a program can handle, such as HUP, USR1 or 10");
    else
        *(int *)in->to = signo;
}

static const struct field fields[] = {
    {.name = "pid_file",
     .type = FIELD_PATH,
     .offset = offsetof(struct signal_settings, pid_file),
     .help = "the file with the pid; or else exe and user"},
    {.name = "exe",
     .type = FIELD_STRING,
     .offset = offsetof(struct signal_settings, exe),
     .help = "the program that the process must run, by base name or path: a recycled pid is then "
             "never hit"},
    {.name = "user",
     .type = FIELD_STRING,
     .offset = offsetof(struct signal_settings, user),
     .help =
         "without pid_file: whose process runs exe; of several the one that started the others"},
    {.name = "signal",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct signal_settings, signo),
     .parse = parse_signal,
     .kind = "a signal such as HUP",
     .help = "name or number; default: HUP"},
    {0},
};

static void signal_check_settings(void *settings, const struct yaml_node *node, const char *path,
                                  struct problems *problems)
{
    const struct signal_settings *s = settings;
    auto_err struct err *e = NULL;
    uid_t uid;

    if (!s->pid_file && (!s->exe || !s->user))
        yaml_problem(problems, false, node, path, NULL,
                     "a signal needs a pid_file, or exe and user: whom is it for?");
    else if (s->pid_file && s->user)
        yaml_problem(problems, false, yaml_get(node, "user"), path, NULL,
                     "user is for a process that is found without a pid_file");
    else if (s->user && !user_find(s->user, &uid, &e)) /* may come with the server's package */
        yaml_problem(problems, true, yaml_get(node, "user"), path, NULL, "%s", e->text);
}

static struct hook_job *signal_reload(const struct server *s, struct loop *l,
                                      const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct signal_settings *settings = s->settings;
    struct process_target target = {.pid_file = settings->pid_file, .exe = settings->exe};
    auto_err struct err *e = NULL;

    (void)event;
    if (settings->user && !user_find(settings->user, &target.uid, &e))
        return hook_result(l, RELOAD_FAILED, e, fn, userdata);
    return hook_signal(l, &target, settings->signo ? settings->signo : SIGHUP, fn, userdata);
}

extern const struct server_type server_type_signal;
const struct server_type server_type_signal = {
    .name = "signal",
    .help = "any server that reloads by a signal",
    .settings_size = sizeof(struct signal_settings),
    .fields = fields,
    .check_settings = signal_check_settings,
    .reload = signal_reload,
};
