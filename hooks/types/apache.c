/* Apache httpd: SIGUSR1 to the parent (a graceful restart). `-t` looks at the syntax only: it finds
 * nothing wrong with a key that does not match, and then the graceful restart ends the whole
 * server. Pairs are checked before they are written; what this cannot see is a file of another
 * origin next to ours. */
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "hooks/apache_config.h"
#include "hooks/daemon.h"

#define DEBIAN "/usr/sbin/apache2"

static const struct field fields[] = {
    {.name = "binary",
     .type = FIELD_PATH,
     .offset = offsetof(struct daemon, binary),
     .preset = "/usr/sbin/apachectl",
     .help = "runs the check; apachectl knows the environment that Debian's configuration needs"},
    {.name = "config",
     .type = FIELD_PATH,
     .offset = offsetof(struct daemon, config),
     .help = "the configuration that it checks; default: the one compiled in"},
    DAEMON_PID_FILE("/run/apache2/apache2.pid"),
    DAEMON_UNIT("apache2.service"),
    DAEMON_RELOAD(daemon_reload_names, DAEMON_RELOAD_HELP),
    {0},
};

static bool is_script(const struct daemon *d)
{
    size_t len = strlen(d->binary);

    return len > 3 && strcmp(d->binary + len - 3, "ctl") == 0;
}

static bool apache_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct daemon *d = s->settings;

    if (!daemon_may_check(d))
        return false;
    strv_add(ret_argv, d->binary);
    strv_add(ret_argv, "-t");
    if (d->config) {
        strv_add(ret_argv, "-f");
        strv_add(ret_argv, d->config);
    }
    return true;
}

static void apache_pairs(const struct server *s, struct strv *ret)
{
    static const char *const places[] = {"/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf"};
    const struct daemon *d = s->settings;

    if (d->config)
        apache_config_pairs(d->config, ret);
    for (size_t i = 0; !d->config && i < ARRAY_LEN(places); i++)
        apache_config_pairs(places[i], ret);
}

static struct hook_job *apache_reload(const struct server *s, struct loop *l,
                                      const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct daemon *d = s->settings;
    struct daemon_way way = {.signo = SIGUSR1};

    (void)event;
    if (is_script(d))
        way.exe = access(DEBIAN, F_OK) == 0 ? strrchr(DEBIAN, '/') + 1 : "httpd";
    return daemon_reload(s, d, &way, l, fn, userdata);
}

extern const struct server_type server_type_apache;
const struct server_type server_type_apache = {
    .name = "apache",
    .help = "Apache httpd",
    .default_prove = "127.0.0.1:443",
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .check_argv = apache_check_argv,
    .pairs = apache_pairs,
    .reload = apache_reload,
};
