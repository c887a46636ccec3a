/* Transfers of libcurl on the loop: its sockets, its one time-out, and the connections it keeps.
 * Only for base/http.c; a transfer is a CURL *. */
#pragma once

#include "base/loop.h"

struct http_multi;
/* A transfer ended with that CURLcode; it is out of the multi already, and neither may be freed in
 * it. */
typedef void http_multi_fn(void *easy, int code, void *userdata);
NODISCARD struct http_multi *http_multi_new(struct loop *l, http_multi_fn *fn, void *userdata,
                                            struct err **err);
/* Closes the connections. No transfer may be in it any more. */
void http_multi_free(struct http_multi *m);

NODISCARD bool http_multi_add(struct http_multi *m, void *easy, struct err **err);
void http_multi_remove(struct http_multi *m, void *easy);
