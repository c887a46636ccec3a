/* One CA as one agent talks to it: directory, nonce pool, account. Shared by all orders of an
 * issuer.
 *
 * RFC 8555. The session does no file access: what must survive is given to the owner by callbacks.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acme/gate.h"
#include "base/http.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/worker.h"
#include "pki/key.h"

struct session_settings {
    struct loop *loop;
    struct worker *worker;
    struct http *http;
    const char *directory_url;
    const char *ca_file; /* or NULL */
    const char *proxy;   /* as in base/http.h */
    int64_t timeout_ms;  /* per request */
    struct gate *gate;   /* borrowed: every request passes it; or NULL */
    /* One finished exchange, for metrics; operation: "directory", "new-nonce", "new-account",
     * "new-order", "order", "authorization", "challenge", "finalize", "certificate", "deactivate",
     * "renewal-info", "revoke", "account", "key-change"; code 0: no reply. */
    void (*on_exchange)(const char *operation, int code, int64_t took_ms, void *userdata);
    /* What the CA's clock says (the Date of a reply), as it arrives; may be NULL. */
    void (*on_date)(time_t date, void *userdata);
    void *userdata;
};

struct session;
struct session *session_new(const struct session_settings *settings); /* strings are copied */
void session_free(struct session *s); /* requests under way are cancelled */

/* Account key (ref taken) and account URL (NULL: unknown yet), as restored from disk or made new.
 */
void session_set_account(struct session *s, struct key *key, const char *account_url);
struct key *session_key(const struct session *s);         /* borrowed */
const char *session_account_url(const struct session *s); /* borrowed, NULL if none */
const char *session_thumbprint(const struct session *s);  /* borrowed, NULL without key */
struct loop *session_loop(const struct session *s);
struct worker *session_worker(const struct session *s);
