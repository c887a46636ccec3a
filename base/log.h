/* Log lines: an event plus fields. To the journal (native fields), as JSON lines, or as text on
 * stderr. The only mutable globals of the program live in log.c.
 *
 *     log_info("certificate renewed", "certificate", name, "serial", serial);
 *
 * Field names become EVERLEAF_<NAME> in the journal and members of the JSON line, whose own are
 * "time", "level", "event" and, for those of base/log_catalog.c, "message_id" (MESSAGE_ID in the
 * journal). Values are const char *, NULL is skipped, and what is said twice
 * counts once (the first). All values are escaped (text_escape) and cut at 4 KiB, so foreign text
 * may be passed. Secrets may not. A blocked or vanished log target never blocks or ends the
 * program: lines are dropped and counted. Any thread may log. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JOURNAL, LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

/* AUTO: journal when $JOURNAL_STREAM matches stderr, text on a terminal, else JSON lines. Without a
 * journal on this machine, JOURNAL gives JSON lines, too. To be called first of all in main(): it
 * puts /dev/null where descriptors 0 to 2 are closed, so that no file of ours ever becomes
 * "stderr", and ignores SIGPIPE. Later calls change format and level. */
void log_init(enum log_format format, enum log_level level);
void log_set_color(bool color);
unsigned long log_dropped(void);

/* Tests only: another socket than journald's. */
void log_set_journal_for_test(const char *path);

void log_event(enum log_level level, const char *file, int line, const char *event, ...)
    __attribute__((sentinel));
/* Event with an error (or NULL) as the fields error (its text), kind, step, problem, where and
 * hint. */
void log_failure_at(enum log_level level, const char *file, int line, const struct err *e,
                    const char *event, ...) __attribute__((sentinel));

#define log_debug(...)             log_event(LOG_LEVEL_DEBUG, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_info(...)              log_event(LOG_LEVEL_INFO, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_warning(...)           log_event(LOG_LEVEL_WARNING, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_error(...)             log_event(LOG_LEVEL_ERROR, __FILE__, __LINE__, __VA_ARGS__, NULL)
#define log_failure(level, e, ...) log_failure_at(level, __FILE__, __LINE__, e, __VA_ARGS__, NULL)
