/* The http-01 listener of one solver (RFC 8555 8.3): opened with the first token, closed with the
 * last one, and answering exactly the live tokens. Sockets that systemd passed under the name
 * "http" or the solver's own are used instead of binding and stay open. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/strv.h"

struct token_listener;
/* Fails only when a passed socket cannot be used. listen: see httpd_new; empty means ":80". */
NODISCARD struct token_listener *token_listener_new(struct loop *l, const char *solver_name,
                                                    const struct strv *listen, struct err **err);
void token_listener_free(struct token_listener *l);

/* The same token may be added several times, always with the same text; it is answered until it was
 * removed as often. */
NODISCARD bool token_listener_add(struct token_listener *l, const char *token,
                                  const char *key_authorization, struct err **err);
void token_listener_remove(struct token_listener *l, const char *token);
bool token_listener_is_open(const struct token_listener *l);
