/* Finished spans on their way to a collector: OTLP over HTTP with JSON. Batched; bounded in memory;
 * what a collector does not take is dropped, because a renewal matters more than its trace. */
#pragma once

#include "base/http.h"
#include "base/json.h"
#include "base/loop.h"

struct trace_export;
/* NULL: tracing is off (agent/trace_settings). Both are borrowed; not called back before the loop
 * turns. */
struct trace_export *trace_export_new(struct loop *loop, struct http *http);
void trace_export_free(struct trace_export *x); /* what was not sent is dropped; NULL is fine */
/* Takes the span. */
void trace_export_add(struct trace_export *x, json_t *span);
/* For one-shot commands: turns the loop until everything is sent or dropped, 5 s at most. NULL is
 * fine. */
void trace_export_flush(struct trace_export *x);
