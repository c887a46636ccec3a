/* Accounts, keyed by directory URL: accounts/HOST-HASH16/{key.pem,account.json,limits.json} and,
 * while it is being changed, key-next.pem, where HASH16 is the start of the URL's SHA-256 in hex,
 * so that staging never mixes with production. */
#pragma once

#include <stdbool.h>

#include "base/json.h"
#include "pki/key.h"
#include "store/save.h"

struct account_record {
    struct key *key;      /* NULL: none yet */
    struct key *next_key; /* the CA may know this one as the account's; NULL: no such doubt */
    json_t *json; /* NULL: key without a known account (registration may have reached the CA) */
};
/* A damaged file is set aside as documents are. An account.json without its key is of no use and is
 * set aside, too: it must not be taken for the account of the next key. */
NODISCARD bool state_load_account(struct state *s, const char *directory_url,
                                  struct account_record *ret, struct err **err);
void account_record_done(struct account_record *a);
struct save *state_save_account_key(struct state *s, const char *directory_url,
                                    const struct key *key, save_fn *fn, void *userdata);
/* NULL: there is no doubt any more. */
struct save *state_save_account_next_key(struct state *s, const char *directory_url,
                                         const struct key *key, save_fn *fn, void *userdata);
struct save *state_save_account(struct state *s, const char *directory_url, const json_t *json,
                                save_fn *fn, void *userdata);

/* What was counted of the CA's limits; as state_load and state_save. */
json_t *state_load_limits(struct state *s, const char *directory_url, struct err **err);
struct save *state_save_limits(struct state *s, const char *directory_url, const json_t *json,
                               save_fn *fn, void *userdata);
