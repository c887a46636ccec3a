/* nginx: `nginx -t`, then SIGHUP to the master (its own `-s reload` does the same, but tells less).
 * The master keeps the old configuration when it cannot load the new one, and tells nobody: that is
 * what the proof is for. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hooks/job.h"

enum nginx_reload { NGINX_AUTO, NGINX_SIGNAL, NGINX_OFF };

struct nginx {
    char *binary, *config, *pid_file;
    int reload;
};

static const char *const reload_names[] = {"auto", "signal", "off", NULL};

static const struct field fields[] = {
    {.name = "binary",
     .type = FIELD_PATH,
     .offset = offsetof(struct nginx, binary),
     .preset = "/usr/sbin/nginx",
     .help = "the program, for its own check and to recognise its process"},
    {.name = "config",
     .type = FIELD_PATH,
     .offset = offsetof(struct nginx, config),
     .preset = "/etc/nginx/nginx.conf",
     .help = "the configuration that it checks"},
    {.name = "pid_file",
     .type = FIELD_PATH,
     .offset = offsetof(struct nginx, pid_file),
     .preset = "/run/nginx.pid",
     .help = "the file with the pid of the master process"},
    {.name = "reload",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct nginx, reload),
     .choices = reload_names,
     .preset = "auto",
     .help = "auto: signal; signal: SIGHUP to the master; off: somebody else reloads it"},
    {0},
};

/* nginx opens logs and reads keys with the rights of its master: for anybody else `nginx -t` fails
 * on good configurations, too. Whose it is we see by the pid file. */
static bool may_check(const struct nginx *n)
{
    struct stat st;

    return geteuid() == 0 || (stat(n->pid_file, &st) == 0 && st.st_uid == geteuid());
}

static bool nginx_check_argv(const struct server *s, struct strv *ret_argv)
{
    const struct nginx *n = s->settings;

    if (!may_check(n))
        return false;
    strv_add(ret_argv, n->binary);
    strv_add(ret_argv, "-t");
    strv_add(ret_argv, "-q");
    strv_add(ret_argv, "-c");
    strv_add(ret_argv, n->config);
    /* Instead of the log compiled in, which may not be there (-e would need 1.19.5). */
    strv_add(ret_argv, "-g");
    strv_add(ret_argv, "error_log stderr;");
    return true;
}

static struct hook_job *nginx_reload(const struct server *s, struct loop *l,
                                     const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct nginx *n = s->settings;
    char binary[PATH_MAX];

    (void)event;
    if (n->reload == NGINX_OFF)
        return hook_result(l, RELOAD_NOTHING, NULL, fn, userdata);
    /* The process shows the end of all symlinks; one in another container is not found here. */
    const char *path = realpath(n->binary, binary) ? binary : n->binary;
    return hook_signal(l, n->pid_file, strrchr(path, '/') + 1, SIGHUP, fn, userdata);
}

extern const struct server_type server_type_nginx;
const struct server_type server_type_nginx = {
    .name = "nginx",
    .help = "nginx",
    .default_prove = "127.0.0.1:443",
    .settings_size = sizeof(struct nginx),
    .fields = fields,
    .check_argv = nginx_check_argv,
    .reload = nginx_reload,
};
