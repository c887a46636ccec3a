#include <string.h>

#include "agent/config_private.h"

static void parse_url(const struct field_in *in)
{
    static const struct field secret = {.name = "url", .type = FIELD_SECRET};
    struct field_in part = *in;
    struct secret **url = in->to;

    if (yaml_node_type(in->node) == YAML_MAP) {
        part.field = &secret;
        schema_value(&part);
    } else {
        const char *text = schema_text(in, in->field->kind);
        *url = text ? secret_new(text, strlen(text)) : NULL;
    }
    if (!*url)
        return;
    const char *text = (const char *)(*url)->data;
    if ((strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0) ||
        strlen(text) != (*url)->len || strpbrk(text, " \t\r\n"))
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "expected an URL: https://... or http://...");
}

static void done_url(void *member)
{
    struct secret **url = member;

    secret_free(*url);
    *url = NULL;
}

#define AT(member) .offset = offsetof(struct config_alerts, member)
const struct field config_alerts_fields[] = {
    {.name = "url",
     .type = FIELD_CUSTOM,
     AT(url),
     .parse = parse_url,
     .done = done_url,
     .kind = "an URL, or {file: PATH}, {env: NAME}, {credential: NAME} where it is a secret",
     .help = "webhook: gets a POST with the JSON of Alertmanager's webhook (version 4) and a "
             "`text` for people"},
    {.name = "bearer",
     .type = FIELD_SECRET,
     AT(bearer),
     .help = "token for the webhook: `Authorization: Bearer ...`"},
    {.name = "command",
     .type = FIELD_ARGV,
     AT(command),
     .help = "instead of a webhook: a program that gets the JSON as its standard input, and "
             "`EVERLEAF_ALERT_STATUS` (firing, resolved) and `EVERLEAF_ALERT_TEXT` in its "
             "environment"},
    {.name = "repeat",
     .type = FIELD_DURATION,
     AT(repeat_s),
     .min = 60,
     .max = INT64_C(365) * 86400,
     .preset = "1d",
     .help = "what lasts is told again after this"},
    {.name = "timeout",
     .type = FIELD_DURATION,
     AT(timeout_s),
     .min = 1,
     .max = 3600,
     .preset = "30s",
     .help = "for one delivery"},
    {0},
};

void config_parse_alerts(const struct field_in *in)
{
    struct config_alerts *alerts = in->to;

    if (!schema_read(config_alerts_fields, in->node, in->path, NULL, alerts, NULL, in->problems))
        return;
    if (!alerts->url == (alerts->command.n == 0))
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "either \"url\" or \"command\" is needed");
    else if (alerts->bearer && !alerts->url)
        yaml_problem(in->problems, false, yaml_get(in->node, "bearer"), in->path, NULL,
                     "\"bearer\" is for \"url\"");
    else if (alerts->bearer && strpbrk((const char *)alerts->bearer->data, "\r\n"))
        yaml_problem(in->problems, false, yaml_get(in->node, "bearer"), in->path, NULL,
                     "this cannot be sent as a header");
}

void config_alerts_done(void *alerts)
{
    schema_done(config_alerts_fields, alerts);
}
