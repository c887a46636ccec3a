/* One HTTP request to a server's admin interface, by a client that lives as long as the request. */
#pragma once

#include "base/http.h"

/* "http://...", "https://...", or "unix:/path/of/socket:/path/of/request". */
NODISCARD bool web_check_url(const char *url, struct err **err);

struct web;
/* request->url as above, socket and allow_http are set here; plain HTTP is allowed and no proxy is
 * used. The callback's handle is gone when it returns; web_free in it is harmless. */
struct web *web_start(struct loop *l, const struct http_request *request, http_fn *fn,
                      void *userdata);
void web_free(struct web *w); /* NULL is fine */
