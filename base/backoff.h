/* Exponential delay with jitter. Pure. */
#pragma once

#include <stdint.h>

/* Delay before try number `failures`+1: base * factor^(failures-1), at most cap, then +-20 % jitter
 * from `random` (any 32 random bits), never below base/2, never 0. failures < 1 counts as 1; no
 * overflow for any count. Unit is the caller's. */
int64_t backoff_delay(int failures, int64_t base, int64_t factor, int64_t cap, uint32_t random);
/* 32 bits from getrandom(2). */
uint32_t random_u32(void);
