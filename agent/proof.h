/* Proof over TLS: which leaf do the endpoints of a server show? Two ways to run it for one
 * certificate and one server: a survey before anything is switched (one look at every address, rows
 * are made anew) and a proof afterwards (looks again until the expected leaf is seen or the
 * deadline passes).
 *
 * The rows of the server are updated in place. The deadline counts for endpoints that answered at
 * the baseline; one that was silent then gets PROOF_PATIENCE_MS only: nothing tells that it will
 * ever come. */
#pragma once

#include "agent/config.h"
#include "agent/deploy_record.h"
#include "agent/services.h"

#define PROOF_PATIENCE_MS 2000

struct proof_settings {
    const struct services *services;
    const struct config_certificate *certificate;
    const struct config_server *server;
    struct server_row *row;
    /* The leaf that counts as ours; for a survey the one live now, or NULL. */
    const char *live_sha256;
    int64_t generation; /* of that leaf: its staple is looked for as well; 0: not */
    /* Boot clock; until then the processes of before a reload may still answer beside the new ones.
     */
    int64_t overlap_until_ms;
    bool one_look; /* proof: a single look at each row, no waiting (re-checks) */
    bool only_old; /* proof of a rollback: waits only for rows that served it before */
};

struct proof;
typedef void proof_fn(void *userdata);
/* Both call back on a later turn, once every row is settled; freeing the handle cancels, the handle
 * is gone at the callback. What was learnt stands in the rows. */
struct proof *survey_start(const struct proof_settings *settings, proof_fn *fn, void *userdata);
struct proof *proof_start(const struct proof_settings *settings, proof_fn *fn, void *userdata);
void proof_free(struct proof *p);

/* Whether an endpoint of a server is one for the certificate. */
bool proof_concerns(const struct config_endpoint *e, const char *certificate);
/* Whether the endpoint is proven, with its siblings' help where one address is enough. */
bool proof_row_is_settled(const struct config_server *server, const struct server_row *row,
                          const struct endpoint_row *e);
