/* One certificate on the status page (agent/page). */
#pragma once

#include <time.h>

#include "base/buf.h"
#include "base/json.h"

/* certificate: an entry of the status document. `whole`: everything is shown unfolded, and the
 * history, if it has one. */
void page_certificate(struct buf *out, const json_t *certificate, time_t now, bool whole);
