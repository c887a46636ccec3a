/* One alert message on its way: a POST to a webhook, or a command that gets the JSON as its
 * standard input and EVERLEAF_ALERT_STATUS and EVERLEAF_ALERT_TEXT in its environment. */
#pragma once

#include "agent/alert_message.h"
#include "agent/config.h"
#include "agent/services.h"

/* e: NULL when it was taken; borrowed. The handle is gone at the callback. */
struct alert_send;
typedef void alert_send_fn(const struct err *e, void *userdata);
struct alert_send *alert_send_start(const struct services *services,
                                    const struct config_alerts *config,
                                    const struct alert_message *message, alert_send_fn *fn,
                                    void *userdata);
void alert_send_free(struct alert_send *s); /* cancels; NULL is fine */
