/* The whole configuration as structs (product.md section 4). A loaded configuration is immutable
 * and reference-counted: orders under way keep the one they began with. */
#pragma once

#include <stdbool.h>

#include "acme/challenge.h"
#include "agent/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/yaml.h"
#include "hooks/server.h"
#include "pki/key.h"
#include "store/output.h"

struct config_issuer {
    char *name, *where;
    char *directory;     /* URL; short names are resolved */
    struct strv contact; /* with mailto: */
    bool terms_agreed;
    char *profile; /* or NULL */
    bool profile_required;
    char *preferred_chain;   /* or NULL */
    char *ca_file;           /* or NULL */
    char *proxy;             /* URL, "off", or NULL: as the environment says */
    char *eab_kid;           /* or NULL */
    struct secret *eab_hmac; /* decoded from base64url (or base64) or NULL */
    struct limits_config limits;
};

/* `prove` of a server: one endpoint. */
struct config_endpoint {
    char *connect, *where;
    struct strv certificates; /* empty: every certificate that names the server */
    struct strv sni;          /* empty: default rule */
    int starttls;             /* enum starttls */
    int64_t matches;          /* >= 1 */
    int64_t deadline_s;       /* 30 */
    bool addresses_any;       /* addresses: any */
    bool staple_off;          /* staple: off */
    bool trust_system;        /* trust: system */
    char *trust_file;         /* trust: {file: ...} or NULL */
};

struct config_server {
    struct server server;
    bool prove_off;
    bool prove_default; /* nobody wrote `prove`: the type's default endpoint */
    struct config_endpoint *prove;
    size_t n_prove;
};

struct config_certificate {
    char *name, *where;
    struct strv names;            /* canonical, in the order written, unique */
    struct config_issuer *issuer; /* borrowed from the config */
    struct solver *solver;        /* borrowed; not opened yet */
    enum key_type key_type;
    bool key_reuse;
    bool renew_explicit;    /* renew.before was written */
    double renew_share;     /* share of the lifetime, or 0 */
    int64_t renew_before_s; /* or a duration, or 0 */
    bool must_staple;
    bool ocsp_enabled;
    int ocsp_hash;        /* enum ocsp_hash */
    char *ocsp_responder; /* or NULL: those of the certificate */
    struct output *outputs;
    size_t n_outputs;
    struct config_server **servers; /* borrowed */
    size_t n_servers;
};

/* `agent.alerts`: neither url nor command: off. */
struct config_alerts {
    struct secret *url;    /* of a webhook, or NULL */
    struct secret *bearer; /* or NULL */
    struct strv command;
    int64_t repeat_s, timeout_s;
};

struct config {
    unsigned refs;
    char *file; /* "environment" when it came from EVERLEAF_* */
    char *state_dir, *control;
    struct strv listen;      /* empty: off */
    struct strv ocsp_listen; /* empty: off */
    char *metrics_file;      /* or NULL */
    struct config_alerts alerts;
    enum log_level log_level;
    enum log_format log_format;
    int64_t concurrency, http_timeout_s;
    struct config_issuer **issuers;
    size_t n_issuers;
    struct solver **solvers;
    size_t n_solvers;
    struct config_server **servers; /* implicit ones included */
    size_t n_servers;
    struct config_certificate **certificates;
    size_t n_certificates;
    struct map *by_name; /* certificates; may be NULL in tests */
};

/* Loads file and includes, checks everything without network. NULL when there was an error;
 * warnings may be there with a good configuration. */
NODISCARD struct config *config_load(const char *file, struct problems *problems);
/* One certificate from EVERLEAF_NAMES and friends (product.md section 4, end). */
NODISCARD struct config *config_from_environment(struct problems *problems);
/* -c FILE, else $EVERLEAF_CONFIG, else /etc/everleaf/everleaf.yaml, else the environment when
 * EVERLEAF_NAMES is set. Caller frees; NULL means "environment". */
char *config_path(const char *option);

struct config *config_ref(struct config *c);
void config_unref(struct config *c);
struct config_certificate *config_find(const struct config *c, const char *certificate);
/* SNI list of an endpoint for a certificate: configured or the default rule (first DNS name;
 * wildcard: "everleaf-probe." + base; none for IP only: one empty string). */
void config_endpoint_sni(const struct config_endpoint *e, const struct config_certificate *c,
                         struct strv *ret);
/* Reference text of all field tables, for the manual (markdown). Caller frees. */
char *config_reference(void);
