/* One request and its reply over a stream socket: what admin sockets of servers speak. The peer is
 * not trusted: the reply is bounded, garbage is the caller's to judge, silence times out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

struct exchange_spec {
    const char *address; /* "/path", "unix:/path", or "ADDRESS:PORT" (numbers, or localhost) */
    const void *request; /* copied; wiped afterwards */
    size_t request_len;
    size_t reply_max; /* more is an ERR_REFUSED */
    int64_t timeout_ms;
    /* Whether the reply is whole, called whenever more of it came. NULL: when the peer closes. */
    bool (*is_whole)(const char *reply, size_t len, void *userdata);
    bool no_reply; /* it is over when the request was sent */
};

/* What kind of address it is, for the configuration; false and err when none. */
bool exchange_check_address(const char *address, struct err **err);
/* Whether an error says that nobody listens there: the server does not run. */
bool exchange_is_absent(const struct err *e);

struct exchange;
/* Exactly one of reply (NUL-terminated beyond len, borrowed) and e is not NULL. With is_whole, a
 * peer that closes early is an error that quotes what came. The handle is gone when it returns;
 * exchange_free in it is harmless. */
typedef void exchange_fn(const char *reply, size_t len, const struct err *e, void *userdata);
struct exchange *exchange_start(struct loop *l, const struct exchange_spec *spec, exchange_fn *fn,
                                void *userdata);
void exchange_free(struct exchange *x); /* NULL is fine */
