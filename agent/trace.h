/* One run of a certificate as an OpenTelemetry trace: a span for the whole, and one below it for
 * each thing that was done, in order. The trace's id ends with the attempt's, by which log lines,
 * history and hooks are found. Costs nothing while tracing is off. */
#pragma once

#include "agent/trace_export.h"
#include "base/err.h"

struct trace;
struct trace_subject {
    const char *run; /* "renew", "deploy", ... */
    const char *attempt, *certificate, *issuer;
    const char *reason; /* or NULL */
};
/* NULL when x is: all functions below take that. */
struct trace *trace_begin(struct trace_export *x, const struct trace_subject *subject);
/* It goes on with an attempt of before a restart. */
void trace_set_attempt(struct trace *t, const char *attempt);
/* Something else is done from now on. Names in the text do not become part of the span's name. */
void trace_step(struct trace *t, const char *text);
/* Hands all spans over and frees the trace. e: NULL when nothing failed. */
void trace_end(struct trace *t, const char *result, const struct err *e);
