/* A revocation that was asked for and is not over yet, as schedule.json keeps it. A plain value. */
#pragma once

#include <stdint.h>
#include <time.h>

#include "acme/revoke.h"
#include "base/err.h"
#include "base/json.h"

struct revocation {
    char *serial;       /* of the certificate to be revoked; NULL: there is nothing to do */
    int64_t generation; /* that has it */
    int64_t over;       /* the newest generation back then: what replaces it is newer */
    enum revoke_reason reason;
    bool now;          /* before it is replaced, and although it cannot be */
    bool done;         /* the CA has revoked it */
    bool refused;      /* the CA never will */
    int failures;      /* in a row */
    time_t next_try;   /* 0: at once */
    struct err *error; /* of the last failure */
};

/* NULL: nothing to do. */
void revocation_read(struct revocation *r, const json_t *j);
json_t *revocation_to_json(const struct revocation *r); /* null when there is nothing to do */
void revocation_done(struct revocation *r);
