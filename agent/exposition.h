/* /metrics: what is counted (agent/metrics) and what is read off the certificates at the moment of the
 * scrape, as Prometheus text. */
#pragma once

#include "agent/manager.h"
#include "base/buf.h"

void exposition_write(const struct manager *m, struct buf *out);
