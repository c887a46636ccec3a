/* Where a server listens, and its addresses. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/worker.h"

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

/* All addresses of an endpoint, by a worker job for names (numeric ones too, for one path). At
 * most 16. */
struct resolve;
typedef void resolve_fn(const struct address *addresses, size_t n, const struct err *e,
                        void *userdata);
struct resolve *resolve_start(struct worker *w, const struct endpoint *e, resolve_fn *fn,
                              void *userdata);
/* Cancels. NULL is fine; the handle ends with the callback: freeing it there is harmless, later
 * not. */
void resolve_free(struct resolve *r);
