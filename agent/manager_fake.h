/* A manager for tests: certificates are the views a test gives them, nothing happens. Takes the
 * place of manager.o and managed.o when the program is linked. */
#pragma once

#include "agent/manager.h"
#include "agent/metrics.h"
#include "base/clock.h"
#include "pki/test_ca.h"

struct managed {
    struct managed_view view;
    struct config_certificate config;
    struct schedule schedule;
    struct deploy_record record;
    struct generation_facts live;
    struct config_server *servers[4];
};

struct manager {
    struct config config;
    struct config_issuer issuer;
    struct config_issuer *issuers[1];
    struct services services;
    struct err *reload_error;
    struct limits *limits; /* of every directory; borrowed, or NULL */
    struct managed *certificates;
    size_t n;
};

const struct err *manager_reload_error(const struct manager *m)
{
    return m->reload_error;
}

const struct config *manager_config(const struct manager *m)
{
    return &m->config;
}

const struct services *manager_services(const struct manager *m)
{
    return &m->services;
}

bool manager_is_read_only(const struct manager *m)
{
    (void)m;
    return false;
}

time_t manager_since(const struct manager *m)
{
    (void)m;
    return 1700000000;
}

size_t manager_count(const struct manager *m)
{
    return m->n;
}

struct managed *manager_at(const struct manager *m, size_t i)
{
    return &m->certificates[i];
}

struct managed *manager_find(const struct manager *m, const char *certificate)
{
    for (size_t i = 0; i < m->n; i++) {
        if (strcmp(m->certificates[i].view.name, certificate) == 0)
            return &m->certificates[i];
    }
    return NULL;
}

struct config *manager_config_ref(const struct manager *m)
{
    struct config *c = (struct config *)(uintptr_t)&m->config;

    c->refs++; /* not by config_ref(): tests have a config.o of their own, or none */
    return c;
}

struct issuer *manager_use_issuer(struct manager *m, const struct config_issuer *issuer,
                                  struct err **err)
{
    (void)m;
    err_set(err, ERR_SYSTEM, "issuer %s: no account here", issuer->name);
    return NULL;
}

struct issuer *manager_issuer(const struct manager *m, const char *name)
{
    (void)m;
    (void)name;
    return NULL;
}

struct limits *manager_limits(const struct manager *m, const char *directory)
{
    (void)directory;
    return m->limits;
}

const char *managed_name(const struct managed *m)
{
    return m->view.name;
}

void managed_view(const struct managed *m, struct managed_view *ret)
{
    static const struct staple_facts no_staple = {.status = OCSP_STATUS_TRY_LATER};

    *ret = m->view;
    if (!ret->staple)
        ret->staple = &no_staple;
    ret->config = &m->config;
    ret->schedule = &m->schedule;
    ret->record = &m->record;
    ret->live = m->live.number > 0 ? &m->live : NULL;
}

json_t *managed_cert_json(const struct generation_facts *f)
{
    if (!f)
        return json_null();
    json_t *j = json_object();

    json_put_str(j, "serial", f->serial);
    json_put_str(j, "sha256", f->sha256);
    json_put_str(j, "issuer_cn", f->issuer_cn);
    json_put_time(j, "not_before", f->not_before);
    json_put_time(j, "not_after", f->not_after);
    return j;
}

/* n certificates without a generation: "c0", "c1", ... of the issuer "ca". */
static inline void fake_manager_init(struct manager *m, size_t n)
{
    *m = (struct manager){0};
    m->issuer = (struct config_issuer){.name = xstrdup("ca"),
                                       .directory = xstrdup("https://ca.example/directory")};
    m->issuers[0] = &m->issuer;
    m->config.refs = 1; /* ours: it is never freed by others */
    m->config.file = xstrdup("/etc/everleaf/everleaf.yaml");
    m->config.issuers = m->issuers;
    m->config.n_issuers = 1;
    m->services.metrics = metrics_new();
    m->certificates = xcalloc(n + 1, sizeof *m->certificates);
    m->config.certificates = xcalloc(n + 1, sizeof(struct config_certificate *));
    m->config.n_certificates = m->n = n;
    for (size_t i = 0; i < n; i++) {
        struct managed *c = &m->certificates[i];
        m->config.certificates[i] = &c->config;
        c->config.name = xasprintf("c%zu", i);
        c->config.issuer = &m->issuer;
        c->config.servers = c->servers;
        strv_addf(&c->config.names, "c%zu.example.org", i);
        c->view = (struct managed_view){
            .name = c->config.name, .state = "missing", .reason = RENEW_MISSING, .exit_status = 3};
    }
}

/* Makes generation `number` with this chain live (borrowed: as long as the manager). */
static inline void fake_manager_live(struct managed *c, int64_t number, struct chain *chain)
{
    const struct cert *leaf = chain->items[0];

    c->live = (struct generation_facts){.number = number,
                                        .sha256 = leaf->sha256_hex,
                                        .serial = leaf->serial_hex,
                                        .issuer_cn = leaf->issuer_cn,
                                        .key_type = leaf->key_type_name,
                                        .not_before = leaf->not_before,
                                        .not_after = leaf->not_after};
    c->view.newest = number;
    c->view.state = "idle";
    c->view.reason = RENEW_NOT_DUE;
    c->view.exit_status = 0;
    c->view.renew_at = leaf->not_after - 30 * 86400;
}

static inline void fake_manager_done(struct manager *m)
{
    for (size_t i = 0; i < m->n; i++) {
        struct managed *c = &m->certificates[i];
        free(c->config.name);
        strv_done(&c->config.names);
        deploy_record_done(&c->record);
        schedule_done(&c->schedule);
    }
    free(m->certificates);
    free(m->config.certificates);
    metrics_free(m->services.metrics);
    err_free(m->reload_error);
    free(m->config.file);
    free(m->issuer.name);
    free(m->issuer.directory);
}
