/* One error type, from the socket to the user.
 *
 * A function that can fail returns bool (true is good) or a pointer, takes `struct err **err` last
 * and is marked NODISCARD. On success *err is untouched; on failure it holds a new error that the
 * caller owns. The setters return false, so that failing is one line:
 *
 *     if (!key_load(path, &key, err))
 *         return err_wrap(err, "account of issuer %s", name);
 *
 * The kind decides what the program does; the text is for people and never parsed. `err` may be
 * NULL where the caller does not care. Setting an error that is set replaces the old one. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <time.h>

#include "base/mem.h"

enum err_kind {
    ERR_CONFIG,    /* the user must change the configuration; `where` says which line */
    ERR_REFUSED,   /* the CA, a server or a check said no; asking again gives the same answer */
    ERR_LIMITED,   /* asked too often; `retry_at` says when to come back */
    ERR_TRANSIENT, /* network, time-out, 5xx, badNonce: worth another try */
    ERR_SYSTEM,    /* this machine: disk, permissions, a hook's exit status */
    ERR_BUG,       /* an internal rule was broken */
};

struct err {
    enum err_kind kind;
    char *text;      /* outermost context first, cause last; already free of control characters */
    char *hint;      /* what the user can do about it, or NULL */
    char *where;     /* "file:line:column" of the configuration, or NULL */
    char *step;      /* the step that failed ("authorize", "reload"), or NULL */
    char *problem;   /* ACME problem type without its urn prefix, or NULL */
    int code;        /* errno or HTTP status, 0 if neither */
    time_t at;       /* when it happened; set by the setters */
    time_t retry_at; /* not before this instant; 0 if nobody said */
};

/* Foreign text may be passed as an argument: control characters, DEL, C1 and bidirectional
 * overrides are replaced by visible escapes (\x1b, \u202e), invalid UTF-8 likewise; the text is cut
 * at 4 KiB. */
bool err_set(struct err **err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Kind ERR_SYSTEM, code errnum, ": " and the text of errnum appended. */
bool err_set_errno(struct err **err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Puts "...: " before the text. */
bool err_wrap(struct err **err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Sets the hint (replacing one that is there) or the step (only when none is set yet). */
bool err_hint(struct err **err, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool err_step(struct err **err, const char *step);

/* Deep copy; NULL gives NULL. */
struct err *err_copy(const struct err *err);
/* Moves *from to *to (freeing what was there; dropping it when `to` is NULL). Returns false. */
bool err_move(struct err **to, struct err **from);
void err_free(struct err *err);

const char *err_kind_name(enum err_kind kind); /* "config", "refused", ... */
bool err_kind_parse(const char *name, enum err_kind *ret_kind);

static inline void err_free_p(struct err **err)
{
    err_free(*err);
}
#define auto_err __attribute__((cleanup(err_free_p)))

/* New string: `text` as it may reach a terminal or a log (see err_set); not cut. Caller frees. */
char *text_escape(const char *text, size_t len);
