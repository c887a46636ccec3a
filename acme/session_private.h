/* The inside of a session, for the files of acme/ that are parts of it: directory, requests,
 * account. */
#pragma once

#include "acme/directory.h"
#include "acme/nonces.h"
#include "acme/session.h"

struct session {
    struct session_settings settings; /* strings are our own */
    struct key *key;
    char *account_url;
    char *thumbprint;
    char *jwk;        /* JSON text */
    char *header_jwk; /* see jws.h; what stays the same is made once */
    char *header_kid;
    struct nonces nonces;
    time_t paused_until; /* 503 with Retry-After: everybody waits (failure F50) */

    struct request *requests; /* under way */

    struct directory *directory; /* or NULL */
    struct exchange *directory_fetch;
    struct directory_wait *directory_waits;

    struct registration *registration; /* under way, or NULL */
    struct account_job *account_jobs;
    bool maybe_registered; /* a newAccount of ours may have reached the CA */
};

/* End of the session: what is under way stops, the handles stay their owners' and are dead. */
void session_cancel_requests(struct session *s);
void session_cancel_directory(struct session *s);
void session_cancel_account(struct session *s);

/* Remembers a 503 that said when to come back. */
void session_note(struct session *s, const struct err *e);
/* True (and err set) while everybody has to wait. */
bool session_is_paused(const struct session *s, struct err **err);
