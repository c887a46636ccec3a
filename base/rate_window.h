/* At most `count` events in every window of `period`, wherever the window begins: what a bucket
 * does not promise, as a burst and the refill behind it can fall into one window. For requests per
 * second. Pure; on a clock that does not step (clock_boot_ms). */
#pragma once

#include "base/rate.h"

#define RATE_WINDOW_MAX                                                                            \
    10000 /* events remembered; a larger count is spread over parts of the period */

struct rate_window;
struct rate_window *rate_window_new(const struct rate *r); /* r->count at least 1 */
void rate_window_free(struct rate_window *w);              /* NULL is fine */
/* 0: one may happen now; else in how many ms. NULL: always 0. */
int64_t rate_window_wait_ms(const struct rate_window *w, int64_t now_ms);
/* It happens now. NULL is fine. */
void rate_window_take(struct rate_window *w, int64_t now_ms);
