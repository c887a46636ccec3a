#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>

#include "acme/url.h"
#include "agent/config_private.h"
#include "base/enc.h"
#include "base/file.h"
#include "base/http_proxy.h"

#define CA_FILE_MAX (4 * 1024 * 1024)

/* Names for directories that people would have to look up. */
static const struct {
    const char *name, *url;
} directories[] = {
    {"letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"},
    {"letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"},
    {"google", "https://dv.acme-v02.api.pki.goog/directory"},
    {"google-staging", "https://dv.acme-v02.test-api.pki.goog/directory"},
    {"zerossl", "https://acme.zerossl.com/v2/DV90"},
    {"sslcom", "https://acme.ssl.com/sslcom-dv-ecc"}, /* our keys are ECDSA unless asked for */
    {"sslcom-rsa", "https://acme.ssl.com/sslcom-dv-rsa"},
};

static const char *find_directory(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
        if (strcmp(directories[i].name, name) == 0)
            return directories[i].url;
    }
    return NULL;
}

static const char *nearest_directory(const char *name)
{
    const char *names[ARRAY_LEN(directories) + 1] = {0};

    for (size_t i = 0; i < ARRAY_LEN(directories); i++)
        names[i] = directories[i].name;
    return schema_nearest(name, names);
}

static void parse_directory(const struct field_in *in)
{
    const char *text = schema_text(in, in->field->kind);
    auto_err struct err *e = NULL;

    if (!text)
        return;
    if (find_directory(text)) {
        *(char **)in->to = xstrdup(find_directory(text));
    } else if (!strstr(text, "://")) {
        yaml_problem(in->problems, false, in->node, in->path, nearest_directory(text),
                     "\"%s\" is neither an https URL nor a short name such as letsencrypt", text);
    } else if (strncasecmp(text, "https://", 8) != 0) {
        yaml_problem(
            in->problems, false, in->node, in->path, NULL,
            "a directory must be an https URL: over anything else nobody knows who answers");
    } else if (!url_check(text, "directory", &e)) {
        config_add_error(in->problems, in->node, in->path, e);
    } else {
        *(char **)in->to = xstrdup(text);
    }
}

/* RFC 8555 7.3: one address in each mailto URL, without header fields. */
static bool is_address(const char *text)
{
    const char *at = strchr(text, '@');

    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr(",;<>\"?", *c))
            return false;
    }
    return at && at != text && at[1] && at[1] != '.' && !strchr(at + 1, '@');
}

static void add_contact(const struct field_in *in, const struct yaml_node *at)
{
    const char *text = yaml_scalar(at);
    const char *address = text && strncasecmp(text, "mailto:", 7) == 0 ? text + 7 : text;

    if (!address || !is_address(address))
        yaml_problem(in->problems, false, at, in->path, NULL,
                     "expected an e-mail address such as ops@example.org");
    else
        strv_addf(in->to, "mailto:%s", address);
}

static void parse_contact(const struct field_in *in)
{
    if (yaml_node_type(in->node) != YAML_LIST) {
        add_contact(in, in->node);
        return;
    }
    for (size_t i = 0; i < yaml_count(in->node); i++)
        add_contact(in, yaml_item(in->node, i));
}

static void done_contact(void *member)
{
    strv_done(member);
}

struct eab {
    char *kid;
    struct secret *hmac;
};

const struct field config_eab_fields[] = {
    {.name = "kid",
     .type = FIELD_STRING,
     .offset = offsetof(struct eab, kid),
     .required = true,
     .help = "key identifier from the CA"},
    {.name = "hmac",
     .type = FIELD_SECRET,
     .offset = offsetof(struct eab, hmac),
     .required = true,
     .help = "MAC key from the CA, base64url or base64"},
    {0},
};

static void parse_eab(const struct field_in *in)
{
    struct config_issuer *issuer = in->to;
    struct eab eab = {0};

    if (schema_read(config_eab_fields, in->node, in->path, NULL, &eab, NULL, in->problems)) {
        unsigned char *key = NULL;
        size_t len = 0;

        if (eab.hmac->len == 0) { /* a credential that only the service sees */
            issuer->eab_kid = take(eab.kid);
        } else if (dec_base64_any((const char *)eab.hmac->data, &key, &len) && len > 0) {
            issuer->eab_hmac = secret_new(key, len);
            issuer->eab_kid = take(eab.kid);
        } else {
            yaml_problem(in->problems, false, yaml_get(in->node, "hmac"), in->path, NULL,
                         "the MAC key is not base64url (nor base64)");
        }
        if (key)
            explicit_bzero(key, len);
        free(key);
    }
    schema_done(config_eab_fields, &eab);
}

static void parse_rate(const struct field_in *in)
{
    const char *text = schema_text(in, in->field->kind);

    if (text && !rate_parse(text, in->to))
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "\"%s\" is no rate: expected a number and a period such as 300/3h", text);
}

#define LIMIT(member) .offset = offsetof(struct limits_config, member)
const struct field config_limits_fields[] = {
    {.name = "orders",
     .type = FIELD_CUSTOM,
     LIMIT(orders),
     .parse = parse_rate,
     .kind = "a rate such as 300/3h",
     .help = "new orders per account; default: what is known of the CA"},
    {.name = "requests",
     .type = FIELD_CUSTOM,
     LIMIT(requests),
     .parse = parse_rate,
     .kind = "a rate such as 20/s",
     .help = "requests of any kind, beside what is known of the CA"},
    {.name = "certificates",
     .type = FIELD_CUSTOM,
     LIMIT(certificates),
     .parse = parse_rate,
     .kind = "a rate such as 50/7d",
     .help = "certificates per registered domain; default: what is known of the CA"},
    {0},
};

static void parse_limits(const struct field_in *in)
{
    (void)schema_read(config_limits_fields, in->node, in->path, NULL, in->to, NULL, in->problems);
}

static void done_eab(void *member)
{
    struct config_issuer *issuer = member;

    set_string(&issuer->eab_kid, NULL);
    secret_free(issuer->eab_hmac);
    issuer->eab_hmac = NULL;
}

#define AT(member) .offset = offsetof(struct config_issuer, member)
const struct field config_issuer_fields[] = {
    {.name = "directory",
     .type = FIELD_CUSTOM,
     AT(directory),
     .parse = parse_directory,
     .done = config_free_member,
     .kind = "an https URL, or letsencrypt, letsencrypt-staging, google, google-staging, zerossl, "
             "sslcom, sslcom-rsa",
     .help = "the CA's ACME directory; default: the name of the issuer, when it is a short name"},
    {.name = "contact",
     .type = FIELD_CUSTOM,
     AT(contact),
     .parse = parse_contact,
     .done = done_contact,
     .kind = "an e-mail address or a list of them",
     .help = "where the CA can reach you"},
    {.name = "terms_agreed",
     .type = FIELD_BOOL,
     AT(terms_agreed),
     .preset = "false",
     .help = "you agree to the CA's terms of service"},
    {.name = "profile",
     .type = FIELD_STRING,
     AT(profile),
     .help = "certificate profile, used when the CA offers it"},
    {.name = "profile_required",
     .type = FIELD_BOOL,
     AT(profile_required),
     .preset = "false",
     .help = "no certificate rather than one of another profile"},
    {.name = "preferred_chain",
     .type = FIELD_STRING,
     AT(preferred_chain),
     .help = "name of an issuer in the chain, or its SHA-256, when the CA offers several chains"},
    {.name = "ca_file",
     .type = FIELD_PATH,
     AT(ca_file),
     .help = "certificates (PEM) to trust for this directory instead of the system's"},
    {.name = "proxy",
     .type = FIELD_STRING,
     AT(proxy),
     .help = "URL of the proxy to this directory, or `off`, whatever https_proxy and no_proxy say"},
    {.name = "eab",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .parse = parse_eab,
     .done = done_eab,
     .kind = "a map {kid: ..., hmac: ...}",
     .help = "external account binding: credentials that the CA gave you"},
    {.name = "limits",
     .type = FIELD_CUSTOM,
     AT(limits),
     .parse = parse_limits,
     .kind = "a map {orders: ..., requests: ..., certificates: ...}",
     .help = "what the CA allows; the agent stops before the CA does"},
    {0},
};

void config_issuer_free(struct config_issuer *i)
{
    if (!i)
        return;
    schema_done(config_issuer_fields, i);
    free(i->name);
    free(i->where);
    free(i);
}

void config_check_ca_file(struct problems *p, const struct yaml_node *at, const char *path,
                          const char *file)
{
    auto_buf struct buf pem;
    auto_err struct err *e = NULL;

    buf_init(&pem, CA_FILE_MAX);
    if (!file_read(AT_FDCWD, file, CA_FILE_MAX, true, &pem, &e))
        config_add_error(p, at, path, e);
    else if (!strstr(pem.data, "-----BEGIN CERTIFICATE-----") &&
             !strstr(pem.data, "-----BEGIN TRUSTED CERTIFICATE-----"))
        yaml_problem(p, false, at, path, NULL, "there is no certificate (PEM) in %s", file);
}

/* What concerns more than one key. */
static void check_issuer(struct reader *r, struct config_issuer *issuer,
                         const struct yaml_node *map, const char *path)
{
    auto_free char *directory = schema_path(path, "directory");
    auto_free char *profile = schema_path(path, "profile_required");
    auto_free char *ca_file = schema_path(path, "ca_file");
    auto_free char *proxy = schema_path(path, "proxy");
    auto_err struct err *bad_proxy = NULL;

    if (!issuer->directory && !yaml_get(map, "directory")) {
        issuer->directory = xstrdup(find_directory(issuer->name));
        if (!issuer->directory)
            yaml_problem(r->problems, false, map, directory, nearest_directory(issuer->name),
                         "\"directory\" is missing here, and \"%s\" is no short name of a CA",
                         issuer->name);
    }
    if (issuer->profile_required && !issuer->profile)
        yaml_problem(r->problems, false, yaml_get(map, "profile_required"), profile, NULL,
                     "\"profile_required\" needs \"profile\"");
    if (issuer->ca_file)
        config_check_ca_file(r->problems, yaml_get(map, "ca_file"), ca_file, issuer->ca_file);
    if (issuer->proxy && !http_proxy_check(issuer->proxy, &bad_proxy)) /* may hold a password */
        yaml_problem_hidden(r->problems, yaml_get(map, "proxy"), proxy, "%s: %s", bad_proxy->text,
                            bad_proxy->hint);
}

void config_read_issuers(struct reader *r)
{
    const struct map *section = r->sections[SECTION_ISSUERS];
    struct config *c = r->config;

    c->issuers = xcalloc(map_count(section) + 1, sizeof(struct config_issuer *));
    for (const struct map_entry *m = map_first(section); m; m = map_next(m)) {
        struct entry *e = map_entry_value(m);
        struct config_issuer *issuer = xcalloc(1, sizeof(*issuer));
        auto_free char *path = schema_path("issuers", map_entry_key(m));

        c->issuers[c->n_issuers++] = e->made = issuer;
        issuer->name = xstrdup(map_entry_key(m));
        issuer->where = yaml_where(e->key);
        reader_check_name(r, SECTION_ISSUERS, e);
        schema_read(config_issuer_fields, e->value, path, NULL, issuer, r, r->problems);
        if (yaml_node_type(e->value) == YAML_MAP || yaml_node_type(e->value) == YAML_NULL)
            check_issuer(r, issuer, e->value, path);
    }
}
