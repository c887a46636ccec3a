#include "agent/manager.h"

#include <string.h>

#include "agent/crl_watch.h"
#include "agent/issuers.h"
#include "agent/metrics.h"
#include "agent/standby.h"
#include "agent/trace_export.h"
#include "agent/turnstile.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/map.h"

#define WORKER_THREADS  2
#define STAPLES_AT_ONCE 16
#define POLLS_AT_ONCE   8

struct manager {
    struct manager_settings settings;
    struct config *config; /* reference */
    struct services services;
    struct managed_host host;
    time_t since;
    bool started;
    struct err *reload_error;
    struct managed **items; /* in the configuration's order */
    size_t n_items;
    struct map *by_name;      /* the same */
    struct managed **leaving; /* not configured any more, but something was under way */
    size_t n_leaving;
    struct timer *sweep;
    struct issuers *issuers;
    struct standby *standby;
    struct map *rollouts; /* by server name */

    /* Places among the renewals under way */
    struct managed **queue;
    size_t n_queue;
    int64_t n_running;
    struct timer *grant;
};

/* Slots ---------------------------------------------------------------------------------------- */

static void on_grant(void *userdata);

static void poke_queue(struct manager *m)
{
    if (!m->grant && m->n_queue > 0 && m->n_running < m->config->concurrency)
        m->grant = timer_after(m->settings.loop, 0, on_grant, m);
}

/* Oldest need first: who has none at all, then who expires first. */
static struct managed *queue_take(struct manager *m)
{
    size_t best = 0;

    for (size_t i = 1; i < m->n_queue; i++) {
        if (managed_need(m->queue[i]) < managed_need(m->queue[best]))
            best = i;
    }
    struct managed *taken = m->queue[best];
    m->n_queue--;
    memmove(m->queue + best, m->queue + best + 1, (m->n_queue - best) * sizeof(struct managed *));
    return taken;
}

static void on_grant(void *userdata)
{
    struct manager *m = userdata;

    timer_free(m->grant);
    m->grant = NULL;
    while (m->n_queue > 0 && m->n_running < m->config->concurrency) {
        m->n_running++;
        managed_granted(queue_take(m));
    }
}

static void host_want_slot(struct managed *managed, void *userdata)
{
    struct manager *m = userdata;

    m->queue = xreallocarray(m->queue, m->n_queue + 1, sizeof(struct managed *));
    m->queue[m->n_queue++] = managed;
    poke_queue(m);
}

static void host_release_slot(struct managed *managed, void *userdata)
{
    struct manager *m = userdata;

    for (size_t i = 0; i < m->n_queue; i++) {
        if (m->queue[i] != managed)
            continue;
        m->n_queue--;
        memmove(m->queue + i, m->queue + i + 1, (m->n_queue - i) * sizeof(struct managed *));
        return;
    }
    m->n_running--;
    poke_queue(m);
}

/* Issuers and rollouts ------------------------------------------------------------------------- */

static struct issuer *host_issuer(const struct config *config, const struct config_issuer *wanted,
                                  struct err **err, void *userdata)
{
    struct manager *m = userdata;

    return issuers_get(m->issuers, config, wanted, err);
}

static struct authority *host_authority(const char *directory, void *userdata)
{
    struct manager *m = userdata;

    return issuers_authority(m->issuers, m->config, directory);
}

static void host_stand_by(struct managed *managed, struct authority *a, void *userdata)
{
    struct manager *m = userdata;

    standby_add(m->standby, managed, a);
}

static void host_stop_standing_by(struct managed *managed, void *userdata)
{
    struct manager *m = userdata;

    standby_remove(m->standby, managed);
}

static void on_ca_is_back(struct authority *a, void *userdata)
{
    struct manager *m = userdata;

    standby_release(m->standby, a);
}

static struct issuer *host_find_issuer(const char *directory, void *userdata)
{
    struct manager *m = userdata;

    return issuers_of_directory(m->issuers, m->config, directory);
}

static struct rollout *host_rollout(struct config *config, const struct config_server *server,
                                    void *userdata)
{
    struct manager *m = userdata;
    struct rollout *r = map_get(m->rollouts, server->server.name);

    if (r && rollout_server(r) != server)
        rollout_set_server(r, config, server);
    if (r)
        return r;
    r = rollout_new(&m->services, config, server);
    map_set(m->rollouts, server->server.name, r);
    return r;
}

static bool has_server(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_servers; i++) {
        if (strcmp(c->servers[i]->server.name, name) == 0)
            return true;
    }
    return false;
}

static void free_rollout(void *rollout)
{
    rollout_free(rollout);
}

/* Frees what no configuration in use has any more. */
static void sweep_shared(struct manager *m)
{
    auto_strv struct strv old = {0};

    if (manager_is_busy(m)) /* it may be in use; the next reload looks again */
        return;
    issuers_sweep(m->issuers, m->config);
    for (const struct map_entry *e = map_first(m->rollouts); e; e = map_next(e)) {
        if (!has_server(m->config, map_entry_key(e)))
            strv_add(&old, map_entry_key(e));
    }
    for (size_t i = 0; i < old.n; i++)
        rollout_free(map_remove(m->rollouts, old.items[i]));
}

/* Certificates --------------------------------------------------------------------------------- */

static void host_activity(struct managed *managed, const char *text, void *userdata)
{
    struct manager *m = userdata;

    if (m->settings.activity)
        m->settings.activity(managed_name(managed), text, m->settings.userdata);
}

static void on_sweep(void *userdata)
{
    struct manager *m = userdata;
    size_t kept = 0;

    timer_free(m->sweep);
    m->sweep = NULL;
    for (size_t i = 0; i < m->n_leaving; i++) {
        if (managed_is_busy(m->leaving[i]))
            m->leaving[kept++] = m->leaving[i];
        else
            managed_free(m->leaving[i]);
    }
    m->n_leaving = kept;
    sweep_shared(m);
}

static void host_retired(struct managed *managed, void *userdata)
{
    struct manager *m = userdata;

    (void)managed;
    if (!m->sweep)
        m->sweep = timer_after(m->settings.loop, 0, on_sweep, m);
}

static struct managed *take_leaving(struct manager *m, const char *name)
{
    for (size_t i = 0; i < m->n_leaving; i++) {
        struct managed *found = m->leaving[i];
        if (strcmp(managed_name(found), name) != 0)
            continue;
        m->leaving[i] = m->leaving[--m->n_leaving];
        return found;
    }
    return NULL;
}

/* Fills items and by_name for the configuration, old ones where there are. What is left in `old` is
 * not configured any more. */
static void make_items(struct manager *m, struct map *old)
{
    struct config *c = m->config;

    free(m->items);
    m->n_items = c->n_certificates;
    m->items = xcalloc(m->n_items + 1, sizeof(struct managed *));
    m->by_name = map_new();
    for (size_t i = 0; i < m->n_items; i++) {
        const struct config_certificate *certificate = c->certificates[i];
        struct managed *known = old ? map_remove(old, certificate->name) : NULL;
        if (!known)
            known = take_leaving(m, certificate->name);
        m->items[i] = known ? known : managed_new(&m->host, c, certificate);
        map_set(m->by_name, certificate->name, m->items[i]);
    }
}

/* Not only on first use: a socket passed by systemd wants answers from the start. */
static void open_solvers(struct manager *m)
{
    for (size_t i = 0; i < m->config->n_solvers; i++) {
        struct solver *s = m->config->solvers[i];
        auto_err struct err *e = NULL;
        if (!s->state && !solver_open(s, m->services.loop, m->services.worker, &e))
            log_failure(LOG_LEVEL_WARNING, e, "challenge not ready, tried again when it is needed");
    }
}

void manager_reload(struct manager *m, struct config *config)
{
    struct map *old = m->by_name;

    config_ref(config);
    config_unref(m->config);
    m->config = config;
    err_free(m->reload_error);
    m->reload_error = NULL;
    issuers_configure(m->issuers, config);
    make_items(m, old);
    if (m->started)
        open_solvers(m);
    for (const struct map_entry *e = map_first(old); e; e = map_next(e)) {
        m->leaving = xreallocarray(m->leaving, m->n_leaving + 1, sizeof(struct managed *));
        m->leaving[m->n_leaving++] = map_entry_value(e);
    }
    for (const struct map_entry *e = map_first(old); e; e = map_next(e))
        managed_retire(map_entry_value(e));
    map_free(old, NULL);
    for (size_t i = 0; i < m->n_items; i++) {
        managed_set_config(m->items[i], config, config->certificates[i]);
        if (m->started)
            managed_start(m->items[i]);
    }
    poke_queue(m); /* there may be more places now */
    sweep_shared(m);
}

void manager_reload_failed(struct manager *m, const struct err *e)
{
    err_free(m->reload_error);
    m->reload_error = err_copy(e);
}

const struct err *manager_reload_error(const struct manager *m)
{
    return m->reload_error;
}

/* Life ----------------------------------------------------------------------------------------- */

static bool open_services(struct manager *m, struct err **err)
{
    struct services *s = &m->services;
    struct loop *l = m->settings.loop;

    s->loop = l;
    s->metrics = metrics_new();
    if (m->settings.read_only) {
        s->state = state_open(m->config->state_dir, STATE_READ, NULL, err);
        return s->state;
    }
    s->worker = worker_new(l, WORKER_THREADS, err);
    s->state = s->worker ? state_open(m->config->state_dir, STATE_OWN, s->worker, err) : NULL;
    s->http = s->state ? http_new(l, err) : NULL;
    s->traces = s->http ? trace_export_new(l, s->http) : NULL;
    s->staples = turnstile_new(l, STAPLES_AT_ONCE);
    s->polls = turnstile_new(l, POLLS_AT_ONCE);
    s->crls = crl_watch_new(s);
    return s->http;
}

struct manager *manager_new(const struct manager_settings *settings, struct err **err)
{
    struct manager *m = xcalloc(1, sizeof *m);

    m->settings = *settings;
    m->config = config_ref(settings->config);
    m->since = clock_now();
    m->rollouts = map_new();
    m->issuers = issuers_new(&m->services, on_ca_is_back, m);
    m->standby = standby_new(settings->loop);
    m->host = (struct managed_host){
        .services = &m->services,
        .issuer = host_issuer,
        .find_issuer = host_find_issuer,
        .authority = host_authority,
        .stand_by = host_stand_by,
        .stop_standing_by = host_stop_standing_by,
        .rollout = host_rollout,
        .want_slot = host_want_slot,
        .release_slot = host_release_slot,
        .activity = host_activity,
        .retired = host_retired,
        .userdata = m,
    };
    if (!open_services(m, err)) {
        manager_free(m);
        return NULL;
    }
    make_items(m, NULL);
    return m;
}

void manager_free(struct manager *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_items; i++)
        managed_free(m->items[i]);
    for (size_t i = 0; i < m->n_leaving; i++)
        managed_free(m->leaving[i]);
    issuers_free(m->issuers);
    standby_free(m->standby);
    map_free(m->rollouts, free_rollout);
    timer_free(m->grant);
    timer_free(m->sweep);
    crl_watch_free(m->services.crls);
    turnstile_free(m->services.staples);
    turnstile_free(m->services.polls);
    trace_export_free(m->services.traces);
    http_free(m->services.http);
    state_free(m->services.state);
    worker_free(m->services.worker); /* first carries out what is to be saved */
    metrics_free(m->services.metrics);
    if (m->by_name)
        map_free(m->by_name, NULL);
    config_unref(m->config);
    err_free(m->reload_error);
    free(m->items);
    free(m->leaving);
    free(m->queue);
    free(m);
}

void manager_start(struct manager *m)
{
    m->started = true;
    open_solvers(m);
    for (size_t i = 0; i < m->n_items; i++)
        managed_start(m->items[i]);
}

/* Views ---------------------------------------------------------------------------------------- */

const struct config *manager_config(const struct manager *m)
{
    return m->config;
}

const struct services *manager_services(const struct manager *m)
{
    return &m->services;
}

bool manager_is_read_only(const struct manager *m)
{
    return m->settings.read_only;
}

time_t manager_since(const struct manager *m)
{
    return m->since;
}

size_t manager_count(const struct manager *m)
{
    return m->n_items;
}

struct managed *manager_at(const struct manager *m, size_t i)
{
    return m->items[i];
}

struct managed *manager_find(const struct manager *m, const char *certificate)
{
    return map_get(m->by_name, certificate);
}

struct config *manager_config_ref(const struct manager *m)
{
    return config_ref(m->config);
}

struct issuer *manager_use_issuer(struct manager *m, const struct config_issuer *issuer,
                                  struct err **err)
{
    return issuers_get(m->issuers, m->config, issuer, err);
}

struct issuer *manager_issuer(const struct manager *m, const char *name)
{
    for (size_t i = 0; i < m->config->n_issuers; i++) {
        if (strcmp(m->config->issuers[i]->name, name) == 0)
            return issuers_known(m->issuers, m->config->issuers[i]);
    }
    return NULL;
}

struct limits *manager_limits(const struct manager *m, const char *directory)
{
    return authority_limits(issuers_authority(m->issuers, m->config, directory));
}

bool manager_is_busy(const struct manager *m)
{
    for (size_t i = 0; i < m->n_items; i++) {
        if (managed_is_busy(m->items[i]))
            return true;
    }
    for (size_t i = 0; i < m->n_leaving; i++) {
        if (managed_is_busy(m->leaving[i]))
            return true;
    }
    return false;
}
