/* What people ask about an account, answered by the document everleaf.account/1:
 *     {"schema","exit","by":"agent|self","verb","issuer","directory","account":url,"status",
 *      "contact":[s],"key":{"type","thumbprint"},"error":error}
 * status and contact as the CA says, null where it did not. */
#pragma once

#include "agent/manager.h"

enum account_verb { ACCOUNT_SHOW, ACCOUNT_UPDATE, ACCOUNT_ROLLOVER, ACCOUNT_DEACTIVATE };
bool account_verb_parse(const char *text, enum account_verb *ret);
const char *account_verb_name(enum account_verb verb);
extern const char *const account_verb_names[]; /* NULL-terminated */

/* The configured issuer of that name, or the only one (NULL). NULL and ERR_CONFIG: there is none.
 */
const struct config_issuer *account_issuer(const struct config *config, const char *name,
                                           struct err **err);

struct account_request;
/* The document is borrowed; the handle is gone. */
typedef void account_request_fn(const json_t *document, void *userdata);
/* by: "agent" or "self". Calls back on a later turn. NULL and err: it cannot begin. */
NODISCARD struct account_request *account_request_start(struct manager *m, enum account_verb verb,
                                                        const char *issuer, const char *by,
                                                        account_request_fn *fn, void *userdata,
                                                        struct err **err);
/* The CA may have heard of it; a change of the key goes on. NULL is fine. */
void account_request_free(struct account_request *r);
/* A document for a request that did not begin, or that was not waited for. */
json_t *account_failure(const struct err *e, const char *by, int exit_status);
