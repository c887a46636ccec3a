/* Writes to the state directory, in the background. Every write is a task on a lane (one per
 * document; one for the generations of a certificate). Tasks of a lane run one after the other, in
 * order of their start; those of different lanes run at the same time.
 *
 * A save that has started is carried out, whatever becomes of its handle: freeing it only forgets
 * the callback. Even worker_free() first writes what is waiting. When several saves of one document
 * wait, only the newest is written; all their callbacks follow when it is durable. */
#pragma once

#include "base/err.h"

struct state;

/* A save under way. `fn` gets NULL or the error, on the loop; the handle ends with it. */
struct save;
typedef void save_fn(const struct err *e, void *userdata);
/* NULL is fine; inside the handle's own callback it does nothing. */
void save_free(struct save *s);
