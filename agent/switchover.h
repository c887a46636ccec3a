/* Makes one generation live: the `live` link first, then every output of the certificate, all
 * written by the worker. Used on the way forward and on the way back; repeating it is harmless.
 * What became of each output stands in the record's rows. */
#pragma once

#include "agent/config.h"
#include "agent/deploy_record.h"
#include "agent/services.h"
#include "store/generation.h"

struct switchover;
/* `insist`: the outputs are written even when the link could not be switched (on the way back each
 * file counts). is_live: the link points to the generation now. e: the first failure (the other
 * outputs were still tried), or NULL; borrowed. The handle is gone. */
typedef void switchover_fn(bool is_live, const struct err *e, void *userdata);
struct switchover *switchover_start(const struct services *services,
                                    const struct config_certificate *certificate,
                                    struct deploy_record *record, struct generation *generation,
                                    bool insist, switchover_fn *fn, void *userdata);
void switchover_free(struct switchover *s);
