/* The reasons of a revocation as people write them. */
#include <ctype.h>
#include <string.h>

#include "acme/revoke.h"
#include "base/mem.h"

static const struct {
    enum revoke_reason reason;
    const char *number;
} reasons[] = {
    {REVOKE_UNSPECIFIED, "0"},
    {REVOKE_KEY_COMPROMISE, "1"},
    {REVOKE_AFFILIATION_CHANGED, "3"},
    {REVOKE_SUPERSEDED, "4"},
    {REVOKE_CESSATION_OF_OPERATION, "5"},
    {REVOKE_PRIVILEGE_WITHDRAWN, "9"},
};
const char *const revoke_reason_names[] = {
    "unspecified", "keyCompromise",        "affiliationChanged",
    "superseded",  "cessationOfOperation", "privilegeWithdrawn",
    NULL,
};
_Static_assert(ARRAY_LEN(revoke_reason_names) == ARRAY_LEN(reasons) + 1, "a name for each");

/* key-compromise, key_compromise and KEYCOMPROMISE are keyCompromise. */
static bool same_word(const char *typed, const char *name)
{
    for (;; typed++) {
        if (*typed == '-' || *typed == '_')
            continue;
        if (tolower((unsigned char)*typed) != tolower((unsigned char)*name))
            return false;
        if (*name++ == '\0')
            return true;
    }
}

bool revoke_reason_parse(const char *text, enum revoke_reason *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (same_word(text, revoke_reason_names[i]) || strcmp(text, reasons[i].number) == 0) {
            *ret = reasons[i].reason;
            return true;
        }
    }
    return false;
}

const char *revoke_reason_name(enum revoke_reason reason)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].reason == reason)
            return revoke_reason_names[i];
    }
    return revoke_reason_names[0];
}
