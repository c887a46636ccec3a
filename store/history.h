/* What happened to a certificate: certificates/NAME/history.jsonl, one JSON object per line. */
#pragma once

#include "base/json.h"
#include "store/save.h"

/* One line appended (fsync is not awaited), cut to the newest 500 lines now and then. `attempt` and
 * `text` may be NULL. */
void state_history_add(struct state *s, const char *certificate, const char *event,
                       const char *attempt, const char *text);
/* [{"at","event","attempt","text"}], oldest first; never NULL. Torn lines are skipped. */
json_t *state_history(struct state *s, const char *certificate);
