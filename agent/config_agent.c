#include <string.h>
#include <sys/un.h>

#include "agent/config_private.h"
#include "base/httpd.h"

#define DEFAULT_LISTEN "127.0.0.1:9402"

static const char *const level_names[] = {"debug", "info", "warning", "error", NULL};
static const char *const format_names[] = {"auto", "journal", "json", "text", NULL};

struct log_settings {
    int level, format;
};

const struct field config_log_fields[] = {
    {.name = "level",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct log_settings, level),
     .choices = level_names,
     .preset = "info",
     .help = "the least important lines that are written; `-v` means `debug`"},
    {.name = "format",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct log_settings, format),
     .choices = format_names,
     .preset = "auto",
     .help = "auto: journal under systemd, text on a terminal, else JSON lines"},
    {0},
};

static void parse_log(const struct field_in *in)
{
    struct config *c = in->to;
    struct log_settings log = {0};

    if (!schema_read(config_log_fields, in->node, in->path, NULL, &log, NULL, in->problems))
        return;
    c->log_level = (enum log_level)log.level;
    c->log_format = (enum log_format)log.format;
}

static void check_listen(const struct field_in *in, const struct yaml_node *at, const char *text)
{
    auto_err struct err *e = NULL;

    if (!httpd_listen_check(text, &e))
        config_add_error(in->problems, at, in->path, e);
}

static void parse_listen(const struct field_in *in)
{
    struct strv *listen = in->to;
    const char *text = yaml_scalar(in->node);

    if (text && strcmp(text, "off") == 0)
        return;
    schema_texts(in, in->field->kind, listen);
    if (yaml_node_type(in->node) == YAML_LIST) {
        for (size_t i = 0; i < yaml_count(in->node); i++) {
            text = yaml_scalar(yaml_item(in->node, i));
            if (text && *text)
                check_listen(in, yaml_item(in->node, i), text);
        }
    } else if (text && *text) {
        check_listen(in, in->node, text);
    }
}

static void done_listen(void *member)
{
    strv_done(member);
}

#define AT(member) .offset = offsetof(struct config, member)
const struct field config_agent_fields[] = {
    {.name = "state_dir",
     .type = FIELD_PATH,
     AT(state_dir),
     .help = "where keys, certificates and what is under way are kept; default `$STATE_DIRECTORY` "
             "(systemd), else `/var/lib/everleaf`"},
    {.name = "listen",
     .type = FIELD_CUSTOM,
     AT(listen),
     .parse = parse_listen,
     .done = done_listen,
     .preset = DEFAULT_LISTEN,
     .kind = "\"host:port\", \":port\", \"[v6]:port\", \"unix:/path\", a list of them, or off",
     .help = "read-only HTTP: `/` (a page for people), `/metrics`, `/status`, `/healthz`, "
             "`/readyz`"},
    {.name = "ocsp_listen",
     .type = FIELD_CUSTOM,
     AT(ocsp_listen),
     .parse = parse_listen,
     .done = done_listen,
     .preset = "off",
     .kind = "\"host:port\", \":port\", \"[v6]:port\", \"unix:/path\", a list of them, or off",
     .help = "a local OCSP responder that answers with the staples at hand, for servers that "
             "insist on asking one"},
    {.name = "metrics_file",
     .type = FIELD_PATH,
     AT(metrics_file),
     .help = "where `everleaf renew`, when it works without an agent (by timer), leaves its "
             "metrics for node_exporter's textfile collector, e.g. "
             "`/var/lib/prometheus/node-exporter/everleaf.prom`"},
    {.name = "control",
     .type = FIELD_PATH,
     AT(control),
     .help = "socket for `renew` and `status`; default `$RUNTIME_DIRECTORY/control.sock` "
             "(systemd), else `/run/everleaf/control.sock`"},
    {.name = "alerts",
     .type = FIELD_CUSTOM,
     AT(alerts),
     .parse = config_parse_alerts,
     .done = config_alerts_done,
     .kind = "a map {url: ...} or {command: [...]}",
     .help = "alerts straight from the agent, for those without Prometheus"},
    {.name = "log",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .parse = parse_log,
     .preset = "{}",
     .kind = "a map {level: ..., format: ...}",
     .help = "what is logged and how"},
    {.name = "concurrency",
     .type = FIELD_INT,
     AT(concurrency),
     .min = 1,
     .max = 1000,
     .preset = "16",
     .help = "renewals under way at once"},
    {.name = "http_timeout",
     .type = FIELD_DURATION,
     AT(http_timeout_s),
     .min = 1,
     .max = 3600,
     .preset = "30s",
     .help = "for one exchange with a CA"},
    {0},
};

/* systemd gives a list when a unit has several; the first one is ours. */
static char *from_folder(const char *variable, const char *fallback, const char *below)
{
    const char *folders = getenv(variable);

    if (!folders || folders[0] != '/')
        return xasprintf("%s%s", fallback, below);
    return xasprintf("%.*s%s", (int)strcspn(folders, ":"), folders, below);
}

void config_read_agent(struct reader *r)
{
    struct config *c = r->config;
    const struct yaml_node *map =
        r->n_agents > 0 ? yaml_join(r->documents[0], r->agents, r->n_agents) : NULL;

    schema_read(config_agent_fields, map, "agent", NULL, c, r, r->problems);
    if (!c->state_dir)
        c->state_dir = from_folder("STATE_DIRECTORY", "/var/lib/everleaf", "");
    if (!c->control)
        c->control = from_folder("RUNTIME_DIRECTORY", "/run/everleaf", "/control.sock");
    if (strlen(c->control) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        yaml_problem(r->problems, false, map ? yaml_get(map, "control") : NULL, "agent.control",
                     NULL, "the path of a socket has at most %zu characters: %s",
                     sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1, c->control);
}
