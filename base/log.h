/* Log lines: an event plus fields. To the journal (native fields), as JSON lines, or as text on
 * stderr. The only mutable globals of the program live in log.c.
 *
 *     log_info("certificate renewed", "certificate", name, "serial", serial);
 *
 * Field names become EVERLEAF_<NAME> in the journal; values are const char *, NULL is skipped. All
 * values are escaped (text_escape), so foreign text may be passed. Secrets may not. A blocked or
 * vanished log target never blocks or ends the program: lines are dropped and counted. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JOURNAL, LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

/* AUTO: journal when $JOURNAL_STREAM matches stderr, text on a terminal, else JSON lines. */
void log_init(enum log_format format, enum log_level level);
void log_set_color(bool color);
unsigned long log_dropped(void);

void log_event(enum log_level level, const char *file, int line, const char *event, ...)
    __attribute__((sentinel));
/* Event with an error's text, kind, step, problem, hint as fields. */
void log_failure_at(enum log_level level, const char *file, int line, const struct err *e,
                    const char *event, ...) __attribute__((sentinel));

#define log_debug(...) log_event(LOG_LEVEL_DEBUG, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_info(...) log_event(LOG_LEVEL_INFO, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_warning(...) log_event(LOG_LEVEL_WARNING, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_error(...) log_event(LOG_LEVEL_ERROR, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_failure(level, e, ...)                                                                 \
    log_failure_at(level, __FILE__, __LINE__, e, __VA_ARGS__, NULL)
