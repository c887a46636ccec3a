/* A small HTTP server on the loop for read-only duties: http-01, metrics, health. The only user of
 * libmicrohttpd. GET and HEAD only (405 else; POST where httpd_take_posts() allows it), request
 * line and headers at most 8 KiB, one request and 10 s per connection, at most `connections_max` at
 * once: when one more comes, the oldest is closed, so that a thousand idle clients do not keep out
 * the one that asks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/loop.h"
#include "base/strv.h"

struct httpd_reply {
    unsigned status;
    const char *type; /* Content-Type, static string */
    char *body;       /* owned by httpd afterwards; NULL: empty */
    size_t body_len;
};

struct httpd_request {
    const char *path;   /* percent-decoded by nobody: as received, without the query */
    const char *host;   /* Host header or NULL */
    const char *accept; /* Accept header or NULL */
    const char *body;   /* of a POST, else NULL; may contain NULs */
    size_t body_len;
};

/* May free the server; the reply is then not sent. */
typedef void httpd_fn(const struct httpd_request *request, struct httpd_reply *reply,
                      void *userdata);

/* Where to listen: see base/listen.h. */
struct httpd;
/* Binds every address of `listen`. A taken port: ERR_SYSTEM with code EADDRINUSE that names the
 * process that has it where /proc tells. `sockets`/`n_sockets`: descriptors already listening
 * (socket activation) to use instead; they stay open when the server is freed. */
NODISCARD struct httpd *httpd_new(struct loop *l, const struct strv *listen, const int *sockets,
                                  size_t n_sockets, unsigned connections_max, httpd_fn *fn,
                                  void *userdata, struct err **err);
void httpd_free(struct httpd *h); /* NULL is fine */
/* POST is answered as well, with bodies of at most max octets (413 for longer ones). */
void httpd_take_posts(struct httpd *h, size_t max);
/* Checks one listen text without binding it. */
NODISCARD bool httpd_listen_check(const char *listen, struct err **err);
/* Sockets passed by systemd under FileDescriptorName= name; returns how many were stored. */
size_t httpd_activated(const char *name, int *ret_sockets, size_t max);
/* The same for those that are bound where one of `listen` is, whatever their name. */
size_t httpd_activated_at(const struct strv *listen, int *ret_sockets, size_t max);
