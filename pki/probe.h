/* A TLS handshake with an endpoint to see what it serves: certificate chain, staple, version, cipher.
 * Nothing is trusted; the handshake is closed at once. Non-blocking on the loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/loop.h"
#include "base/worker.h"
#include "pki/cert.h"

/* "host:port", "[v6]:port", "name:port", "unix:/path". */
struct endpoint {
    char *host; /* without brackets; NULL for unix */
    char *port;
    char *path; /* for unix: */
};
NODISCARD bool endpoint_parse(const char *text, struct endpoint *ret, struct err **err);
void endpoint_done(struct endpoint *e);

struct address {
    struct sockaddr_storage addr;
    socklen_t len;
    char text[128]; /* "127.0.0.1:443", "[::1]:443", "unix:/path" */
};

/* All addresses of an endpoint, by a worker job for names (numeric ones too, for one path). At most 16. */
struct resolve;
typedef void resolve_fn(const struct address *addresses, size_t n, const struct err *e, void *userdata);
struct resolve *resolve_start(struct worker *w, const struct endpoint *e, resolve_fn *fn, void *userdata);
void resolve_free(struct resolve *r);

enum probe_key { PROBE_ANY, PROBE_ECDSA, PROBE_RSA }; /* which signature algorithms we offer */

struct probe_result {
    struct chain *chain;   /* as served, leaf first; never NULL on success; owned by the result */
    unsigned char *staple; /* DER OCSP response or NULL */
    size_t staple_len;
    char version[16];      /* "TLSv1.3" */
    char cipher[64];
    int64_t handshake_ms;  /* connect to finished */
};

/* Either result or e. e: ERR_TRANSIENT; code is the errno of connect when that failed
 * (ECONNREFUSED: silent). Both borrowed. */
struct probe;
typedef void probe_fn(const struct probe_result *result, const struct err *e, void *userdata);
struct probe *probe_start(struct loop *l, const struct address *address, const char *sni,
                          enum probe_key key, int64_t timeout_ms, probe_fn *fn, void *userdata);
void probe_free(struct probe *p); /* NULL is fine */
