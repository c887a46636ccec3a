/* Which proxy the environment names for a host: https_proxy, http_proxy, all_proxy, no_proxy, by
 * the rules of curl. Decided here and not in curl, so that errors can say which proxy it was. */
#pragma once

/* scheme: "https" or "http"; host: a name or an address, IPv6 with or without brackets. The URL of
 * the proxy, which may hold a password and is never shown; borrowed from the environment. NULL:
 * none. */
const char *http_proxy_for(const char *scheme, const char *host);
