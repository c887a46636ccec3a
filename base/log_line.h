/* One event on its way into the log, and the three forms it takes there. Belongs to log.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"

#define LOG_FIELDS_MAX 24

struct log_field {
    const char *name; /* borrowed */
    char *value;      /* owned; escaped */
};

struct log_line {
    enum log_level level;
    int64_t at_us; /* wall clock */
    const char *file;
    int line;
    char *event; /* owned; escaped */
    struct log_field fields[LOG_FIELDS_MAX];
    size_t n_fields;
};

void log_line_init(struct log_line *l, enum log_level level, const char *file, int line,
                   const char *event);
/* NULL values, names that are there already, and what is too much are skipped. */
void log_line_add(struct log_line *l, const char *name, const char *value);
void log_line_done(struct log_line *l);

/* Each adds to b: a line with its newline, or one datagram of the journal's native protocol. */
void log_line_text(const struct log_line *l, bool color, struct buf *b);
void log_line_json(const struct log_line *l, struct buf *b);
void log_line_journal(const struct log_line *l, struct buf *b);

static inline void log_line_done_p(struct log_line *l)
{
    log_line_done(l);
}
#define auto_log_line __attribute__((cleanup(log_line_done_p)))
