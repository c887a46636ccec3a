/* A signed POST (RFC 8555 6.2): nonce from the pool or new-nonce, JWS, reply, badNonce retried with
 * the error's own nonce (5 times, then a fresh nonce, 10 in all), problem documents turned into
 * errors. Transient failures are NOT retried here: the step table does that. */
#pragma once

#include "acme/session.h"

enum request_key {
    REQUEST_KID, /* kid = account URL */
    REQUEST_JWK, /* jwk of the account key: newAccount */
};

struct request_spec {
    const char *operation; /* for metrics and messages */
    const char *url;       /* must be https; else ERR_REFUSED */
    const char *payload;   /* JSON text; "" for POST-as-GET */
    enum request_key key;
    const char *accept; /* or NULL */
};

struct reply {
    const char *url;  /* that was asked */
    int status;       /* 2xx */
    json_t *json;     /* object when the body is JSON, else NULL */
    const char *body; /* raw */
    size_t body_len;
    const char *content_type; /* lower-cased media type without parameters, "" if absent */
    const char *location;     /* or NULL */
    const char *retry_after;  /* raw header or NULL */
    struct strv alternates;   /* Link rel="alternate", resolved against the URL */
};

/* Either r (borrowed) or e (borrowed). e->kind: ERR_REFUSED (4xx), ERR_LIMITED (429, or
 * rateLimited, or 503 with Retry-After; retry_at set and clamped to 7 d), ERR_TRANSIENT (network,
 * 5xx, badNonce exhausted). e->problem is the type without "urn:ietf:params:acme:error:"; e->text
 * has detail and every subproblem with its identifier, escaped. */
struct request;
typedef void request_fn(const struct reply *r, const struct err *e, void *userdata);
struct request *request_start(struct session *s, const struct request_spec *spec, request_fn *fn,
                              void *userdata);
void request_free(struct request *r); /* NULL is fine */

/* A problem document (RFC 7807, RFC 8555 6.7) or any other error body -> error. Pure; fuzzed. */
void err_from_problem(struct err **err, int status, const char *content_type, const char *body,
                      size_t len, const char *retry_after, time_t now);
