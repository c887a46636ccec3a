/* deploy.json of one certificate: the generation all outputs converge to, and per output and server
 * how far that got. Saved before each step that needs it, so that a start goes on where a kill -9
 * stopped. A plain value with its JSON form. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "agent/config.h"
#include "base/err.h"
#include "base/json.h"

enum deploy_stage {
    DEPLOY_IDLE,        /* nothing under way; `outcome` says how the last one ended */
    DEPLOY_BASELINE,    /* checks run and endpoints probed, nothing touched */
    DEPLOY_SWITCH,      /* live link and outputs are being switched to `target` */
    DEPLOY_RELOAD,      /* check and reload of the servers */
    DEPLOY_PROVE,       /* handshakes until the new leaf is seen */
    DEPLOY_BACK_SWITCH, /* the same three on the way back; `target` is the old generation again */
    DEPLOY_BACK_RELOAD,
    DEPLOY_BACK_PROVE,
};
const char *deploy_stage_name(enum deploy_stage stage);
bool deploy_stage_is_back(enum deploy_stage stage);

enum deploy_outcome {
    OUTCOME_NONE,
    OUTCOME_PROVEN,      /* every endpoint showed the new leaf */
    OUTCOME_DEPLOYED,    /* written and loaded as far as possible, not proven (yet) */
    OUTCOME_ROLLED_BACK, /* the old generation is live again */
    OUTCOME_REFUSED,     /* stopped at the baseline: nothing was written */
    OUTCOME_FAILED,      /* could not be written or loaded, and there was nothing to go back to */
};

enum baseline {
    BASELINE_UNKNOWN,
    BASELINE_SILENT, /* did not answer */
    BASELINE_OLD,    /* served the generation that was live */
    BASELINE_OTHER,  /* served something else */
};

enum staple_seen {
    STAPLE_UNKNOWN, /* we have none, or nobody looked */
    STAPLE_OURS,
    STAPLE_ABSENT,
    STAPLE_OLDER, /* an older one, still good for the leaf */
    STAPLE_OTHER, /* another one that is as good: the server fetches for itself */
    STAPLE_WRONG, /* one that clients refuse, or none where they want one */
};

struct endpoint_row {
    char *connect, *address, *sni; /* address: numeric; NULL when the name could not be resolved */
    enum baseline baseline;
    bool answered;           /* at the last probe */
    bool serves_live;        /* at the last probe: the leaf that should be served */
    enum staple_seen staple; /* at the last probe */
    bool stapled;            /* at the baseline, whatever it was */
    char *sha256;            /* of the leaf served last, or NULL */
    time_t not_after;        /* of that leaf */
    int64_t handshake_ms;
    char version[16], cipher[64];
    char trust[20]; /* "ok" or what is wrong with the chain (pki/cert.h); "": nobody asked */
    time_t checked_at;
    struct err *error;
};

enum server_state {
    SERVER_PENDING,
    SERVER_CHECKED,
    SERVER_RELOADED,
    SERVER_PROVEN,
    SERVER_UNPROVEN,
    SERVER_ROLLED_BACK,
};

struct server_row {
    char *name;
    enum server_state state;
    time_t reloaded_at;
    int64_t reload_ms;
    bool reloaded;    /* since the switch of this deployment */
    bool not_running; /* there was no process to reload */
    struct err *error;
    struct endpoint_row *endpoints;
    size_t n_endpoints;
};

struct output_row {
    char *type, *path;
    int64_t generation; /* 0: nothing of ours is there */
    struct err *error;
};

struct deploy_record {
    int64_t target;    /* everything converges to this generation */
    int64_t previous;  /* the one to go back to, 0: none */
    int64_t candidate; /* the generation that was given to a deployment last */
    /* On request, the candidate stays live although there are newer ones up to this; 0: no. */
    int64_t held_over;
    enum deploy_stage stage;
    enum deploy_outcome outcome;
    bool alone;      /* deployed by itself because a shared check or reload failed */
    bool stays;      /* something failed (error), but there is nothing fit to go back to */
    int failures;    /* in a row, for the candidate */
    time_t next_try; /* 0: none wanted */
    struct err *error;
    char *attempt;
    struct output_row *outputs;
    size_t n_outputs;
    struct server_row *servers;
    size_t n_servers;
};

/* NULL: an empty record. */
void deploy_record_read(struct deploy_record *r, const json_t *document);
json_t *deploy_record_to_json(const struct deploy_record *r);
void deploy_record_done(struct deploy_record *r);
/* Drops the rows of servers and outputs that the configuration does not have any more. */
void deploy_record_fit(struct deploy_record *r, const struct config_certificate *c);
/* Finds or adds. The pointer is valid until the next add. */
struct server_row *deploy_record_server(struct deploy_record *r, const char *name);
struct output_row *deploy_record_output(struct deploy_record *r, const char *type,
                                        const char *path);
void endpoint_row_done(struct endpoint_row *e);
void server_row_clear_endpoints(struct server_row *s);
struct endpoint_row *server_row_add_endpoint(struct server_row *s);
void server_row_done(struct server_row *s);
/* Proven, or loaded where there is no endpoint to prove it at. NULL: no. */
bool server_row_is_deployed(const struct server_row *s);
void output_row_done(struct output_row *o);

/* Members of the status document (product.md section 10). */
json_t *server_row_status(const struct server_row *s);
json_t *output_row_status(const struct output_row *o);
