/* Header lines as they arrive, for base/http.c. */
#pragma once

#include "base/strv.h"

/* One line, its end included: adds "name: value" with the name in lower case. A status line empties
 * the list, because what came before was an interim response (RFC 9110 15.2). Everything else is
 * skipped. */
void http_header_line(struct strv *headers, const char *line, size_t len);
