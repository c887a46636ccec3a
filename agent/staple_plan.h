/* When a staple is fetched, and when it is taken away. Pure. Everything is a share of the
 * response's own life, so that ten days and ten minutes come out of one rule:
 *
 *     thisUpdate        half-life                      3/4                  withdrawn  nextUpdate
 *         |------ rest ------|--- hourly, 1/16 at most ---|-- minutes, 1/64 --|--------|
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "pki/ocsp.h"

struct staple_times {
    time_t this_update, next_update; /* both 0: none is held */
};

/* The next fetch, always after `now`. fresh_until: Cache-Control of the last reply (0: none); it
 * can postpone a fetch up to the last quarter, never advance one. random: any 32 bits. */
time_t staple_next_fetch(struct staple_times held, time_t fresh_until, time_t now, uint32_t random);
/* When a staple is taken from the servers: early enough for their reload to be over at nextUpdate.
 */
time_t staple_withdraw_at(struct staple_times held);
/* The next fetch while none is held, after `failures` in a row, the last of which was `last` (or
 * none was heard: OCSP_STATUS_TRY_LATER). not_before: of the certificate; a responder may take 15
 * minutes to know a new one (BR 4.9.9). retry_at: what it asked for, or 0. */
time_t staple_next_try(int failures, enum ocsp_status last, time_t not_before, time_t retry_at,
                       time_t now, uint32_t random);
/* Whether that refusal is no alarm yet. */
bool staple_is_young(time_t not_before, time_t now);
