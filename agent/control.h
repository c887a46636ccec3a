/* The control socket: one JSON object a line, both ways. A request is {"method": "...", ...}; the
 * answer is any number of {"activity": text, "certificate": name} lines and then one line that has
 * either "result" or "error" (err_to_json). Requests are at most 64 KiB, connections at most 32.
 *
 * Methods: "status" {"name"?} -> the status document; "renew" {"names": [..], "force", "due_only",
 * "wait"}, "deploy" {"names", "wait"}, "rollback" {"names", "generation"?, "wait"}, "revoke"
 * {"names", "reason"?, "now", "wait"} -> the renew document; "account" {"verb",
 * "issuer"?} -> the account document; "reload" -> null or error. Reading is
 * for whoever may connect (mode 0660, root and the agent's group); changing for root and the
 * agent's user, checked by SO_PEERCRED. */
#pragma once

#include "agent/manager.h"
#include "base/json.h"

/* Server side */
struct control;
struct control_settings {
    struct manager *manager;
    const char *path;
    void (*reload)(void *userdata); /* read the configuration again (as SIGHUP) */
    void *userdata;
};
NODISCARD struct control *control_new(const struct control_settings *settings, struct err **err);
void control_free(struct control *c); /* removes the socket; connected clients see the end */
/* To be called by the manager's activity callback: passes it on to clients that wait. */
void control_activity(struct control *c, const char *certificate, const char *text);

/* Client side: blocking, for one-shot commands. NULL and err; code ECONNREFUSED or ENOENT: no agent
 * is there; EACCES: no permission. `activity` may be NULL. The result is the caller's. */
/* Whether an agent listens there. */
bool control_is_there(const char *path);
typedef void control_activity_fn(const char *certificate, const char *text, void *userdata);
NODISCARD json_t *control_call(const char *path, const json_t *request,
                               control_activity_fn *activity, void *userdata, struct err **err);
