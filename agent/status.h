/* The document of `status --json` (product.md section 10, everleaf.status/1) and its text forms. */
#pragma once

#include <stdio.h>

#include "agent/manager.h"
#include "base/json.h"

/* `running`: the caller is the agent itself. name NULL: all certificates without history; else that
 * one with its history (an unknown name: NULL and ERR_CONFIG with the nearest name as hint). */
NODISCARD json_t *status_document(const struct manager *m, bool running, const char *name,
                                  struct err **err);
/* The same while there is no state directory: everything is missing. */
NODISCARD json_t *status_document_of_nothing(const struct config *config, const char *name,
                                             struct err **err);
/* Its parts, for those who need a few certificates only. */
json_t *status_certificate(const struct managed_view *v);
json_t *status_issuers(const struct manager *m);
/* "exit" of the document: 0, 1 or 3; 4 when it says nothing like that. */
int status_exit(const json_t *document);
/* The table, or everything about one certificate. Columns are cut to the terminal's width. */
void status_print(FILE *out, const json_t *document, bool detail, bool color);
