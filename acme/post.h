/* One signed POST with what belongs around it: the directory for its URL, and other tries after
 * transient failures. For the operations of few requests (account, revocation); orders have their
 * step table. For acme/ only. */
#pragma once

#include "acme/directory.h"
#include "acme/request.h"

struct post_spec {
    const char *operation;
    const char *url;                                  /* or NULL: from the directory */
    const char *(*url_of)(const struct directory *d); /* NULL: the CA does not offer it */
    const char *payload;
    enum request_key key;
};

/* As request_start; e is of the last try. The handle ends with the callback; freeing it there is
 * harmless, later not. Ends before the session does. */
struct post;
struct post *post_start(struct session *s, const struct post_spec *spec, request_fn *fn,
                        void *userdata);
void post_free(struct post *p); /* cancels; NULL is fine */
/* Inside the callback: whether an earlier try ended without a reply, and so may have had its
 * effect. */
bool post_may_have_arrived(const struct post *p);

/* The CA as somebody with another key sees it, without an account: for what is signed by a
 * certificate's key, and for asking whose key the CA knows. Freed by the caller; s must outlive it.
 */
struct session *post_session_of_key(const struct session *s, struct key *key);
