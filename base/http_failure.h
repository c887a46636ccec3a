/* What went wrong between us and a server, in words. For base/http.c. */
#pragma once

#include "base/err.h"

enum http_failure_kind {
    HTTP_OTHER, /* the connection broke, or what came was no HTTP */
    HTTP_BAD_URL,
    HTTP_NO_PROXY_ADDRESS,
    HTTP_NO_ADDRESS,
    HTTP_NOT_CONNECTED,
    HTTP_TIMED_OUT,
    HTTP_NO_TLS,
    HTTP_NOT_TRUSTED,
    HTTP_NO_ROOTS,
    HTTP_TOO_LARGE,
};

struct http_failure {
    enum http_failure_kind kind;
    const char *peer;    /* "host:port" */
    const char *proxy;   /* likewise, or NULL */
    const char *ca_file; /* or NULL */
    const char *detail;  /* of libcurl */
    int errnum;          /* of HTTP_NOT_CONNECTED, or 0 */
    long verdict;        /* of HTTP_NOT_TRUSTED: X509_V_ERR_... of OpenSSL, 0 or 1: names differ */
    size_t max;          /* of HTTP_TOO_LARGE: bytes */
};

bool http_failure_set(struct err **err, const struct http_failure *f);
