/* Everything of one Everleaf process that works on certificates: services, issuers, rollouts, one
 * managed per configured certificate, and the places among the renewals under way. Used by the
 * agent
 * (`run`), by one-shot commands, and read-only by `status` without an agent. */
#pragma once

#include "agent/config.h"
#include "agent/issuer.h"
#include "agent/managed.h"
#include "agent/services.h"

struct manager;

struct manager_settings {
    struct loop *loop;
    struct config *config; /* referenced */
    bool read_only; /* no lock, nothing is written or started: for `status` without an agent */
    /* A certificate says what it is doing; may be NULL. */
    void (*activity)(const char *certificate, const char *text, void *userdata);
    void *userdata;
};

/* NULL and err when the state directory cannot be opened (code EWOULDBLOCK: another process has
 * it). */
NODISCARD struct manager *manager_new(const struct manager_settings *settings, struct err **err);
void manager_free(struct manager *m); /* stops everything; what is on disk stays good */

/* From now on every certificate follows its schedule. One-shot commands do not call it. */
void manager_start(struct manager *m);
/* A good new configuration (SIGHUP): certificates are added, changed and dropped (their files
 * stay); work under way ends under the settings it began with. */
void manager_reload(struct manager *m, struct config *config);
/* A bad new configuration was refused: shown in status and metrics until the next good one. */
void manager_reload_failed(struct manager *m, const struct err *e);
const struct err *manager_reload_error(const struct manager *m); /* NULL: the last one was good */

const struct config *manager_config(const struct manager *m);
const struct services *manager_services(const struct manager *m);
bool manager_is_read_only(const struct manager *m);
time_t manager_since(const struct manager *m); /* wall clock at manager_new */
size_t manager_count(const struct manager *m);
struct managed *manager_at(const struct manager *m, size_t i); /* in the configuration's order */
struct managed *manager_find(const struct manager *m, const char *certificate); /* NULL: none */
struct config *manager_config_ref(const struct manager *m); /* a reference of the caller's */
/* The run-time issuer of a configured one, made when it was not used yet; NULL and err. */
NODISCARD struct issuer *manager_use_issuer(struct manager *m, const struct config_issuer *issuer,
                                            struct err **err);
/* The run-time issuer of a configured one, or NULL when it was not used yet. */
struct issuer *manager_issuer(const struct manager *m, const char *name);
/* What is counted for a directory; NULL: nothing is known. */
struct limits *manager_limits(const struct manager *m, const char *directory);
bool manager_is_busy(const struct manager *m);
