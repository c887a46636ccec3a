/* Link headers (RFC 8288). Pure. */
#pragma once

#include "base/http.h"
#include "base/strv.h"

#define LINK_MAX 32 /* targets kept of one reply */

/* Adds the targets of one header value whose rel is (or has among its words) `rel`, resolved
 * against base; links with an anchor speak of something else and are skipped. What is malformed
 * ends the list. */
void link_parse(const char *value, const char *rel, const char *base, struct strv *ret);
/* All Link headers of a reply. */
void link_find(const struct http_reply *reply, const char *rel, const char *base, struct strv *ret);
