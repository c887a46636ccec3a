/* RabbitMQ reads its files when a connection comes, through a cache of the Erlang runtime: that is
 * emptied on the node. */
#include <stddef.h>

#include "hooks/job.h"

#define EX_UNAVAILABLE 69 /* no such node */

struct rabbitmq {
    char *rabbitmqctl;
    char *node; /* or NULL */
    int reload;
};

enum rabbitmq_reload { RABBITMQ_AUTO, RABBITMQ_OFF };

static const char *const reload_names[] = {[RABBITMQ_AUTO] = "auto", [RABBITMQ_OFF] = "off", NULL};

static const struct field fields[] = {
    {.name = "rabbitmqctl",
     .type = FIELD_PATH,
     .offset = offsetof(struct rabbitmq, rabbitmqctl),
     .preset = "/usr/sbin/rabbitmqctl",
     .help = "the program; it needs root or the server's user for the cookie"},
    {.name = "node",
     .type = FIELD_STRING,
     .offset = offsetof(struct rabbitmq, node),
     .help = "such as rabbit@host; default: that of this host"},
    {.name = "reload",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct rabbitmq, reload),
     .choices = reload_names,
     .preset = "auto",
     .help = "auto: empties the cache; off: it empties itself after some minutes"},
    {0},
};

static struct hook_job *rabbitmq_reload(const struct server *s, struct loop *l,
                                        const struct hook_event *event, reload_fn *fn,
                                        void *userdata)
{
    const struct rabbitmq *r = s->settings;
    auto_strv struct strv argv = {0};

    if (r->reload == RABBITMQ_OFF)
        return hook_result(l, RELOAD_NOTHING, NULL, fn, userdata);
    strv_add(&argv, r->rabbitmqctl);
    if (r->node) {
        strv_add(&argv, "-n");
        strv_add(&argv, r->node);
    }
    strv_add(&argv, "eval");
    strv_add(&argv, "ssl:clear_pem_cache().");
    return hook_run_unless_absent(l, &argv, event, s->timeout_s, EX_UNAVAILABLE, fn, userdata);
}

extern const struct server_type server_type_rabbitmq;
const struct server_type server_type_rabbitmq = {
    .name = "rabbitmq",
    .help = "RabbitMQ",
    .settings_size = sizeof(struct rabbitmq),
    .fields = fields,
    .reload = rabbitmq_reload,
};
