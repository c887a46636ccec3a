/* A TLS handshake with an endpoint to see what it serves: certificate chain, staple, version,
 * cipher. Nothing is trusted; the handshake is closed at once. Non-blocking on the loop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "pki/cert.h"
#include "pki/endpoint.h"
#include "pki/starttls.h"

enum probe_key { PROBE_ANY, PROBE_ECDSA, PROBE_RSA }; /* which signature algorithms we offer */

struct probe_result {
    struct chain *chain;   /* as served, leaf first; never NULL on success; owned by the result */
    unsigned char *staple; /* DER OCSP response or NULL */
    size_t staple_len;
    char version[16]; /* "TLSv1.3" */
    char cipher[64];
    int64_t handshake_ms; /* connect to finished, STARTTLS included */
};

struct probe_spec {
    const char *sni; /* borrowed; NULL: none */
    enum probe_key key;
    enum starttls starttls;
    int64_t timeout_ms; /* for all of it */
};

/* Either result or e. e: ERR_TRANSIENT; code is the errno of connect when that failed
 * (ECONNREFUSED: silent). Both borrowed. */
struct probe;
typedef void probe_fn(const struct probe_result *result, const struct err *e, void *userdata);
struct probe *probe_start(struct loop *l, const struct address *address,
                          const struct probe_spec *spec, probe_fn *fn, void *userdata);
/* Cancels. NULL is fine; the handle ends with the callback: freeing it there is harmless, later
 * not. */
void probe_free(struct probe *p);
