/* Wall clock for schedules, boot-time clock for time-outs, and the texts of both.
 * Instants are time_t (UTC seconds, 64 bit), durations int64_t with the unit in the name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

time_t clock_now(void);      /* wall clock */
int64_t clock_now_us(void);  /* wall clock, microseconds */
int64_t clock_boot_ms(void); /* CLOCK_BOOTTIME: counts suspend, never steps */

/* Tests only: adds to the wall clock seen by clock_now() and by timers made afterwards. */
void clock_shift_for_test(int64_t seconds);

#define CLOCK_TEXT_MAX 32
/* RFC 3339 UTC ("2026-11-24T10:00:00Z"); years outside 0..9999 are clamped. Returns out. */
const char *clock_rfc3339(time_t t, char out[CLOCK_TEXT_MAX]);
/* Accepts fractional seconds and offsets, nothing behind the end. */
NODISCARD bool clock_parse_rfc3339(const char *text, time_t *ret_t);
/* IMF-fixdate (RFC 9110 5.6.7); "Tue, 24 Nov 2026 10:00:00 GMT". */
NODISCARD bool clock_parse_http_date(const char *text, time_t *ret_t);
/* Retry-After: delay in seconds or IMF-fixdate; gives the instant, clamped to [now+min_s,
 * now+max_s]. NULL or malformed: false. */
NODISCARD bool clock_parse_retry_after(const char *text, time_t now, int64_t min_s, int64_t max_s,
                                       time_t *ret_t);
/* "1h30m", "45d", "2w": number + s m h d w, combinable, no spaces. A bare number is refused. */
NODISCARD bool duration_parse(const char *text, int64_t *ret_s);
/* "1h30m", "44d 3h": the two largest units, for people; "ms" precision is not kept. */
const char *duration_text(int64_t s, char out[CLOCK_TEXT_MAX]);
