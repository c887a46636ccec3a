/* One request and its reply over a stream socket: what admin sockets of servers speak. The peer is
 * not trusted: the reply is bounded, garbage is the caller's to judge, silence times out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/schema.h"

struct dialogue_spec {
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
bool dialogue_check_address(const char *address, struct err **err);
/* The `parse` and `done` of a field that holds such an address (char *, owned). */
void dialogue_parse_address(const struct field_in *in);
void dialogue_done_address(void *member);
/* Whether an error says that nobody listens there: the server does not run. */
bool dialogue_is_absent(const struct err *e);

struct dialogue;
/* Exactly one of reply (NUL-terminated beyond len, borrowed) and e is not NULL. With is_whole, a
 * peer that closes early is an error that quotes what came. The handle is gone when it returns;
 * dialogue_free in it is harmless. */
typedef void dialogue_fn(const char *reply, size_t len, const struct err *e, void *userdata);
struct dialogue *dialogue_start(struct loop *l, const struct dialogue_spec *spec, dialogue_fn *fn,
                                void *userdata);
void dialogue_free(struct dialogue *x); /* NULL is fine */
