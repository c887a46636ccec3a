/* PostgreSQL: SIGHUP to the postmaster. New connections get the new pair; one that it does not like
 * (the key's owner and mode matter) is logged, and the old one stays. */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

static const struct field fields[] = {
    {.name = "pid_file",
     .type = FIELD_PATH,
     .offset = offsetof(struct daemon, pid_file),
     .preset = "/run/postgresql/15-main.pid",
     .help = "its external_pid_file, or `postmaster.pid` of the data directory"},
    DAEMON_UNIT("postgresql@15-main.service"),
    DAEMON_RELOAD(daemon_reload_names, DAEMON_RELOAD_HELP),
    {0},
};

static struct hook_job *postgresql_reload(const struct server *s, struct loop *l,
                                          const struct hook_event *event, reload_fn *fn,
                                          void *userdata)
{
    const struct daemon *d = s->settings;
    const struct daemon_way way = {.signo = SIGHUP, .exe = "postgres", .first_line = true};

    (void)event;
    return daemon_reload(s, d, &way, l, fn, userdata);
}

extern const struct server_type server_type_postgresql;
const struct server_type server_type_postgresql = {
    .name = "postgresql",
    .help = "PostgreSQL",
    .default_prove = "127.0.0.1:5432",
    .default_starttls = "postgres",
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .reload = postgresql_reload,
};
