#include "agent/config_private.h"

#define REFERENCE_MAX (1024 * 1024)

static void add_table(struct buf *out, const char *title, const char *help,
                      const struct field *fields)
{
    buf_addf(out, "\n### %s\n\n", title);
    if (help)
        buf_addf(out, "%s\n\n", help);
    if (fields && fields->name)
        schema_reference(fields, out);
}

static void add_type(struct buf *out, const char *section, const char *type, const char *help,
                     const struct field *fields)
{
    auto_free char *title = xasprintf("`%s`: `type: %s`", section, type);

    add_table(out, title, help, fields);
}

static void add_server_types(struct buf *out)
{
    for (size_t i = 0; server_type_all[i]; i++) {
        const struct server_type *type = server_type_all[i];
        const char *starttls = type->default_starttls;
        auto_free char *with = starttls ? xasprintf(" with `starttls: %s`", starttls) : xstrdup("");
        auto_free char *help =
            type->default_prove
                ? xasprintf("%s. Default `prove`: `%s`%s.", type->help, type->default_prove, with)
                : xasprintf("%s. `prove` has no default.", type->help);

        add_type(out, "servers.NAME", type->name, help, type->fields);
    }
}

static void add_certificates(struct buf *out)
{
    add_table(out, "`certificates.NAME`", NULL, config_certificate_fields);
    add_table(out, "`certificates.NAME.key`", NULL, config_key_fields);
    add_table(out, "`certificates.NAME.renew`", NULL, config_renew_fields);
    add_table(out, "`certificates.NAME.ocsp`", NULL, config_ocsp_fields);
    for (size_t i = 0; output_type_all[i]; i++)
        add_type(out, "certificates.NAME.outputs[]", output_type_all[i]->name,
                 output_type_all[i]->help, output_type_all[i]->fields);
}

char *config_reference(void)
{
    auto_buf struct buf out;

    buf_init(&out, REFERENCE_MAX);
    buf_add_str(&out, "## Configuration reference\n\n"
                      "Durations are numbers with `s`, `m`, `h`, `d` or `w`, combinable: `1h30m`. "
                      "Secrets are `{file: PATH}`, `{env: NAME}` or `{credential: NAME}`. "
                      "`include` is a path, a pattern such as `conf.d/*.yaml`, or a list of them, "
                      "relative to its file.\n");
    add_table(&out, "`agent`", NULL, config_agent_fields);
    add_table(&out, "`agent.log`", NULL, config_log_fields);
    add_table(&out, "`agent.alerts`", NULL, config_alerts_fields);
    add_table(&out, "`issuers.NAME`", NULL, config_issuer_fields);
    add_table(&out, "`issuers.NAME.eab`", NULL, config_eab_fields);
    add_table(&out, "`issuers.NAME.limits`", NULL, config_limits_fields);
    for (size_t i = 0; challenge_type_all[i]; i++)
        add_type(&out, "challenges.NAME", challenge_type_all[i]->acme, challenge_type_all[i]->help,
                 challenge_type_all[i]->fields);
    add_table(&out, "`servers.NAME`", "Common to all types.", config_server_fields);
    add_server_types(&out);
    add_table(&out, "`servers.NAME.prove[]`", NULL, config_endpoint_fields);
    add_certificates(&out);
    return buf_take(&out);
}
