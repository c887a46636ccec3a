#include <errno.h>
#include <string.h>

#include "agent/config_private.h"
#include "pki/name.h"
#include "pki/ocsp_request.h"

#define NAMES_MAX   1000 /* no CA takes as many */
#define SERVERS_MAX 1000

/* Names ---------------------------------------------------------------------------------------- */

static void add_name(const struct field_in *in, const struct yaml_node *at, struct map *seen)
{
    struct config_certificate *c = in->to;
    const char *text = yaml_scalar(at);
    auto_err struct err *e = NULL;

    if (!text || !*text) {
        yaml_problem(in->problems, false, at, in->path, NULL, "expected a name, this is %s",
                     text ? "an empty text" : yaml_type_text(at));
        return;
    }
    auto_free char *name = name_canonical(text, &e);

    if (!name) {
        config_add_error(in->problems, at, in->path, e);
        return;
    }
    if (map_set(seen, name, c)) {
        yaml_problem(in->problems, false, at, in->path, NULL, "the name %s is there twice", name);
        return;
    }
    strv_add_owned(&c->names, take(name));
}

static void parse_names(const struct field_in *in)
{
    bool list = yaml_node_type(in->node) == YAML_LIST;
    size_t n = list ? yaml_count(in->node) : 1;

    if (n == 0 || n > NAMES_MAX) {
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "a certificate has 1 to %d names, this one has %zu", NAMES_MAX, n);
        return;
    }
    struct map *seen = map_new();

    for (size_t i = 0; i < n; i++)
        add_name(in, list ? yaml_item(in->node, i) : in->node, seen);
    map_free(seen, NULL);
}

static void done_names(void *member)
{
    struct config_certificate *c = member;

    strv_done(&c->names);
}

/* Small maps ----------------------------------------------------------------------------------- */

struct key_settings {
    int type;
    bool reuse;
};

const struct field config_key_fields[] = {
    {.name = "type",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct key_settings, type),
     .choices = key_type_names,
     .preset = "ecdsa-p256",
     .help = "type of the private key"},
    {.name = "reuse",
     .type = FIELD_BOOL,
     .offset = offsetof(struct key_settings, reuse),
     .preset = "false",
     .help = "keep the key at renewals"},
    {0},
};

static void parse_key(const struct field_in *in)
{
    struct config_certificate *c = in->to;
    struct key_settings key = {0};

    if (!schema_read(config_key_fields, in->node, in->path, NULL, &key, NULL, in->problems))
        return;
    c->key_type = (enum key_type)key.type;
    c->key_reuse = key.reuse;
}

static void parse_before(const struct field_in *in)
{
    struct config_certificate *c = in->to;
    const char *text = schema_text(in, in->field->kind), *slash = text ? strchr(text, '/') : NULL;
    static const char digits[] = "0123456789/";

    if (!text)
        return;
    c->renew_explicit = true;
    if (slash) {
        char *end;
        unsigned long part = strtoul(text, NULL, 10), whole = strtoul(slash + 1, &end, 10);

        if (text[strspn(text, digits)] || *end || slash == text || !slash[1] || part == 0 ||
            whole > 1000 || part >= whole)
            yaml_problem(in->problems, false, in->node, in->path, NULL,
                         "expected a share of the lifetime between 0 and 1, such as 1/3");
        else
            c->renew_share = (double)part / (double)whole;
        return;
    }
    const struct field duration = {
        .name = "before", .type = FIELD_DURATION, .min = 60, .max = INT64_C(398) * 86400};
    struct field_in seconds = *in;

    seconds.field = &duration;
    seconds.to = &c->renew_before_s;
    schema_value(&seconds);
}

const struct field config_renew_fields[] = {
    {.name = "before",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .parse = parse_before,
     .kind = "a share of the lifetime such as 1/3, or a duration such as 30d",
     .help = "how long before its end a certificate is renewed at the latest; default 1/3, and 1/2 "
             "for lifetimes under 10 days, which this can only make earlier"},
    {0},
};

static const char *const ocsp_hashes[] = {
    [OCSP_HASH_SHA1] = "sha1", [OCSP_HASH_SHA256] = "sha256", NULL};

static void parse_responder(const struct field_in *in)
{
    char **to = in->to;
    const char *url = schema_text(in, in->field->kind);

    if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        yaml_problem(in->problems, false, in->node, in->path, NULL,
                     "expected the http URL of an OCSP responder");
    else
        *to = xstrdup(url);
}

static void done_text(void *member)
{
    free(take(*(char **)member));
}

const struct field config_ocsp_fields[] = {
    {.name = "enabled",
     .type = FIELD_BOOL,
     .offset = offsetof(struct config_certificate, ocsp_enabled),
     .preset = "true",
     .help = "fetch staples when the certificate names an OCSP responder"},
    {.name = "hash",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct config_certificate, ocsp_hash),
     .choices = ocsp_hashes,
     .preset = "sha1",
     .help = "digest by which the certificate is asked for; nearly every responder and server "
             "knows SHA-1 only"},
    {.name = "responder",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct config_certificate, ocsp_responder),
     .parse = parse_responder,
     .done = done_text,
     .kind = "the http URL of an OCSP responder",
     .help = "asked instead of those that the certificate names"},
    {.name = "must_staple",
     .type = FIELD_BOOL,
     .offset = offsetof(struct config_certificate, must_staple),
     .preset = "false",
     .help = "ask for a certificate that clients accept only with a staple (RFC 7633)"},
    {0},
};

static void parse_map(const struct field_in *in, const struct field *fields)
{
    schema_read(fields, in->node, in->path, NULL, in->to, in->userdata, in->problems);
}

static void parse_renew(const struct field_in *in)
{
    parse_map(in, config_renew_fields);
}

static void parse_ocsp(const struct field_in *in)
{
    parse_map(in, config_ocsp_fields);
}

static void done_ocsp(void *member)
{
    schema_done(config_ocsp_fields, member);
}

/* References ----------------------------------------------------------------------------------- */

static void parse_issuer(const struct field_in *in)
{
    struct config_certificate *c = in->to;
    struct reader *r = in->userdata;
    const char *name = schema_text(in, in->field->kind);
    const struct entry *e = name ? map_get(r->sections[SECTION_ISSUERS], name) : NULL;

    if (e)
        c->issuer = e->made;
    if (e || !name || r->incomplete)
        return;
    auto_free char *nearest = reader_nearest(r, SECTION_ISSUERS, NULL, name);

    yaml_problem(in->problems, false, in->node, in->path, nearest, "there is no issuer \"%s\"",
                 name);
}

static void parse_challenge(const struct field_in *in)
{
    struct config_certificate *c = in->to;
    struct reader *r = in->userdata;
    const char *name = schema_text(in, in->field->kind);
    const struct entry *e = name ? map_get(r->sections[SECTION_CHALLENGES], name) : NULL;

    if (e)
        c->solver = e->made;
    if (e || !name || r->incomplete)
        return;
    auto_free char *nearest = reader_nearest(r, SECTION_CHALLENGES, NULL, name);

    yaml_problem(in->problems, false, in->node, in->path, nearest, "there is no challenge \"%s\"",
                 name);
}

static void add_server(const struct field_in *in, const struct yaml_node *at)
{
    struct config_certificate *c = in->to;
    const char *name = yaml_scalar(at);

    if (!name || !*name) {
        yaml_problem(in->problems, false, at, in->path, NULL,
                     "expected the name of a server, this is %s",
                     name ? "an empty text" : yaml_type_text(at));
        return;
    }
    struct config_server *s = config_find_server(in->userdata, name, at, in->path);

    for (size_t i = 0; s && i < c->n_servers; i++) {
        if (c->servers[i] == s) {
            yaml_problem(in->problems, false, at, in->path, NULL, "\"%s\" is there twice", name);
            return;
        }
    }
    if (s)
        c->servers[c->n_servers++] = s;
}

static void parse_servers(const struct field_in *in)
{
    struct config_certificate *c = in->to;
    bool list = yaml_node_type(in->node) == YAML_LIST;
    size_t n = list ? yaml_count(in->node) : 1;

    if (n > SERVERS_MAX) {
        yaml_problem(in->problems, false, in->node, in->path, NULL, "more than %d servers",
                     SERVERS_MAX);
        return;
    }
    c->servers = n > 0 ? xcalloc(n, sizeof(struct config_server *)) : NULL;
    for (size_t i = 0; i < n; i++)
        add_server(in, list ? yaml_item(in->node, i) : in->node);
}

static void done_servers(void *member)
{
    struct config_certificate *c = member;

    free(take(c->servers));
    c->n_servers = 0;
}

/* Certificates --------------------------------------------------------------------------------- */

const struct field config_certificate_fields[] = {
    {.name = "names",
     .type = FIELD_CUSTOM,
     .required = true,
     .parse = parse_names,
     .done = done_names,
     .kind = "a list of DNS names, wildcards (in quotes) and IP addresses",
     .help = "what the certificate is for; order and case do not count"},
    {.name = "issuer",
     .type = FIELD_CUSTOM,
     .parse = parse_issuer,
     .kind = "the name of an issuer",
     .help = "default: the only one"},
    {.name = "challenge",
     .type = FIELD_CUSTOM,
     .parse = parse_challenge,
     .kind = "the name of a challenge",
     .help = "default: the only one, else http-01 on port 80"},
    {.name = "key",
     .type = FIELD_CUSTOM,
     .parse = parse_key,
     .kind = "a map {type: ..., reuse: ...}",
     .help = "the private key"},
    {.name = "renew",
     .type = FIELD_CUSTOM,
     .parse = parse_renew,
     .kind = "a map {before: ...}",
     .help = "when it is renewed"},
    {.name = "ocsp",
     .type = FIELD_CUSTOM,
     .parse = parse_ocsp,
     .done = done_ocsp,
     .kind = "a map {enabled: ..., hash: ..., must_staple: ..., responder: ...}",
     .help = "stapling"},
    {.name = "outputs",
     .type = FIELD_CUSTOM,
     .parse = config_parse_outputs,
     .done = config_outputs_done,
     .kind = "a list of outputs",
     .help = "where it is written; the servers can also use `STATE_DIR/live/NAME`"},
    {.name = "servers",
     .type = FIELD_CUSTOM,
     .parse = parse_servers,
     .done = done_servers,
     .kind = "a list of names of servers",
     .help = "who serves it: checked, reloaded and probed"},
    {0},
};

void config_certificate_free(struct config_certificate *c)
{
    if (!c)
        return;
    schema_done(config_certificate_fields, c);
    free(c->name);
    free(c->where);
    free(c);
}

static void choose_issuer(struct reader *r, struct config_certificate *c,
                          const struct yaml_node *at, const char *path)
{
    if (r->config->n_issuers == 1) {
        c->issuer = r->config->issuers[0];
        return;
    }
    if (r->incomplete)
        return;
    if (r->config->n_issuers > 1)
        yaml_problem(r->problems, false, at, path, NULL,
                     "\"issuer\" is missing here: there are %zu to choose from",
                     r->config->n_issuers);
    else if (!r->reported_no_issuer)
        yaml_problem(r->problems, false, at, path, NULL,
                     "there is no section `issuers`: nobody to get a certificate from");
    r->reported_no_issuer = true;
}

static void choose_solver(struct reader *r, struct config_certificate *c)
{
    const struct map *section = r->sections[SECTION_CHALLENGES];

    if (map_count(section) == 1)
        c->solver = ((struct entry *)map_entry_value(map_first(section)))->made;
    else
        c->solver = config_implied_solver(r);
}

/* Names that the challenge cannot prove. */
static void check_names(struct reader *r, const struct config_certificate *c,
                        const struct yaml_node *at, const char *path)
{
    for (size_t i = 0; c->solver && i < c->names.n; i++) {
        const char *name = c->names.items[i];
        bool wildcard = name_is_wildcard(name), address = name_type(name) == NAME_IP;

        if ((!wildcard || c->solver->type->wildcards) && (!address || c->solver->type->addresses))
            continue;
        yaml_problem(r->problems, false, at, path, NULL,
                     "%s is %s, which challenge \"%s\" (%s) cannot prove%s", name,
                     wildcard ? "a wildcard" : "an address", c->solver->name, c->solver->type->acme,
                     wildcard ? ": CAs take DNS challenges only" : "");
    }
}

static void read_certificate(struct reader *r, struct entry *e, const char *name)
{
    struct config_certificate *c = e->made;
    auto_free char *path = schema_path("certificates", name);
    auto_free char *names_path = schema_path(path, "names");
    const struct yaml_node *names = yaml_get(e->value, "names");

    reader_check_name(r, SECTION_CERTIFICATES, e);
    schema_read(config_certificate_fields, e->value, path, NULL, c, r, r->problems);
    if (!yaml_get(e->value, "issuer"))
        choose_issuer(r, c, e->key, path);
    if (!yaml_get(e->value, "challenge"))
        choose_solver(r, c);
    check_names(r, c, names ? names : e->key, names_path);
}

void config_read_certificates(struct reader *r)
{
    const struct map *section = r->sections[SECTION_CERTIFICATES];
    struct config *c = r->config;

    c->certificates = xcalloc(map_count(section) + 1, sizeof(struct config_certificate *));
    c->by_name = map_new();
    for (const struct map_entry *m = map_first(section); m; m = map_next(m)) {
        struct entry *e = map_entry_value(m);
        struct config_certificate *certificate = xcalloc(1, sizeof(*certificate));

        certificate->ocsp_enabled = true;

        c->certificates[c->n_certificates++] = e->made = certificate;
        certificate->name = xstrdup(map_entry_key(m));
        certificate->where = yaml_where(e->key);
        map_set(c->by_name, certificate->name, certificate);
        read_certificate(r, e, certificate->name);
    }
}
