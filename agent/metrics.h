/* Counters and histograms of the running process, and how any metric is written as text. Gauges are
 * kept here only when nothing else remembers their value; most are read off the certificates when
 * somebody scrapes (agent/exposition).
 * Labels are few and closed; the label text is built by the caller's enum, never from foreign
 * strings. Names and label values are interfaces: only ever added. */
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
    METRIC_STAPLE_FAILURES,  /* certificate */
    METRIC_CRL_FAILURES,
};

enum metric_gauge {
    METRIC_CLOCK_SKEW, /* issuer */
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

/* Adds n (0 makes the series exist) to the series with these label values, NULL-terminated, in the
 * order of the comment above. A code that is no usual HTTP status becomes its class ("4xx") or
 * "other". */
void metrics_count(struct metrics *m, enum metric_counter counter, uint64_t n, ...)
    __attribute__((sentinel));
/* The value of the series from now on; labels as above. */
void metrics_set(struct metrics *m, enum metric_gauge gauge, int64_t value, ...)
    __attribute__((sentinel));
/* False: it was never set. */
bool metrics_get(const struct metrics *m, enum metric_gauge gauge, int64_t *ret, ...)
    __attribute__((sentinel));
/* False: it was never set. */
bool metrics_get(const struct metrics *m, enum metric_gauge gauge, int64_t *ret, ...)
    __attribute__((sentinel));
/* One observation; label NULL for a histogram without one. */
void metrics_observe(struct metrics *m, enum metric_histogram histogram, const char *label,
                     int64_t took_ms);
/* Makes a histogram's series exist without an observation. */
void metrics_expect(struct metrics *m, enum metric_histogram histogram, const char *label);
/* Makes all series of an issuer exist, so that the first event is seen as an increase. */
void metrics_expect_issuer(struct metrics *m, const char *issuer);

enum metrics_format {
    METRICS_PROMETHEUS,  /* text format 0.0.4 */
    METRICS_OPENMETRICS, /* OpenMetrics 1.0 without its "# EOF" */
    METRICS_TEXTFILE,    /* as METRICS_PROMETHEUS; without process_* (agent/textfile) */
};
enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

/* Appends all families. */
void metrics_write(const struct metrics *m, enum metrics_format format, struct buf *out);
/* Appends HELP and TYPE of a family. */
void metrics_write_head(struct buf *out, enum metrics_format format, const char *name,
                        enum metric_type type, const char *help);
/* Appends a label value with \, " and newline escaped. */
void metrics_label_value(struct buf *out, const char *value);
/* Appends milliseconds as seconds: "0.25", "3.0". */
void metrics_seconds(struct buf *out, int64_t ms);
