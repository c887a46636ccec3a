/* What the issuers of one directory share: its account. While its key is changed nothing else may
 * be signed by the account, and no challenge of it may be pending. Kept by agent/issuer.c. */
#pragma once

#include <stddef.h>

struct issuer;

struct account_share {
    size_t users;            /* orders and requests under way */
    struct issuer *changing; /* changes the key, or waits for the users to leave; or NULL */
    struct issuer **members;
    size_t n_members;
};
