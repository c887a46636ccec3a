/* `prove`: where a server shows what it serves. */
#include <string.h>

#include "agent/config_private.h"
#include "pki/endpoint.h"
#include "pki/name.h"
#include "pki/starttls.h"

#define KIND_PROVE "a list of endpoints [{connect: \"host:port\"}], or off"

static void parse_connect(const struct field_in *in)
{
    const char *text = schema_text(in, in->field->kind);
    struct endpoint endpoint = {0};
    auto_err struct err *e = NULL;

    if (!text)
        return;
    if (endpoint_parse(text, &endpoint, &e))
        *(char **)in->to = xstrdup(text);
    else
        config_add_error(in->problems, in->node, in->path, e);
    endpoint_done(&endpoint);
}

/* What a TLS client may send (RFC 6066 3): a DNS name. Unlike names in certificates it may have one
 * label, as containers have. */
static char *sni_canonical(const char *text, struct err **err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

    if (text[strspn(text, plain)] == '\0' && strlen(text) < 64)
        return xstrdup(text);
    char *name = name_canonical(text, err);

    if (name && (name_type(name) == NAME_IP || name_is_wildcard(name))) {
        err_set(err, ERR_CONFIG, "\"%s\" cannot be sent as SNI: it is %s", text,
                name_is_wildcard(name) ? "a wildcard" : "an address");
        free(name);
        return NULL;
    }
    return name;
}

static void parse_sni(const struct field_in *in)
{
    struct strv *sni = in->to;

    schema_texts(in, in->field->kind, sni);
    for (size_t i = 0; i < sni->n; i++) {
        auto_err struct err *e = NULL;
        char *name = sni_canonical(sni->items[i], &e);

        if (name)
            set_string(&sni->items[i], name);
        else
            config_add_error(in->problems, in->node, in->path, e);
    }
}

static void done_texts(void *member)
{
    strv_done(member);
}

static void parse_staple(const struct field_in *in)
{
    const char *text = schema_text(in, in->field->kind);

    if (!text)
        return;
    if (strcmp(text, "auto") != 0 && strcmp(text, "off") != 0)
        yaml_problem(in->problems, false, in->node, in->path, NULL, "expected %s, this is \"%s\"",
                     in->field->kind, text);
    *(bool *)in->to = strcmp(text, "off") == 0;
}

static void parse_addresses(const struct field_in *in)
{
    static const char *const names[] = {"all", "any", NULL};
    const char *text = schema_text(in, in->field->kind);

    if (!text)
        return;
    if (strcmp(text, "all") != 0 && strcmp(text, "any") != 0)
        yaml_problem(in->problems, false, in->node, in->path, schema_nearest(text, names),
                     "expected %s, this is \"%s\"", in->field->kind, text);
    *(bool *)in->to = strcmp(text, "any") == 0;
}

static const struct field trust_fields[] = {
    {.name = "file", .type = FIELD_PATH, .offset = 0, .required = true},
    {0},
};

static void parse_trust(const struct field_in *in)
{
    struct config_endpoint *e = in->to;
    const char *text = yaml_scalar(in->node);

    if (yaml_node_type(in->node) == YAML_MAP) {
        if (schema_read(trust_fields, in->node, in->path, NULL, &e->trust_file, NULL, in->problems))
            config_check_ca_file(in->problems, yaml_get(in->node, "file"), in->path, e->trust_file);
    } else if (text && strcmp(text, "system") == 0) {
        e->trust_system = true;
    } else if (!text || strcmp(text, "off") != 0) {
        yaml_problem(in->problems, false, in->node, in->path, NULL, "expected %s", in->field->kind);
    }
}

static void done_trust(void *member)
{
    struct config_endpoint *e = member;

    set_string(&e->trust_file, NULL);
}

#define AT(member) .offset = offsetof(struct config_endpoint, member)
const struct field config_endpoint_fields[] = {
    {.name = "connect",
     .type = FIELD_CUSTOM,
     AT(connect),
     .required = true,
     .parse = parse_connect,
     .done = config_free_member,
     .kind = "\"host:port\", \"[v6]:port\" or \"unix:/path\"",
     .help = "where the server accepts TLS; a name means each of its addresses"},
    {.name = "certificates",
     .type = FIELD_STRINGS,
     AT(certificates),
     .help = "certificates served here; default: each that names this server"},
    {.name = "sni",
     .type = FIELD_CUSTOM,
     AT(sni),
     .parse = parse_sni,
     .done = done_texts,
     .kind = "a name or a list of names",
     .help = "names to ask for; default: the first DNS name of the certificate, for a wildcard "
             "`everleaf-probe.` and its base, none for addresses"},
    {.name = "starttls",
     .type = FIELD_CHOICE,
     AT(starttls),
     .choices = starttls_names,
     .preset = "off",
     .help = "what is spoken there before TLS begins; off: nothing, as on ports 443, 465, 993. "
             "The domain that `xmpp` asks for is the one of `sni`"},
    {.name = "matches",
     .type = FIELD_INT,
     AT(matches),
     .min = 1,
     .max = 100,
     .preset = "1",
     .help = "how often in a row the new certificate must be seen at each address"},
    {.name = "deadline",
     .type = FIELD_DURATION,
     AT(deadline_s),
     .min = 1,
     .max = 3600,
     .preset = "30s",
     .help = "how long the server may take after its reload"},
    {.name = "staple",
     .type = FIELD_CUSTOM,
     AT(staple_off),
     .parse = parse_staple,
     .preset = "auto",
     .kind = "auto or off",
     .help =
         "`auto`: a staple that is served must be ours, where we have one, or another good one"},
    {.name = "addresses",
     .type = FIELD_CUSTOM,
     AT(addresses_any),
     .parse = parse_addresses,
     .preset = "all",
     .kind = "all or any",
     .help = "`all` that answered before the change must show the new certificate, or `any`"},
    {.name = "trust",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .parse = parse_trust,
     .done = done_trust,
     .preset = "off",
     .kind = "off, system or {file: PATH}",
     .help = "`off`: the right certificate is proof enough; else its chain must be valid, too"},
    {0},
};

static void add_endpoint(const struct field_in *in, const struct yaml_node *node,
                         struct config_server *s)
{
    auto_free char *path = xasprintf("%s[%zu]", in->path, s->n_prove);
    struct config_endpoint *e = &s->prove[s->n_prove++];

    *e = (struct config_endpoint){.where = yaml_where(node)};
    schema_read(config_endpoint_fields, node, path, NULL, e, in->userdata, in->problems);
}

void config_parse_prove(const struct field_in *in)
{
    struct config_server *s = in->to;
    const char *text = yaml_scalar(in->node);

    if (text && strcmp(text, "off") == 0) {
        s->prove_off = true;
        return;
    }
    if (yaml_node_type(in->node) != YAML_LIST || yaml_count(in->node) == 0) {
        yaml_problem(in->problems, false, in->node, in->path, NULL, "expected " KIND_PROVE);
        return;
    }
    s->prove = xcalloc(yaml_count(in->node), sizeof(*s->prove));
    for (size_t i = 0; i < yaml_count(in->node); i++)
        add_endpoint(in, yaml_item(in->node, i), s);
}

void config_imply_endpoint(struct config_server *s)
{
    const char *connect = s->server.type->default_prove;
    const char *starttls = s->server.type->default_starttls;
    enum starttls protocol = STARTTLS_OFF;

    if (!connect)
        return;
    if (starttls)
        starttls_parse(starttls, &protocol);
    s->prove = xcalloc(1, sizeof(*s->prove));
    s->n_prove = 1;
    s->prove_default = true;
    s->prove[0] = (struct config_endpoint){
        .connect = xstrdup(connect), .starttls = (int)protocol, .matches = 1, .deadline_s = 30};
}

void config_endpoints_done(struct config_server *s)
{
    for (size_t i = 0; i < s->n_prove; i++) {
        schema_done(config_endpoint_fields, &s->prove[i]);
        free(s->prove[i].where);
    }
    free(s->prove);
    s->prove = NULL;
    s->n_prove = 0;
}

static void check_certificate(struct reader *r, const struct config_server *s, const char *name,
                              const struct yaml_node *at, const char *path)
{
    const struct entry *e = map_get(r->sections[SECTION_CERTIFICATES], name);

    if (!e && r->incomplete)
        return;
    if (!e) {
        auto_free char *nearest = reader_nearest(r, SECTION_CERTIFICATES, NULL, name);

        yaml_problem(r->problems, false, at, path, nearest, "there is no certificate \"%s\"", name);
        return;
    }
    const struct config_certificate *c = e->made;

    for (size_t i = 0; c && i < c->n_servers; i++) {
        if (c->servers[i] == s)
            return;
    }
    if (c)
        yaml_problem(r->problems, true, at, path, NULL,
                     "certificate \"%s\" does not name the server \"%s\": it is never looked for "
                     "here",
                     name, s->server.name);
}

static void check_certificates(struct reader *r, const struct config_server *s, size_t endpoint,
                               const struct yaml_node *names)
{
    auto_free char *path =
        xasprintf("servers.%s.prove[%zu].certificates", s->server.name, endpoint);
    bool list = names && yaml_node_type(names) == YAML_LIST;

    for (size_t i = 0; names && i < (list ? yaml_count(names) : 1); i++) {
        const struct yaml_node *at = list ? yaml_item(names, i) : names;

        if (yaml_scalar(at) && *yaml_scalar(at))
            check_certificate(r, s, yaml_scalar(at), at, path);
    }
}

/* Certificates are read after the servers that they name, and endpoints name certificates. */
void config_check_endpoints(struct reader *r)
{
    const struct map *section = r->sections[SECTION_SERVERS];

    for (const struct map_entry *m = map_first(section); m; m = map_next(m)) {
        const struct entry *e = map_entry_value(m);
        const struct config_server *s = e->made;
        const struct yaml_node *prove = yaml_get(e->value, "prove");

        for (size_t p = 0; s && !s->prove_default && p < s->n_prove; p++)
            check_certificates(r, s, p, yaml_get(yaml_item(prove, p), "certificates"));
    }
}
