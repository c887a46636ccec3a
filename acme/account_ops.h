/* What can be done with an account that exists (RFC 8555 7.3.2, 7.3.6). All of it may be asked for
 * again after a lost reply. A new key: acme/rollover.h. */
#pragma once

#include "acme/session.h"

/* json: the account as the CA sees it ("status", "contact", ...; NULL when it did not say); one of
 * json and e is for the caller to look at, both are borrowed. Without an account e is ERR_CONFIG.
 * The handle ends with the callback; freeing it there is harmless, later not. Ends before the
 * session does. */
struct account_op;
typedef void account_op_fn(const json_t *json, const struct err *e, void *userdata);
struct account_op *account_show(struct session *s, account_op_fn *fn, void *userdata);
/* contact: "mailto:..." each; an empty list removes what is there. */
struct account_op *account_update(struct session *s, const struct strv *contact, account_op_fn *fn,
                                  void *userdata);
/* For ever; no order can be made with the key and the account afterwards. The session keeps both:
 * what becomes of them is the owner's. */
struct account_op *account_deactivate(struct session *s, account_op_fn *fn, void *userdata);
void account_op_free(struct account_op *o); /* cancels (the CA may have heard of it) */
