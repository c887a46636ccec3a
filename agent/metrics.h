/* Counters and histograms of the running process. Gauges are not kept here: they are read off the
 * certificates when somebody scrapes (agent/exposition). Labels are few and closed; the label text is
 * built by the caller's enum, never from foreign strings. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum metric_counter {
    METRIC_RENEWALS,         /* result */
    METRIC_RENEWAL_FAILURES, /* reason: error kind */
    METRIC_ACME_REQUESTS,    /* issuer, operation, code */
    METRIC_DEPLOYS,          /* result */
    METRIC_ROLLBACKS,        /* certificate */
};

enum metric_histogram {
    METRIC_RENEWAL_DURATION,
    METRIC_ACME_DURATION,      /* issuer */
    METRIC_HOOK_DURATION,      /* server */
    METRIC_ENDPOINT_HANDSHAKE, /* none: all endpoints */
};

struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *m);

/* Adds n (0 makes the series exist) to the series with these label values, NULL-terminated, in the order
 * of the comment above. */
void metrics_count(struct metrics *m, enum metric_counter counter, uint64_t n, ...)
    __attribute__((sentinel));
/* One observation; label NULL for a histogram without one. */
void metrics_observe(struct metrics *m, enum metric_histogram histogram, const char *label,
                     int64_t took_ms);
/* Appends all families as Prometheus text. */
void metrics_write(const struct metrics *m, struct buf *out);
/* Appends a label value with \, " and newline escaped. */
void metrics_label_value(struct buf *out, const char *value);
