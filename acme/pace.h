/* How long to wait before the next request about the same thing: while the CA works on it, and
 * after an error. Plain values; zero is the start. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Polling: Retry-After when the CA gives one (clamped to 1..60 s), else 20 ms doubling to 10 s, and
 * never faster than one request a second after the first 2 s. */
struct pace_poll {
    int polls;
    int64_t since_ms; /* boot clock at the first poll */
};
int64_t pace_poll_ms(struct pace_poll *p, const char *retry_after);

/* Errors: whether the same request is worth another try within this order, and after which pause.
 * Transient ones a few times with growing pauses; limits when the CA asks for at most a minute.
 * Longer waits are the owner's, who has a back-off of its own. */
struct pace_retry {
    int tries;
    int64_t since_ms; /* boot clock at the first error */
};
bool pace_retry_ms(struct pace_retry *r, const struct err *e, int64_t *ret_pause_ms);
