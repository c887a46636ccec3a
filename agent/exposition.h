/* /metrics: what is counted (agent/metrics) and what is read off the certificates at the moment of
 * the scrape, as text of either format. The names are product.md section 7's. */
#pragma once

#include "agent/manager.h"
#include "agent/metrics.h"

#define EXPOSITION_MAX (256 * 1024 * 1024) /* far over what 10,000 certificates need */
#include "base/buf.h"

/* About 2 KiB a certificate. */
void exposition_write(const struct manager *m, enum metrics_format format, struct buf *out);
