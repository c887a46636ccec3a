/* A program that serves certificates: how to check its configuration and how to make it load. One
 * file per type in hooks/types/. Proof over TLS is not here: the agent does that with pki/probe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/schema.h"

/* One of the certificates that a reload is for: where its live files are. */
struct hook_certificate {
    const char *name;
    const char *dir, *fullchain, *key;
    const char *staple; /* DER, or NULL */
};

/* What a hook may know; becomes EVERLEAF_HOOK_* for exec. All strings borrowed; NULL is fine. For a
 * reload that covers several certificates the fields hold the first, `names` of all are in
 * `certificates`. */
struct hook_event {
    const char *certificate;
    const char *certificates; /* comma-separated */
    const char *names;        /* comma-separated */
    const char *reason;       /* "renewed", "rolled-back", "deploy" */
    const char *attempt;
    const char *dir, *fullchain, *key, *staple;
    const char *serial, *old_serial;
    const char *server;
    const struct hook_certificate *batch; /* all of them */
    size_t n_batch;
};

/* A configured server. Fields common to all types are here, read by the configuration. */
struct server {
    const struct server_type *type;
    char *name;
    char *where;       /* "file:line:column" or NULL when implicit */
    struct strv check; /* argv replacing the type's own check; empty: the type's */
    bool check_off;
    int64_t timeout_s; /* of a check or reload; default 30 */
    void *settings;    /* the type's own struct */
};

enum reload_result {
    RELOAD_DONE,
    RELOAD_NOT_RUNNING, /* nothing to reload: it will read the files when it starts */
    RELOAD_NOTHING,     /* `reload: off`, or no reload configured */
    RELOAD_FAILED,      /* e says why */
};

struct hook_job;                                            /* a handle; free cancels */
typedef void check_fn(const struct err *e, void *userdata); /* NULL: good, or nothing to check */
typedef void reload_fn(enum reload_result result, const struct err *e, void *userdata);

#define SERVER_OVERLAP_MS 250

struct server_type {
    const char *name;
    const char *help;
    const char *default_prove;    /* "127.0.0.1:443" or NULL */
    const char *default_starttls; /* what is spoken there before TLS ("smtp"), or NULL */
    /* How long after a reload old processes may still accept, and show the old certificate. 0:
     * SERVER_OVERLAP_MS. */
    int64_t overlap_ms;
    size_t settings_size;
    const struct field *fields;
    void (*check_settings)(void *settings, const struct yaml_node *node, const char *path,
                           struct problems *problems); /* may be NULL */
    /* The server's own check ("nginx -t") as argv; false: it has none. Owned strings. */
    bool (*check_argv)(const struct server *s, struct strv *ret_argv);
    /* For a server that its own check does not protect from a pair that does not match: which files
     * its configuration pairs, certificate and key in turn. Reads files, so call it on a worker;
     * what cannot be read is left out. May be NULL. */
    void (*pairs)(const struct server *s, struct strv *ret);
    /* Starts the reload; fn on a later turn. */
    struct hook_job *(*reload)(const struct server *s, struct loop *l,
                               const struct hook_event *event, reload_fn *fn, void *userdata);
};

extern const struct server_type *const server_type_all[];
const struct server_type *server_type_find(const char *name);
void server_free(struct server *s); /* what is in it; the struct is its owner's */

/* The check: the configured argv, or the type's, unless off. Calls back on a later turn. Failure
 * text has the program, its exit and its last lines of output. */
struct hook_job *server_check(const struct server *s, struct loop *l,
                              const struct hook_event *event, check_fn *fn, void *userdata);
struct hook_job *server_reload(const struct server *s, struct loop *l,
                               const struct hook_event *event, reload_fn *fn, void *userdata);
void hook_job_free(struct hook_job *j);
