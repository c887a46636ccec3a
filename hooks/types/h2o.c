/* H2O: `h2o -t`, then SIGHUP to its master (h2o -m master), which is Server::Starter, a script: so
 * the process is not one of the binary. A new worker that cannot start leaves the old one in place.
 */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

static const struct field fields[] = {
    DAEMON_BINARY("/usr/bin/h2o"),
    DAEMON_CONFIG("/etc/h2o/h2o.conf"),
    DAEMON_PID_FILE("/run/h2o.pid"),
    DAEMON_UNIT("h2o.service"),
    DAEMON_RELOAD(daemon_reload_names, DAEMON_RELOAD_HELP),
    {0},
};

static bool h2o_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct daemon *d = s->settings;

    if (!daemon_may_check(d))
        return false;
    strv_add(ret_argv, d->binary);
    strv_add(ret_argv, "-t");
    strv_add(ret_argv, "-c");
    strv_add(ret_argv, d->config);
    return true;
}

static struct hook_job *h2o_reload(const struct server *s, struct loop *l,
                                   const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct daemon *d = s->settings;
    const struct daemon_way way = {.signo = SIGHUP, .exe = "perl"};

    (void)event;
    return daemon_reload(s, d, &way, l, fn, userdata);
}

extern const struct server_type server_type_h2o;
const struct server_type server_type_h2o = {
    .name = "h2o",
    .help = "H2O",
    /* start_server watches the new worker for a second before it ends the old one. */
    .overlap_ms = 2000,
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .check_argv = h2o_check_argv,
    .reload = h2o_reload,
};
