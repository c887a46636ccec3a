/* URLs as a CA hands them out: checked before anything is sent to them. Pure. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define URL_MAX 2000

/* https, a host, no user info, no fragment, RFC 3986 characters only (so it needs no escaping in
 * JSON or in a header), at most URL_MAX octets. Otherwise ERR_REFUSED; `what` names the URL's role
 * ("finalize"). NULL is refused, too. */
NODISCARD bool url_check(const char *url, const char *what, struct err **err);
/* "ca.example.org:14000", for messages; "?" when there is none. Caller frees. */
char *url_host(const char *url);
/* A reference of a Location or Link header against the URL it came from (RFC 3986 5.2); what comes
 * out still needs url_check. Caller frees. */
char *url_resolve(const char *base, const char *reference);
