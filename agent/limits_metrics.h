/* What is counted for the issuers, as metrics. */
#pragma once

#include "agent/manager.h"
#include "agent/metrics.h"

/* Appends the families everleaf_rate_limit_remaining and everleaf_issuer_paused. */
void limits_metrics_write(const struct manager *m, enum metrics_format format, time_t now,
                          struct buf *out);
