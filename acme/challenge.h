/* A way to prove control of a name. One file per type in acme/challenges/, compiled into
 * challenge_type_all[]; nothing central is edited. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"
#include "base/schema.h"
#include "base/worker.h"

/* A configured solver (section `challenges`), shared by all orders that name it. */
struct solver {
    const struct challenge_type *type;
    char *name;        /* "web" */
    char *where;       /* "file:line:column" or NULL */
    struct loop *loop; /* set by solver_open */
    struct worker *worker;
    void *settings; /* the type's own struct, filled by its fields */
    void *state;    /* the type's own, made by open */
};

struct present; /* one presented token: a handle made by the type */

typedef void present_fn(const struct err *e, void *userdata); /* e NULL: ready to be validated */

struct challenge_type {
    const char *name; /* file and symbol, e.g. "http_01" */
    const char *acme; /* type as in RFC 8555: "http-01" */
    const char *help;
    size_t settings_size;
    const struct field *fields;
    bool wildcards; /* can it validate *.x ? */
    bool addresses; /* ip identifiers ? */
    /* Cross-field checks after schema_read; may be NULL. Reports into problems at `node`. */
    void (*check)(void *settings, const struct yaml_node *node, const char *path,
                  struct problems *problems);
    /* Makes what lives as long as the configuration (no sockets yet). */
    NODISCARD bool (*open)(struct solver *s, struct err **err);
    void (*close)(struct solver *s);
    /* Makes token and key authorisation visible for `identifier` (the authorisation's, without
     * "*."). token is already validated base64url. fn is called on a later turn. The handle's
     * release removes it again. */
    struct present *(*present)(struct solver *s, const char *identifier, const char *token,
                               const char *key_authorization, present_fn *fn, void *userdata);
    void (*withdraw)(struct present *p);
};

extern const struct challenge_type *const challenge_type_all[];
const struct challenge_type *challenge_type_find(const char *acme_name); /* NULL: unknown */

/* Life of a solver; settings must be filled. Frees settings by the type's fields. */
NODISCARD bool solver_open(struct solver *s, struct loop *l, struct worker *w, struct err **err);
void solver_free(struct solver *s);
