/* lighttpd: `lighttpd -tt`, then SIGUSR1 (SIGHUP only reopens logs). Without the check a pair that
 * does not match would end the server. */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

static const struct field fields[] = {
    DAEMON_BINARY("/usr/sbin/lighttpd"),
    DAEMON_CONFIG("/etc/lighttpd/lighttpd.conf"),
    DAEMON_PID_FILE("/run/lighttpd.pid"),
    DAEMON_UNIT("lighttpd.service"),
    DAEMON_RELOAD(daemon_reload_names, DAEMON_RELOAD_HELP),
    {0},
};

static bool lighttpd_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct daemon *d = s->settings;

    if (!daemon_may_check(d))
        return false;
    strv_add(ret_argv, d->binary);
    strv_add(ret_argv, "-tt");
    strv_add(ret_argv, "-f");
    strv_add(ret_argv, d->config);
    return true;
}

static struct hook_job *lighttpd_reload(const struct server *s, struct loop *l,
                                        const struct hook_event *event, reload_fn *fn,
                                        void *userdata)
{
    const struct daemon *d = s->settings;

    (void)event;
    return daemon_reload(s, d, &(struct daemon_way){.signo = SIGUSR1}, l, fn, userdata);
}

extern const struct server_type server_type_lighttpd;
const struct server_type server_type_lighttpd = {
    .name = "lighttpd",
    .help = "lighttpd",
    .default_prove = "127.0.0.1:443",
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .check_argv = lighttpd_check_argv,
    .reload = lighttpd_reload,
};
