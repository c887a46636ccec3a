/* HTTP client: curl_multi on the loop. The only user of libcurl. https (and http where asked for)
 * only; no redirects; bodies bounded; TLS 1.2+, verified; connections reused; proxies from the
 * environment (base/http_proxy.h); User-Agent "everleaf/VERSION libcurl/VERSION" and
 * Accept-Language on every request. Costs nothing until the first request; a minute after the last
 * one all connections are closed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"
#include "base/strv.h"

struct http;
/* Removes $SSLKEYLOGFILE from the environment, so call it before there are threads. */
NODISCARD struct http *http_new(struct loop *l, struct err **err);
void http_free(struct http *h); /* cancels what is under way; its handles are gone */

struct http_request {
    const char *method;         /* "GET", "HEAD", "POST", "PUT" */
    const char *url;            /* without user and password */
    const char *const *headers; /* "Name: value", NULL-terminated, or NULL */
    const char *body;           /* for POST and PUT; sent with headers as given */
    size_t body_len;
    const char *ca_file; /* replaces the system's roots; NULL: system */
    size_t body_max;     /* larger replies fail with ERR_REFUSED */
    int64_t timeout_ms;  /* whole exchange; connect at most a third, at most 10 s; a transfer
                            below 1 byte/s for timeout/2 ends as well */
    bool allow_http;     /* plain http:// allowed (loopback tests, OCSP, CRL) */
    bool direct;         /* never through a proxy: somebody on this machine is meant */
    const char *proxy;   /* its URL, whatever the environment names; "off": none; NULL: the
                            environment's */
    bool fresh; /* on a connection of its own: libcurl sends what got no reply on one that was
                   kept a second time, which nobody would hear of */
    const char *socket; /* path of a UNIX socket to connect to, whatever the URL's host; direct */
};

struct http_reply {
    long status;
    char *body; /* NUL-terminated; may contain NULs */
    size_t body_len;
    struct strv headers; /* "name: value", names lower-cased, last response only; at most 64 KiB */
    int64_t took_ms;
    time_t date; /* Date header, 0 if absent */
};
/* First header of that (lower-case) name; NULL when absent. Borrowed. */
const char *http_header(const struct http_reply *r, const char *name);

struct http_call;
/* Exactly one of reply and e is not NULL; both are borrowed for the call. e: ERR_TRANSIENT for
 * network and time-outs (text names host and port, says "proxy" when there was one; code is an
 * errno where known), ERR_REFUSED for TLS verification and for replies over the maximum, ERR_CONFIG
 * for URLs that are no https and for a ca_file that cannot be used. The handle is gone when it
 * returns; http_call_free in it is harmless. */
typedef void http_fn(const struct http_reply *reply, const struct err *e, void *userdata);
/* Never fails at once: errors arrive by the callback. Strings are copied. */
struct http_call *http_start(struct http *h, const struct http_request *request, http_fn *fn,
                             void *userdata);
void http_call_free(struct http_call *c); /* NULL is fine */
