/* Certificates that are due but wait for their CA to be back: no timers of their own, one for all.
 * At each try the one that needs it most goes ahead; when the CA is back, all of them. */
#pragma once

#include "agent/authority.h"
#include "agent/managed.h"

struct standby;
struct standby *standby_new(struct loop *l);
void standby_free(struct standby *s); /* NULL is fine */

void standby_add(struct standby *s, struct managed *m, struct authority *authority);
void standby_remove(struct standby *s, struct managed *m);
/* The authority answers again. */
void standby_release(struct standby *s, struct authority *authority);
