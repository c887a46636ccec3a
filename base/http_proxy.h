/* Which proxy the environment names for a host: https_proxy, http_proxy, all_proxy, no_proxy, by
 * the rules of curl. Decided here and not in curl, so that errors can say which proxy it was. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* scheme: "https" or "http"; host: a name or an address, IPv6 with or without brackets. The URL of
 * the proxy, which may hold a password and is never shown; borrowed from the environment. NULL:
 * none. */
const char *http_proxy_for(const char *scheme, const char *host);
/* The same where somebody may have `chosen` one: a URL, "off", or NULL. */
const char *http_proxy_chosen(const char *chosen, const char *scheme, const char *host);
/* Whether a text of the configuration can be chosen: "off", or the URL of an HTTP or SOCKS proxy
 * without user and password (those belong into the environment). */
NODISCARD bool http_proxy_check(const char *text, struct err **err);
