/* The staple of a generation: ocsp.der in its folder, the only file that is ever replaced there,
 * and nginx-stapling.conf beside it, which names it while there is one. nginx fails to reload when
 * a file it is told to staple is missing, so the order is: the staple before the line that names
 * it, and the line before the staple when it goes. */
#pragma once

#include "base/buf.h"
#include "store/save.h"

#define STAPLE_FILE "ocsp.der"
#define STAPLE_MAX  (64 * 1024)

/* Saves, on the lane of the certificate's generations. der NULL: takes the staple away. A
 * generation that is not there any more is no failure. */
struct save *staple_save(struct state *s, const char *certificate, int64_t number, const void *der,
                         size_t len, save_fn *fn, void *userdata);
/* `ret` is initialised or {0}; what is in it is replaced. Absent: false and err_is_absent().
 * Nothing is checked. */
NODISCARD bool staple_load(struct state *s, const char *certificate, int64_t number,
                           struct buf *ret, struct err **err);
/* What nginx includes for a staple at that path; caller frees. */
char *staple_nginx(const char *path);
