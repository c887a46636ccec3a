/* The status page: HTML that needs nothing else, no script and no other file. Made from the members
 * of the status document, so that it says what `status --json` says. */
#pragma once

#include "agent/manager.h"
#include "base/buf.h"

#define PAGE_CERTIFICATES 100 /* on one page: some 400 KiB */

/* Page `number`, from 1, of all certificates, those in trouble first. False: there is no such page.
 */
NODISCARD bool page_write(const struct manager *m, size_t number, struct buf *out);
/* Everything about one certificate, history included. False: there is none of that name. */
NODISCARD bool page_write_certificate(const struct manager *m, const char *name, struct buf *out);
