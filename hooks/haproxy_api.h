/* HAProxy's Runtime API: replaces certificates in the memory of the running process, so that no
 * connection and no process is disturbed. The files on disk are what the next start reads; they are
 * written already, and are what is sent.
 *
 * Which of the files that HAProxy has loaded are ours is seen by what is in them: the leaf of one
 * of the batch. HAProxy's replies are not trusted: bounded, and only the words that mean success
 * count.
 */
#pragma once

#include "hooks/server.h"

enum haproxy_api_result {
    HAPROXY_API_DONE,
    HAPROXY_API_ABSENT, /* nobody listens at the socket */
    HAPROXY_API_NEW, /* a certificate is not in any file that it has loaded; err names it. Nothing
                        was changed: this takes a reload */
    HAPROXY_API_FAILED, /* err; the transaction was aborted */
};

struct haproxy_api;
/* The handle is gone when it returns; haproxy_api_free in it is harmless. */
typedef void haproxy_api_fn(enum haproxy_api_result result, const struct err *e, void *userdata);
struct haproxy_api *haproxy_api_start(struct loop *l, const char *socket,
                                      const struct hook_event *event, int64_t timeout_ms,
                                      haproxy_api_fn *fn, void *userdata);
void haproxy_api_free(struct haproxy_api *a); /* NULL is fine; a transaction may stay open: the next
                                                 one aborts it */
