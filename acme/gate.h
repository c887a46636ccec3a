/* Requests per second as a CA allows them: every request passes here before it is sent. In no
 * window of a rule's period do more pass than its rate says, whatever piled up before; who waits is
 * let through in order, and a kind of request that must wait holds up no other kind. */
#pragma once

#include <stddef.h>

#include "base/loop.h"
#include "base/rate.h"

struct gate_rule {
    const char *operation; /* as in session.h; NULL: all that no other rule names */
    struct rate rate;
};

struct gate;
/* total: over all requests; count 0 or NULL: none. The rules are copied, their strings are not. */
struct gate *gate_new(struct loop *l, const struct gate_rule *rules, size_t n,
                      const struct rate *total);
/* Another one from now on; those who wait stay in their order. */
void gate_set_total(struct gate *g, const struct rate *total);
void gate_free(struct gate *g); /* those who wait never pass; NULL is fine */

/* True: the request is counted and may be sent now. False: gate_wait. NULL lets everything pass. */
bool gate_try(struct gate *g, const char *operation);
/* The callback comes when the request may be sent, and counts it; the handle ends with it. Freeing
 * gives the place up; inside the callback harmless, not after it. */
struct gate_wait;
typedef void gate_fn(void *userdata);
struct gate_wait *gate_wait(struct gate *g, const char *operation, gate_fn *fn, void *userdata);
void gate_wait_free(struct gate_wait *w); /* NULL is fine */
