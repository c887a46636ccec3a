/* One HTTP exchange with the CA: the session's trust, time-out, body limit and rate, counted for
 * metrics. */
#pragma once

#include "acme/session.h"

struct exchange_spec {
    const char *operation; /* a static string of session.h's list */
    const char *method;    /* static, too */
    const char *url;
    const char *accept; /* or NULL */
    const char *body;   /* of a POST: a JWS */
};

/* One of reply and e, both borrowed; e says operation and host. Not called from inside start. */
struct exchange;
typedef void exchange_fn(const struct http_reply *reply, const struct err *e, void *userdata);
struct exchange *exchange_start(struct session *s, const struct exchange_spec *spec,
                                exchange_fn *fn, void *userdata);
/* Cancels. NULL is fine; the handle ends with the callback: freeing it there is harmless, later
 * not. */
void exchange_free(struct exchange *x);

/* Lower-case media type of a reply without parameters; "" when absent. Caller frees. */
char *exchange_media_type(const struct http_reply *reply);
