/* The account: found or registered, with EAB (RFC 8555 7.3, 7.3.4). The key is on disk before this
 * starts; with `maybe_registered` (a key whose newAccount may have reached the CA) the account is
 * looked up by onlyReturnExisting first, so that a lost reply never costs a one-shot EAB or a
 * second account. Concurrent callers share one registration. */
#pragma once

#include "acme/session.h"

struct account_settings {
    struct strv contact; /* "mailto:..." */
    bool terms_agreed;
    const char *eab_kid;           /* or NULL */
    const struct secret *eab_hmac; /* decoded bytes */
    bool maybe_registered;
};

/* On success session_account_url() is set; json is what to keep (url, contact, terms, status,
 * created), borrowed. Errors: terms not agreed -> ERR_CONFIG with the terms' URL in the hint; EAB
 * required and absent -> ERR_CONFIG; userActionRequired -> ERR_REFUSED with the link. */
struct account_job;
typedef void account_fn(const json_t *json, const struct err *e, void *userdata);
struct account_job *account_ensure(struct session *s, const struct account_settings *settings,
                                   account_fn *fn, void *userdata);
void account_job_free(struct account_job *j);
