/* Places for small works of one kind, so that thousands that are due at once (after a stop, after
 * an outage) follow each other. In order of asking. */
#pragma once

#include <stddef.h>

#include "base/loop.h"

struct turnstile;
struct turnstile *turnstile_new(struct loop *l, size_t places);
void turnstile_free(struct turnstile *g); /* after all passes */

/* fn on a later turn, when there is a place; it is taken until the pass is freed. */
struct turnstile_pass;
typedef void turnstile_fn(void *userdata);
struct turnstile_pass *turnstile_enter(struct turnstile *g, turnstile_fn *fn, void *userdata);
void turnstile_leave(struct turnstile_pass *p); /* also while waiting; NULL is fine */
