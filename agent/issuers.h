/* The issuers at run time, and the directories behind them: made on first use, kept over a reload
 * of the configuration while they fit. */
#pragma once

#include "agent/authority.h"
#include "agent/issuer.h"

struct issuers;
typedef void issuers_fn(struct authority *a, void *userdata); /* a CA is back */
struct issuers *issuers_new(const struct services *services, issuers_fn *fn, void *userdata);
void issuers_free(struct issuers *all); /* NULL is fine */

/* NULL and err when the account on disk cannot be read. */
NODISCARD struct issuer *issuers_get(struct issuers *all, const struct config *config,
                                     const struct config_issuer *wanted, struct err **err);
/* The one that fits, if it was used already. */
struct issuer *issuers_known(const struct issuers *all, const struct config_issuer *wanted);
/* Any one of a directory, known or configured; NULL: there is none. */
struct issuer *issuers_of_directory(struct issuers *all, const struct config *config,
                                    const char *directory);
struct authority *issuers_authority(struct issuers *all, const struct config *config,
                                    const char *directory);
/* The new configuration's limits. */
void issuers_configure(struct issuers *all, const struct config *config);
/* Frees what the configuration does not have; only while nothing is under way. */
void issuers_sweep(struct issuers *all, const struct config *config);
