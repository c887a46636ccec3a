/* Dovecot: `doveconf -n` (which reads the files but does not compare them), then `doveadm reload`.
 */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

struct dovecot {
    struct daemon daemon;
    char *doveadm, *doveconf;
};

static const struct field fields[] = {
    {.name = "doveadm",
     .type = FIELD_PATH,
     .offset = offsetof(struct dovecot, doveadm),
     .preset = "/usr/bin/doveadm",
     .help = "reloads"},
    {.name = "doveconf",
     .type = FIELD_PATH,
     .offset = offsetof(struct dovecot, doveconf),
     .preset = "/usr/bin/doveconf",
     .help = "runs the check"},
    DAEMON_CONFIG("/etc/dovecot/dovecot.conf"),
    DAEMON_PID_FILE("/run/dovecot/master.pid"),
    DAEMON_UNIT("dovecot.service"),
    DAEMON_RELOAD(daemon_reload_names,
                  "auto: by the systemd unit where that is what runs, else as signal; signal: by "
                  "`doveadm reload`; off: somebody else reloads it"),
    {0},
};

static bool dovecot_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct dovecot *d = s->settings;

    if (!daemon_may_check(&d->daemon))
        return false;
    strv_add(ret_argv, d->doveconf);
    strv_add(ret_argv, "-c");
    strv_add(ret_argv, d->daemon.config);
    strv_add(ret_argv, "-n");
    return true;
}

static struct hook_job *dovecot_reload(const struct server *s, struct loop *l,
                                       const struct hook_event *event, reload_fn *fn,
                                       void *userdata)
{
    const struct dovecot *d = s->settings;
    auto_strv struct strv command = {0};
    const struct daemon_way way = {.signo = SIGHUP, .command = &command, .exe = "dovecot"};

    (void)event;
    strv_add(&command, d->doveadm);
    strv_add(&command, "-c");
    strv_add(&command, d->daemon.config);
    strv_add(&command, "reload");
    return daemon_reload(s, &d->daemon, &way, l, fn, userdata);
}

extern const struct server_type server_type_dovecot;
const struct server_type server_type_dovecot = {
    .name = "dovecot",
    .help = "Dovecot",
    .default_prove = "127.0.0.1:993",
    .settings_size = sizeof(struct dovecot),
    .fields = fields,
    .check_argv = dovecot_check_argv,
    .reload = dovecot_reload,
};
