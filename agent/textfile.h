/* Metrics for node_exporter's textfile collector, for those who renew by timer: the text of
 * /metrics without process_*, which node_exporter has of its own. Gauges hold absolute times, so
 * that alerts about certificates go on being right while the file is old. */
#pragma once

#include "agent/manager.h"

/* Atomically: a reader sees the old file or the new one. Waits for the disk: for one-shot commands.
 * Only the file's folder must be there; world-readable, because node_exporter is somebody else. */
NODISCARD bool textfile_write(const struct manager *m, const char *path, struct err **err);
