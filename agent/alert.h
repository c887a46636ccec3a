/* Alerts straight from the agent (`agent.alerts`): a message when something begins, another when it
 * is over, again after `repeat` while it lasts. What changes at the same time is one message, and
 * there are only so many messages an hour. What could not be delivered is in the next message.
 * Nothing is kept on disk: after a restart what still lasts is told again. */
#pragma once

#include "agent/manager.h"

struct alerts;
struct alerts *alerts_new(struct manager *m);
void alerts_free(struct alerts *a); /* NULL is fine */
/* Something happened, or the configuration is another one: look soon. */
void alerts_poke(struct alerts *a);
