/* Rates ("300/3h": so many in a period) and two ways to keep to them. Plain values, pure: the
 * clock is an argument.
 *
 * A bucket is for limits that a CA counts over hours and days: `count` tokens that come back
 * continuously, one every period/count. Its whole state is the instant at which it is full again,
 * so that a bucket nobody uses needs no row anywhere. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RATE_COUNT_MAX  1000000
#define RATE_PERIOD_MAX ((int64_t)4000 * 24 * 3600)

struct rate {
    int64_t count; /* 0: no limit; everything below wants at least 1 */
    int64_t period_s;
};

/* "300/3h", "20/s", "5/7d": a number from 1, and a duration (one unit without its number is 1). */
bool rate_parse(const char *text, struct rate *ret);
#define RATE_TEXT_MAX 64
const char *rate_text(const struct rate *r, char out[RATE_TEXT_MAX]); /* "300/3h"; returns out */

/* After how long one token comes back; rounded up, so that we are never faster than the CA. */
int64_t rate_interval_ms(const struct rate *r);

/* Tokens gone, 0..count. */
int64_t bucket_used(const struct rate *r, int64_t full_at_ms, int64_t now_ms);
/* When one token is there beside `reserved` ones; now_ms or earlier: at once. */
int64_t bucket_free_at_ms(const struct rate *r, int64_t full_at_ms, int64_t reserved,
                          int64_t now_ms);
/* The new full_at_ms after one token more; an empty bucket stays empty. */
int64_t bucket_spend(const struct rate *r, int64_t full_at_ms, int64_t now_ms);
