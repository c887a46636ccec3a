/* All authorizations of an order, several at a time: read and presented first, all of them, then
 * answered and polled. So a solver that cannot present costs no failed validation, and names that
 * share a record are there together. */
#pragma once

#include "acme/authz.h"

#define AUTHZ_BUSY_MAX 8 /* requests of one order under way at once */

struct authz_set;
struct authz_set_events {
    void (*activity)(const char *text, void *userdata);
    /* The CA has validated a name of the order, or tried to. May be NULL; frees nothing. */
    void (*validated)(const char *name, bool good, void *userdata);
    /* All valid (e NULL), or not: e (borrowed) has every name that failed so far. Once; the set may
     * be freed in it. */
    void (*done)(const struct err *e, void *userdata);
    void *userdata;
};

struct authz_set *authz_set_start(const struct authz_settings *settings, const struct strv *urls,
                                  const struct authz_set_events *events);
void authz_set_free(struct authz_set *s);
/* How many the CA still holds open for us. */
size_t authz_set_open(const struct authz_set *s);
