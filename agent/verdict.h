/* What a deployment's rows amount to. Pure functions of the record and the configuration. */
#pragma once

#include "agent/config.h"
#include "agent/deploy_record.h"

/* Judges the endpoints after a proof (or a re-check): sets each server row's state and returns the
 * outcome: OUTCOME_PROVEN when every endpoint is settled and there is at least one, else
 * OUTCOME_DEPLOYED. *ret_guilty gets the reason for a rollback (an endpoint that served the old
 * leaf at the baseline and does not show the new one) or NULL; *ret_alarm an alarm "unproven" about
 * endpoints that answer with something else or that somebody configured and that stay silent, or
 * NULL. Both are owned by the caller. */
enum deploy_outcome verdict_proof(struct deploy_record *r, const struct config_certificate *c,
                                  struct err **ret_guilty, struct err **ret_alarm);
/* Whether there is a row for every endpoint of the server that concerns the certificate: there is
 * none of one that the configuration has got since the last deployment. */
bool verdict_knows_server(const struct deploy_record *r, const struct config_server *server,
                          const char *certificate);
/* "proven at 2 endpoints", "deployed, not proven: no endpoint", ... for people; caller frees. */
char *verdict_text(const struct deploy_record *r);
/* Whether some endpoint answers, but not with what is live. */
bool verdict_serves_other(const struct deploy_record *r, const struct config_certificate *c);
