/* Whether a CA is down, seen from one process: requests that get no reply, or nothing but 5xx, one
 * after the other. While it is, one try at a time finds out whether it is back, however many wait
 * for it. Pure: the wall clock is an argument. */
#pragma once

#include <stdbool.h>
#include <time.h>

#define OUTAGE_FAILURES 3           /* in a row; one lost reply is no outage */
#define OUTAGE_TRY_S    300         /* between tries */
#define OUTAGE_PAUSE_S  (7 * 86400) /* the longest Retry-After that is believed */

struct outage {
    int failures;    /* requests, in a row */
    time_t since;    /* 0: the CA is up, as far as we know */
    time_t next_try; /* while it is down, or has asked for a pause */
};

/* No reply, or 5xx. True when the CA is taken for down from now on. */
bool outage_failed(struct outage *o, time_t now);
/* Any other reply. True when that ends it. */
bool outage_answered(struct outage *o);
/* The CA said when to come back (503 with Retry-After): nobody asks before. */
void outage_pause(struct outage *o, time_t now, time_t until);
/* May work begin? While it is down: true once in OUTAGE_TRY_S, and that is the try. */
bool outage_may_try(struct outage *o, time_t now);
/* When the next try may be; 0: at any time. */
time_t outage_next_try(const struct outage *o, time_t now);
