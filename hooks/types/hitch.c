/* Hitch: `hitch -t`, then SIGHUP: new children take over, old ones finish what they have. (1.7.2
 * resets connections that wait at a listener of an old child: nothing that we could do about.) It
 * wants key, certificate and chain in one PEM file (`type: combined`), or two files by name. */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

static const struct field fields[] = {
    DAEMON_BINARY("/usr/sbin/hitch"),
    DAEMON_CONFIG("/etc/hitch/hitch.conf"),
    DAEMON_PID_FILE("/run/hitch/hitch.pid"),
    DAEMON_UNIT("hitch.service"),
    DAEMON_RELOAD(daemon_reload_names, DAEMON_RELOAD_HELP),
    {0},
};

static bool hitch_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct daemon *d = s->settings;

    if (!daemon_may_check(d))
        return false;
    strv_add(ret_argv, d->binary);
    strv_add(ret_argv, "--test");
    strv_addf(ret_argv, "--config=%s", d->config);
    return true;
}

static struct hook_job *hitch_reload(const struct server *s, struct loop *l,
                                     const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct daemon *d = s->settings;

    (void)event;
    return daemon_reload(s, d, &(struct daemon_way){.signo = SIGHUP}, l, fn, userdata);
}

extern const struct server_type server_type_hitch;
const struct server_type server_type_hitch = {
    .name = "hitch",
    .help = "Hitch",
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .check_argv = hitch_check_argv,
    .reload = hitch_reload,
};
