/* The key of the order under way: certificates/NAME/order-key.pem, 0600, kept until it is in a
 * generation. On disk before finalize, or the certificate would be lost with the process. */
#pragma once

#include "pki/key.h"
#include "store/save.h"

struct save *state_save_order_key(struct state *s, const char *certificate, const struct key *key,
                                  save_fn *fn, void *userdata);
/* The key is in a generation now (or its order was given up): the copy goes. Absent is fine. */
struct save *state_remove_order_key(struct state *s, const char *certificate, save_fn *fn,
                                    void *userdata);
/* Absent: NULL and *err untouched; so is one that is no key (it is set aside as documents are). */
struct key *state_load_order_key(struct state *s, const char *certificate, struct err **err);
