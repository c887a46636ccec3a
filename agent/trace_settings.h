/* Where traces go: OpenTelemetry's standard variables.
 *
 *   OTEL_EXPORTER_OTLP_TRACES_ENDPOINT     as it is; else OTEL_EXPORTER_OTLP_ENDPOINT + /v1/traces
 *   OTEL_EXPORTER_OTLP_[TRACES_]HEADERS    name=value,... percent-encoded
 *   OTEL_EXPORTER_OTLP_[TRACES_]TIMEOUT    milliseconds, 10000
 *   OTEL_EXPORTER_OTLP_[TRACES_]CERTIFICATE   trust for the collector
 *   OTEL_EXPORTER_OTLP_[TRACES_]PROTOCOL   grpc is not spoken; http/json is, whatever it says
 *   OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_SCHEDULE_DELAY
 *   OTEL_SDK_DISABLED=true, OTEL_TRACES_EXPORTER=none   off
 *
 * Without an endpoint tracing is off. */
#pragma once

#include "base/json.h"
#include "base/strv.h"

struct trace_settings {
    char *url;
    char *ca_file;       /* or NULL */
    struct strv headers; /* "Name: value"; may be secrets */
    int64_t timeout_ms, delay_ms;
    json_t *resource; /* attributes */
};

/* False: tracing is off. What cannot be used is logged, once. */
bool trace_settings_read(struct trace_settings *ret);
void trace_settings_done(struct trace_settings *s);
/* One attribute of OTLP's JSON. */
json_t *trace_attribute(const char *name, const char *value);
