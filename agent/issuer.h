/* A configured issuer at run time: its ACME session and its account on disk. Shared by all
 * certificates of the issuer; made on first use, kept over a reload of the configuration while
 * directory and trust stay the same. */
#pragma once

#include "acme/session.h"
#include "agent/authority.h"
#include "agent/config.h"
#include "agent/services.h"

struct issuer;
/* NULL and err when the account on disk cannot be read. The authority is borrowed. */
NODISCARD struct issuer *issuer_new(const struct services *services,
                                    const struct config_issuer *config, struct authority *authority,
                                    int64_t timeout_s, struct err **err);
void issuer_free(struct issuer *i);
/* Whether the issuer fits a (new) configuration. */
bool issuer_fits(const struct issuer *i, const struct config_issuer *config);
const char *issuer_name(const struct issuer *i);
const char *issuer_directory(const struct issuer *i);
struct session *issuer_session(struct issuer *i);
struct authority *issuer_authority(struct issuer *i);
/* Account URL or NULL. */
const char *issuer_account(const struct issuer *i);
/* An account is about to be asked for: whether an earlier newAccount may have reached the CA
 * although no account URL is on disk. True from then on, until the account is saved. */
bool issuer_begin_registration(struct issuer *i);

bool issuer_is_deactivated(const struct issuer *i); /* the account was, on request */
bool issuer_is_busy(const struct issuer *i);        /* somebody works with it, or waits */

/* Makes sure that an account key is on disk (made if there is none), that it is the one the CA
 * knows, and that nobody is changing it. e: borrowed, NULL when all is so. Calls back on a later
 * turn; freeing the handle cancels, it is gone at the callback. */
struct issuer_wait;
typedef void issuer_fn(const struct err *e, void *userdata);
struct issuer_wait *issuer_prepare(struct issuer *i, issuer_fn *fn, void *userdata);
void issuer_wait_free(struct issuer_wait *w);
/* Around everything that the account signs and every challenge of it: begins in the callback of
 * issuer_prepare. Meanwhile the key stays what it is. */
void issuer_enter(struct issuer *i);
void issuer_leave(struct issuer *i);
/* A new key for the account, once nobody works with it; newcomers wait meanwhile. e: NULL when it
 * is the account's now, and on disk. A change that was begun goes on when the handle is freed. */
struct issuer_wait *issuer_rollover(struct issuer *i, issuer_fn *fn, void *userdata);

/* Keeps the account durably; fn as in state_save. */
struct save *issuer_save_account(struct issuer *i, const json_t *json, save_fn *fn, void *userdata);
/* The same for an account that was deactivated: nobody may use it from now on. */
struct save *issuer_save_deactivated(struct issuer *i, const json_t *json, save_fn *fn,
                                     void *userdata);
