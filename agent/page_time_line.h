/* The life of one certificate as a drawing with its dates in words (agent/page): validity, what is
 * over of it, when it is renewed, the staple. */
#pragma once

#include <time.h>

#include "base/buf.h"
#include "base/json.h"

/* certificate: an entry of the status document. */
void page_time_line(struct buf *out, const json_t *certificate, time_t now);
