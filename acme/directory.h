/* The CA's directory (RFC 8555 7.1.1): fetched once, refreshed after an hour or on a 404. Several
 * callers wait for one fetch. Every URL in it must be https (or loopback-free of credentials): a
 * directory with another scheme is ERR_REFUSED. */
#pragma once

#include "acme/session.h"

struct directory {
    char *new_nonce, *new_account, *new_order, *revoke_cert,
        *key_change;      /* owned; the first three set */
    char *renewal_info;   /* RFC 9773, or NULL */
    char *terms;          /* meta.termsOfService or NULL */
    bool eab_required;    /* meta.externalAccountRequired */
    struct strv profiles; /* names in meta.profiles */
    time_t fetched_at;
};

struct directory_wait;
typedef void directory_fn(const struct directory *d, const struct err *e, void *userdata);
/* Calls back on a later turn of the loop, from the cache when it is fresh. */
struct directory_wait *directory_get(struct session *s, directory_fn *fn, void *userdata);
void directory_wait_free(struct directory_wait *w);
/* NULL before the first fetch. */
const struct directory *session_directory(const struct session *s);
void session_forget_directory(struct session *s);
