/* The checks and reloads of one server, for all certificates that wait for it: never two at once,
 * one reload for many certificates, none faster than one a minute after a failed one (a rollback's
 * own is never delayed).
 *
 * A deployment takes a pass before it touches any file the server reads, and keeps it until it is
 * proven or rolled back. Passes are shared, except after a shared check or reload failed: then its
 * certificates come back one by one with exclusive passes, and only those that fail again are to
 * blame.
 *
 * After a failed batch nothing is reloaded until each of its members has put its old files back (it
 * asks for a ROLLOUT_BACK reload, or gives its pass up). */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "agent/config.h"
#include "agent/services.h"

struct rollout;
struct rollout *rollout_new(const struct services *services, struct config *config,
                            const struct config_server *server);
void rollout_free(struct rollout *r);
/* After a reload of the configuration; takes effect when nothing runs. The configuration (of which
 * the server is a part) is referenced. */
void rollout_set_server(struct rollout *r, struct config *config,
                        const struct config_server *server);
const struct config_server *rollout_server(const struct rollout *r);

/* A certificate of this server is being renewed and will soon want a reload: batches wait for it
 * (at most 5 s). Each expect is undone once. */
void rollout_expect(struct rollout *r);
void rollout_unexpect(struct rollout *r);

struct rollout_pass;
typedef void rollout_pass_fn(void *userdata); /* the pass is granted */
struct rollout_pass *rollout_enter(struct rollout *r, bool exclusive, rollout_pass_fn *fn,
                                   void *userdata);
void rollout_leave(struct rollout_pass *pass); /* NULL is fine; also cancels the waiting */
/* Its new files stay although its batch failed: nobody need wait for the old ones. */
void rollout_stay(struct rollout_pass *pass);
/* Whether other certificates are inside as well. */
bool rollout_pass_has_company(const struct rollout_pass *pass);

enum rollout_kind {
    ROLLOUT_CHECK,   /* the server's own check only; callers that wait together share one run */
    ROLLOUT_FORWARD, /* check, then reload, together with other certificates */
    ROLLOUT_BACK,    /* the same with the old files, at once */
};

struct rollout_result {
    const struct err *error;   /* NULL: good */
    bool check_failed;         /* it was the check: nothing was reloaded */
    enum reload_result reload; /* RELOAD_DONE, ..._NOT_RUNNING, ..._NOTHING, or ..._FAILED */
    bool shared;               /* other certificates were in the same batch */
    int64_t took_ms;           /* of the reload */
};

struct rollout_call;
typedef void rollout_fn(const struct rollout_result *result, void *userdata);
/* `pass` may be NULL for ROLLOUT_CHECK. Strings of the event are copied. Calls back on a later
 * turn; the handle is gone then. */
struct rollout_call *rollout_start(struct rollout *r, enum rollout_kind kind,
                                   struct rollout_pass *pass, const struct hook_event *event,
                                   rollout_fn *fn, void *userdata);
void rollout_call_free(struct rollout_call *c);
