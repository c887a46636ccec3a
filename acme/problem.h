/* Problem documents (RFC 7807, RFC 8555 6.7) -> struct err. See also err_from_problem in request.h.
 */
#pragma once

#include "base/err.h"
#include "base/json.h"

#define ACME_ERROR_URN "urn:ietf:params:acme:error:"

/* The `error` of an order or a challenge: ERR_REFUSED, as asking again about the same object gives
 * the same answer. Anything but an object: false without an error. */
bool err_from_problem_object(struct err **err, const json_t *problem);
/* e->problem equals `type`; NULL-safe. */
bool err_is_problem(const struct err *e, const char *type);
/* "application/json", "application/problem+json" and the like, of a media type without parameters.
 */
bool media_type_is_json(const char *content_type);
