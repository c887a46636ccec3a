/* A CA's directory as this process knows it, shared by every issuer of ours that uses it: what it
 * limits (agent/limits.h, kept in accounts/HOST-HASH/limits.json), the requests per second, and
 * whether it is down. */
#pragma once

#include "agent/account_share.h"
#include "agent/limits.h"
#include "agent/services.h"

struct authority;
/* Reads what was counted before. A document that cannot be read counts for nothing and is told in
 * the log. config: NULL or copied. */
struct authority *authority_new(const struct services *services, const char *directory,
                                const struct limits_config *config);
void authority_free(struct authority *a); /* saves what was not saved yet; NULL is fine */
void authority_configure(struct authority *a, const struct limits_config *config);
const char *authority_directory(const struct authority *a);
struct gate *authority_gate(const struct authority *a);
struct account_share *authority_share(struct authority *a);

/* What its clock said just now. */
void authority_dated(struct authority *a, time_t date);
/* Our clock's time by the CA's clock, as far as that is known. */
time_t authority_time(const struct authority *a, time_t now);
/* How a request ended: an HTTP status, 0 for no reply. */
void authority_answered(struct authority *a, int code);
/* It said (503) that it is away until then. */
void authority_pause(struct authority *a, time_t until);
bool authority_is_down(const struct authority *a);
/* As outage_may_try and outage_next_try. */
bool authority_may_try(struct authority *a, time_t now);
time_t authority_next_try(const struct authority *a, time_t now);
/* It was down, and answers again; comes in the middle of a request's end. */
void authority_on_return(struct authority *a, void (*fn)(struct authority *a, void *userdata),
                         void *userdata);

struct limits *authority_limits(const struct authority *a);
/* After limits were changed: they are saved soon, at most once a second. */
void authority_touch(struct authority *a);
