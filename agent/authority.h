/* A CA's directory as this process knows it, shared by every issuer of ours that uses it: what it
 * limits (agent/limits.h, kept in accounts/HOST-HASH/limits.json), and the requests per second. */
#pragma once

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

struct limits *authority_limits(const struct authority *a);
/* After limits were changed: they are saved soon, at most once a second. */
void authority_touch(struct authority *a);
