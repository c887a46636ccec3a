/* The read-only HTTP listener (product.md section 8): the status page
 * (/, /page/N, /certificate/NAME), /status, /metrics, /healthz, /readyz. A busy
 * port is a warning and tried again, never fatal. */
#pragma once

#include "agent/manager.h"

struct listener;
struct listener *listener_new(struct manager *m); /* reads manager_config()->listen; empty: off */
void listener_free(struct listener *l);
