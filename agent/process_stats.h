/* process_*: what this process uses, under the names that every Prometheus client library gives
 * them. */
#pragma once

#include <time.h>

#include "agent/metrics.h"
#include "base/buf.h"

/* `since`: start of the process, wall clock. What cannot be read is left out. */
void process_stats_write(struct buf *out, enum metrics_format format, time_t since);
