/* nginx: `nginx -t`, then SIGHUP to the master (its own `-s reload` does the same, but tells less).
 * The master keeps the old configuration when it cannot load the new one, and tells nobody: that is
 * what the proof is for. */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

static const struct field fields[] = {
    DAEMON_BINARY("/usr/sbin/nginx"),
    DAEMON_CONFIG("/etc/nginx/nginx.conf"),
    DAEMON_PID_FILE("/run/nginx.pid"),
    DAEMON_UNIT("nginx.service"),
    DAEMON_RELOAD(daemon_reload_names, DAEMON_RELOAD_HELP),
    {0},
};

static bool nginx_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct daemon *d = s->settings;

    if (!daemon_may_check(d))
        return false;
    strv_add(ret_argv, d->binary);
    strv_add(ret_argv, "-t");
    strv_add(ret_argv, "-q");
    strv_add(ret_argv, "-c");
    strv_add(ret_argv, d->config);
    /* Instead of the log compiled in, which may not be there (-e would need 1.19.5). */
    strv_add(ret_argv, "-g");
    strv_add(ret_argv, "error_log stderr;");
    return true;
}

static struct hook_job *nginx_reload(const struct server *s, struct loop *l,
                                     const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct daemon *d = s->settings;

    (void)event;
    return daemon_reload(s, d, &(struct daemon_way){.signo = SIGHUP}, l, fn, userdata);
}

extern const struct server_type server_type_nginx;
const struct server_type server_type_nginx = {
    .name = "nginx",
    .help = "nginx",
    .default_prove = "127.0.0.1:443",
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .check_argv = nginx_check_argv,
    .reload = nginx_reload,
};
