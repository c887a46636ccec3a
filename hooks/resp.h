/* Replies of Redis and its relatives (RESP2), parsed strictly and bounded. */
#pragma once

#include <stddef.h>

#include "base/buf.h"
#include "base/strv.h"

struct resp {
    bool is_error;
    /* A simple text, an error's text, a number, a string; or the strings of an array. */
    struct strv items;
};

/* A command as an array of strings: count, then one resp_add_argument() for each. */
void resp_begin_command(struct buf *b, size_t count);
void resp_add_argument(struct buf *b, const void *data, size_t len);
/* One reply at the beginning of data. >0: its length, and ret is set (emptied first); 0: more is to
 * come; -1: that is no RESP. */
long resp_parse(const char *data, size_t len, struct resp *ret);
void resp_done(struct resp *r);
