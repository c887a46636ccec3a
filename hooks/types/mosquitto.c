/* Mosquitto (2.0 and later): SIGHUP reads certfile and keyfile again; a pair that does not match is
 * logged and the old one stays. It has no check of its own configuration. */
#include <signal.h>
#include <stddef.h>

#include "hooks/daemon.h"

static const struct field fields[] = {
    DAEMON_BINARY("/usr/sbin/mosquitto"),
    DAEMON_PID_FILE("/run/mosquitto/mosquitto.pid"),
    DAEMON_UNIT("mosquitto.service"),
    DAEMON_RELOAD(daemon_reload_names, DAEMON_RELOAD_HELP),
    {0},
};

static struct hook_job *mosquitto_reload(const struct server *s, struct loop *l,
                                         const struct hook_event *event, reload_fn *fn,
                                         void *userdata)
{
    const struct daemon *d = s->settings;

    (void)event;
    return daemon_reload(s, d, &(struct daemon_way){.signo = SIGHUP}, l, fn, userdata);
}

extern const struct server_type server_type_mosquitto;
const struct server_type server_type_mosquitto = {
    .name = "mosquitto",
    .help = "Mosquitto",
    .settings_size = sizeof(struct daemon),
    .fields = fields,
    .reload = mosquitto_reload,
};
