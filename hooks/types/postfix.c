/* Postfix: `postfix check`, then `postfix reload`. Without it new smtpd processes take up the new
 * files as old ones end, and tlsproxy does not. Tables of tls_server_sni_maps hold copies of the
 * files: they want `postmap -F` first, by a server of the type exec. */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

static const struct field fields[] = {
    DAEMON_BINARY("/usr/sbin/postfix"),
    {.name = "config",
     .type = FIELD_PATH,
     .offset = offsetof(struct daemon, config),
     .preset = "/etc/postfix",
     .help = "the folder of its configuration"},
    DAEMON_PID_FILE("/var/spool/postfix/pid/master.pid"),
    DAEMON_UNIT("postfix.service"),
    DAEMON_RELOAD(daemon_reload_names,
                  "auto: by the systemd unit where that is what runs, else as signal; signal: by "
                  "`postfix reload`, which needs root; off: somebody else reloads it"),
    {0},
};

static void add_command(const struct daemon *d, const char *verb, struct strv *ret_argv)
{
    strv_add(ret_argv, d->binary);
    strv_add(ret_argv, "-c");
    strv_add(ret_argv, d->config);
    strv_add(ret_argv, verb);
}

static bool postfix_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct daemon *d = s->settings;

    if (!daemon_may_check(d))
        return false;
    add_command(d, "check", ret_argv);
    return true;
}

static struct hook_job *postfix_reload(const struct server *s, struct loop *l,
                                       const struct hook_event *event, reload_fn *fn,
                                       void *userdata)
{
    const struct daemon *d = s->settings;
    auto_strv struct strv command = {0};
    const struct daemon_way way = {.signo = SIGHUP, .command = &command, .exe = "master"};

    (void)event;
    add_command(d, "reload", &command);
    return daemon_reload(s, d, &way, l, fn, userdata);
}

extern const struct server_type server_type_postfix;
const struct server_type server_type_postfix = {
    .name = "postfix",
    .help = "Postfix",
    .default_prove = "127.0.0.1:25",
    .default_starttls = "smtp",
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .check_argv = postfix_check_argv,
    .reload = postfix_reload,
};
