/* What a verb wants done by whoever has the state directory: the running agent is asked first,
 * without one this process does the work. Between the two there is no gap: while another process
 * has the state, both are tried in turn. */
#pragma once

#include "agent/cmd.h"
#include "agent/manager.h"
#include "base/json.h"

struct errand;

struct errand_type {
    /* Is the wish possible by this configuration? NULL: always. */
    bool (*check)(const struct config *config, void *userdata, struct err **err);
    /* For the control socket. */
    json_t *(*request)(void *userdata);
    /* Begins with the work in this process; errand_answer() ends it, on a later turn. False: it did
     * not begin, err says why (ERR_CONFIG is exit 2). */
    bool (*begin)(struct errand *e, struct manager *m, void *userdata, struct err **err);
    /* What is known by now, when it is interrupted after begin; `why` belongs into it. */
    json_t *(*so_far)(const struct err *why, void *userdata);
    /* Forgets what begin made. What is on disk stays good; the manager ends after it. */
    void (*stop)(void *userdata);
    /* The document of a wish that never began; has "exit" and "error" as all documents. */
    json_t *(*failure)(const struct err *e, const char *by, int exit_status);
    /* For people; "error" of the document itself is told by the errand. */
    void (*print)(const json_t *document, void *userdata);
    /* After the work in this process, while the manager is there. NULL: nothing. */
    void (*after)(const struct manager *m, void *userdata);
};

/* Does it and prints the document; returns the exit status, which is the document's "exit". */
int errand_run(const struct cmd_options *options, const struct errand_type *type, void *userdata);
/* The same for a wish that cannot even be asked for: wrong usage. */
int errand_refuse(const struct cmd_options *options, const struct errand_type *type, void *userdata,
                  const struct err *e);
/* The answer of the work in this process; copied. */
void errand_answer(struct errand *e, const json_t *document);
