/* For the files of acme/ that judge replies. */
#pragma once

#include "acme/request.h"

/* Says whose reply the error is about, and that the fault is not ours. Returns false. */
bool reply_blame(const struct reply *r, struct err **err);
/* False and ERR_REFUSED when the reply is no JSON object: names what came instead. */
NODISCARD bool reply_need_json(const struct reply *r, struct err **err);
/* The Location header, checked; new string in *ret. */
NODISCARD bool reply_need_location(const struct reply *r, char **ret, struct err **err);
