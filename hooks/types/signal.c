/* A signal to the process of a pid file: Mosquitto, PostgreSQL, Hitch, H2O, programs of one's own.
 */
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "hooks/job.h"

struct signal_settings {
    char *pid_file;
    char *exe; /* or NULL */
    int signo; /* 0: SIGHUP */
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
     .required = true,
     .help = "the file with the pid"},
    {.name = "exe",
     .type = FIELD_STRING,
     .offset = offsetof(struct signal_settings, exe),
     .help = "base name of the program that the process must run: a pid that was recycled is then "
             "never hit"},
    {.name = "signal",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct signal_settings, signo),
     .parse = parse_signal,
     .kind = "a signal such as HUP",
     .help = "name or number; default: HUP"},
    {0},
};

static struct hook_job *signal_reload(const struct server *s, struct loop *l,
                                      const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct signal_settings *settings = s->settings;

    (void)event;
    return hook_signal(l, settings->pid_file, settings->exe,
                       settings->signo ? settings->signo : SIGHUP, fn, userdata);
}

extern const struct server_type server_type_signal;
const struct server_type server_type_signal = {
    .name = "signal",
    .help = "any server that reloads by a signal",
    .settings_size = sizeof(struct signal_settings),
    .fields = fields,
    .reload = signal_reload,
};
