/* The alerts of one message: as the JSON of Alertmanager's webhook (version 4), so that what
 * receives those can receive these, with a "text" for people beside it. */
#pragma once

#include "agent/alert_rule.h"
#include "base/json.h"

#define ALERT_MESSAGE_MAX 100 /* alerts in one message; how many more there are is told */

struct alert_message;
struct alert_message *alert_message_new(void);
void alert_message_free(struct alert_message *a); /* NULL is fine */

/* An alert as it is kept: labels and annotations. */
json_t *alert_labels(const struct alert_condition *c);
json_t *alert_annotations(const struct alert_condition *c);

/* ends_at 0: it goes on. */
void alert_message_add(struct alert_message *a, const json_t *labels, const json_t *annotations,
                       time_t starts_at, time_t ends_at);
size_t alert_message_count(const struct alert_message *a);
bool alert_message_is_firing(const struct alert_message *a); /* any of them */
char *alert_message_json(const struct alert_message *a);     /* caller frees */
char *alert_message_text(const struct alert_message *a); /* a line or two for each; caller frees */
