/* What is worth an alert, read off the certificates: the same names and shares of the lifetime as
 * in packaging/monitoring/everleaf.rules.yml, for those without Prometheus. Pure. */
#pragma once

#include "agent/manager.h"

struct alert_condition {
    const char *name;                                     /* "EverleafNotServed" */
    const char *severity;                                 /* "warning" or "critical" */
    int64_t hold_s;                                       /* must last so long before it is told */
    const char *certificate, *server, *endpoint, *issuer; /* what it is about; NULL: not that */
    const char *summary;                                  /* one line for people */
    const struct err *error;                              /* the cause, with advice; or NULL */
};
/* Everything is borrowed for the call. */
typedef void alert_fn(const struct alert_condition *condition, void *userdata);

/* Calls fn for each condition that is true now. */
void alert_conditions(const struct manager *m, time_t now, alert_fn *fn, void *userdata);
