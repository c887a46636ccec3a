/* One certificate from EVERLEAF_* variables, for containers without a configuration file. The
 * variables become a document with one variable a line, so that they are checked like any other
 * configuration; afterwards what was said about a line is said about its variable.
 *
 *   EVERLEAF_NAMES         names, separated by commas; the only one that must be there
 *   EVERLEAF_NAME          of the certificate; default: made of the first name
 *   EVERLEAF_DIRECTORY     URL or short name; default letsencrypt
 *   EVERLEAF_CA_FILE, EVERLEAF_CONTACT (with commas), EVERLEAF_TERMS_AGREED (true, yes, 1),
 *   EVERLEAF_PROFILE, EVERLEAF_KEY_TYPE, EVERLEAF_EAB_KID, EVERLEAF_EAB_HMAC_FILE,
 * EVERLEAF_STATE_DIR, EVERLEAF_LISTEN (with commas, or off): as in the file EVERLEAF_CHALLENGE
 * type; default http-01 EVERLEAF_HTTP_LISTEN   with commas; default :80 EVERLEAF_WEBROOT instead of
 * a listener EVERLEAF_OUTPUT_DIR    folder of a `files` output EVERLEAF_RELOAD        a command,
 * split at white space and run without a shell; or one word that is a server type with defaults,
 * such as nginx: then it is a server of that type EVERLEAF_PROVE         endpoints, separated by
 * commas, or off */
#include <ctype.h>
#include <string.h>

#include "agent/config_private.h"
#include "pki/name.h"

#define LINES_MAX 64
#define TEXT_MAX  (1024 * 1024)
#define PREFIX    "EVERLEAF_"

extern char **environ;

static const char *const known[] = {
    "NAMES",        "NAME",    "DIRECTORY",     "CA_FILE",    "CONTACT",
    "TERMS_AGREED", "PROFILE", "KEY_TYPE",      "EAB_KID",    "CHALLENGE",
    "WEBROOT",      "RELOAD",  "EAB_HMAC_FILE", "OUTPUT_DIR", "STATE_DIR",
    "HTTP_LISTEN",  "PROVE",   "LISTEN",        "CONFIG",     NULL,
};

struct environment {
    struct buf text;
    const char *variables[LINES_MAX]; /* whose line it is, or NULL */
    size_t n;
};

/* NULL when it is not set or empty: containers often set what they do not mean. */
static const char *value_of(const char *variable)
{
    auto_free char *name = xasprintf(PREFIX "%s", variable);
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

/* In double quotes, as YAML and JSON have them. */
static char *quote(const char *text, size_t len)
{
    auto_buf struct buf b;

    buf_init(&b, TEXT_MAX);
    buf_add_str(&b, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < 0x20 || c == 0x7f)
            buf_addf(&b, "\\x%02x", c);
        else
            buf_addf(&b, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    buf_add_str(&b, "\"");
    return buf_take(&b);
}

static void add_line(struct environment *e, const char *variable, const char *text)
{
    if (e->n < LINES_MAX)
        e->variables[e->n++] = variable;
    buf_addf(&e->text, " %s\n", text);
}

static void add_text(struct environment *e, const char *key, const char *variable)
{
    const char *value = value_of(variable);

    if (!value)
        return;
    auto_free char *quoted = quote(value, strlen(value));
    auto_free char *line = xasprintf("%s: %s,", key, quoted);

    add_line(e, variable, line);
}

/* "[before "a" after, before "b" after]" of the parts of a text; "off" stays. */
static char *split(const char *value, const char *separators, const char *before, const char *after)
{
    if (strcmp(value, "off") == 0)
        return xstrdup("off");
    auto_buf struct buf b;
    buf_init(&b, TEXT_MAX);
    buf_add_str(&b, "[");
    for (const char *at = value; *at;) {
        size_t len = strcspn(at, separators), next = len;

        while (len > 0 && isspace((unsigned char)*at)) {
            at++;
            len--;
            next--;
        }
        while (len > 0 && isspace((unsigned char)at[len - 1]))
            len--;
        if (len > 0) {
            auto_free char *quoted = quote(at, len);

            buf_addf(&b, "%s%s%s%s", b.len > 1 ? ", " : "", before, quoted, after);
        }
        at += next + (at[next] != '\0');
    }
    buf_add_str(&b, "]");
    return buf_take(&b);
}

static void add_list(struct environment *e, const char *key, const char *variable,
                     const char *before, const char *after)
{
    const char *value = value_of(variable);

    if (!value)
        return;
    auto_free char *list = split(value, ",", before, after);
    auto_free char *line = xasprintf("%s: %s,", key, list);

    add_line(e, variable, line);
}

static void add_agent(struct environment *e)
{
    add_line(e, NULL, "agent: {");
    add_text(e, "state_dir", "STATE_DIR");
    add_list(e, "listen", "LISTEN", "", "");
    add_line(e, NULL, "},");
}

/* What people write into variables; anything else is left to be refused. */
static void add_terms(struct environment *e)
{
    static const char *const yes[] = {"true", "yes", "1"}, *const no[] = {"false", "no", "0"};
    const char *value = value_of("TERMS_AGREED");

    for (size_t i = 0; value && i < ARRAY_LEN(yes); i++) {
        if (strcasecmp(value, yes[i]) == 0) {
            add_line(e, "TERMS_AGREED", "terms_agreed: true,");
            return;
        }
        if (strcasecmp(value, no[i]) == 0)
            return;
    }
    add_text(e, "terms_agreed", "TERMS_AGREED");
}

static void add_issuer(struct environment *e)
{
    const char *kid = value_of("EAB_KID"), *hmac = value_of("EAB_HMAC_FILE");

    add_line(e, NULL, "issuers: {environment: {");
    if (value_of("DIRECTORY"))
        add_text(e, "directory", "DIRECTORY");
    else
        add_line(e, NULL, "directory: letsencrypt,");
    add_text(e, "ca_file", "CA_FILE");
    add_text(e, "profile", "PROFILE");
    add_list(e, "contact", "CONTACT", "", "");
    add_terms(e);
    if (kid || hmac) {
        add_line(e, kid ? "EAB_KID" : "EAB_HMAC_FILE", "eab: {");
        add_text(e, "kid", "EAB_KID");
        if (hmac) {
            auto_free char *quoted = quote(hmac, strlen(hmac));
            auto_free char *line = xasprintf("hmac: {file: %s},", quoted);

            add_line(e, "EAB_HMAC_FILE", line);
        }
        add_line(e, NULL, "},");
    }
    add_line(e, NULL, "}},");
}

static void add_challenge(struct environment *e)
{
    add_line(e, NULL, "challenges: {environment: {");
    if (value_of("CHALLENGE"))
        add_text(e, "type", "CHALLENGE");
    else
        add_line(e, NULL, "type: http-01,");
    add_list(e, "listen", "HTTP_LISTEN", "", "");
    add_text(e, "webroot", "WEBROOT");
    add_line(e, NULL, "}},");
}

static bool has_defaults(const struct server_type *type)
{
    for (const struct field *f = type->fields; f && f->name; f++) {
        if (f->required)
            return false;
    }
    return true;
}

static void add_reload(struct environment *e, const char *command)
{
    const struct server_type *type = server_type_find(command);
    auto_free char *argv = split(command, " \t\n", "", "");
    auto_free char *line = type && has_defaults(type) ? xasprintf("type: %s,", command)
                                                      : xasprintf("type: exec, reload: %s,", argv);

    add_line(e, "RELOAD", line);
}

/* Without a command there is nothing to reload, but something to look at. */
static void add_server(struct environment *e)
{
    const char *command = value_of("RELOAD");

    if (!command && !value_of("PROVE"))
        return;
    add_line(e, NULL, "servers: {environment: {");
    if (command)
        add_reload(e, command);
    else
        add_line(e, NULL, "type: exec, reload: off,");
    add_list(e, "prove", "PROVE", "{connect: ", "}");
    add_line(e, NULL, "}},");
}

/* EVERLEAF_NAME, or the first name as far as a certificate can be called like it. */
static char *certificate_name(void)
{
    const char *given = value_of("NAME"), *names = value_of("NAMES");

    if (given)
        return quote(given, strlen(given));
    names = names ? names + strspn(names, ", \t\n") : "";

    auto_free char *first = xstrndup(names, strcspn(names, ", \t\n"));
    auto_free char *canonical = name_canonical(first, NULL);
    auto_free char *name = xstrdup(name_base(canonical ? canonical : first));

    for (char *c = name; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '.' && *c != '-')
            *c = '-';
    }
    return quote(*name ? name : "certificate", strlen(*name ? name : "certificate"));
}

static void add_certificate(struct environment *e)
{
    auto_free char *name = certificate_name();
    auto_free char *head = xasprintf("certificates: {%s: {", name);

    add_line(e, value_of("NAME") ? "NAME" : "NAMES", head);
    add_list(e, "names", "NAMES", "", "");
    if (value_of("KEY_TYPE")) {
        auto_free char *type = quote(value_of("KEY_TYPE"), strlen(value_of("KEY_TYPE")));
        auto_free char *line = xasprintf("key: {type: %s},", type);

        add_line(e, "KEY_TYPE", line);
    }
    if (value_of("OUTPUT_DIR")) {
        auto_free char *dir = quote(value_of("OUTPUT_DIR"), strlen(value_of("OUTPUT_DIR")));
        auto_free char *line = xasprintf("outputs: [{type: files, dir: %s}],", dir);

        add_line(e, "OUTPUT_DIR", line);
    }
    if (value_of("RELOAD") || value_of("PROVE"))
        add_line(e, NULL, "servers: [environment],");
    add_line(e, NULL, "}},");
}

/* Problems that no document shows. */
static void check_variables(struct problems *problems)
{
    const char *command = value_of("RELOAD");

    if (command && command[strcspn(command, "'\"`|&;<>$")])
        problems_add_file(problems, ENVIRONMENT_FILE,
                          PREFIX
                          "RELOAD: it is split at white space and run without a shell, where "
                          "quotes, $, |, ; and the like mean nothing: put it into a script");
    for (char **v = environ; *v; v++) {
        size_t prefix = strlen(PREFIX);

        if (strncmp(*v, PREFIX, prefix) != 0)
            continue;
        auto_free char *name = xstrndup(*v + prefix, strcspn(*v + prefix, "="));
        const char *nearest = schema_nearest(name, known);

        /* Only what looks like a slip: the name of a service makes variables, too (Kubernetes). */
        if (nearest && strcmp(nearest, name) != 0)
            problems_add(problems, (struct problem){
                                       .warning = true,
                                       .file = xstrdup(ENVIRONMENT_FILE),
                                       .message = xasprintf("unknown variable " PREFIX "%s", name),
                                       .suggestion = xasprintf(PREFIX "%s", nearest),
                                   });
    }
}

struct environment *environment_read(struct problems *problems)
{
    struct environment *e = xcalloc(1, sizeof(*e));

    buf_init(&e->text, 4 * TEXT_MAX);
    check_variables(problems);
    add_line(e, NULL, "{");
    add_agent(e);
    add_issuer(e);
    add_challenge(e);
    add_server(e);
    add_certificate(e);
    add_line(e, NULL, "}");
    return e;
}

struct yaml *environment_parse(const struct environment *e, struct problems *problems)
{
    return yaml_parse(ENVIRONMENT_FILE, e->text.data, e->text.len, problems);
}

void environment_explain(const struct environment *e, struct problems *problems)
{
    for (size_t i = 0; i < problems->n; i++) {
        struct problem *p = &problems->items[i];
        size_t line = (size_t)p->line;

        if (!p->file || strcmp(p->file, ENVIRONMENT_FILE) != 0 || line == 0)
            continue;
        const char *variable = line <= e->n ? e->variables[line - 1] : NULL;

        p->line = p->column = 0;
        set_string(&p->source, NULL);
        if (!variable)
            continue;
        const char *value = value_of(variable);

        set_string(&p->message, xasprintf(PREFIX "%s: %s", variable, p->message));
        if (value)
            p->source = xasprintf(PREFIX "%s=%s", variable, value);
    }
}

void environment_free(struct environment *e)
{
    buf_done(&e->text);
    free(e);
}
