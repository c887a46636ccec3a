/* jansson with paths in the messages. Only this header includes jansson elsewhere's json_t. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"
#include "base/strv.h"

static inline void json_decref_p(json_t **j)
{
    json_decref(*j);
}
#define auto_json __attribute__((cleanup(json_decref_p)))

/* Parses foreign bytes: duplicates and NUL in strings refused, depth at most 64, an object or
 * array. Failure: ERR_REFUSED "... not JSON: ... (line 1, column 5)". NULL on failure. */
NODISCARD json_t *json_parse(const char *data, size_t len, struct err **err);

/* Optional members: absent or null gives false without error; a wrong type is false and sets err
 * (when err is not NULL) with the member's name: "status: expected a string". The returned string
 * is borrowed from the object. */
bool json_opt_string(const json_t *o, const char *name, const char **ret, struct err **err);
bool json_opt_int(const json_t *o, const char *name, int64_t *ret, struct err **err);
bool json_opt_bool(const json_t *o, const char *name, bool *ret, struct err **err);
bool json_opt_time(const json_t *o, const char *name, time_t *ret, struct err **err); /* RFC 3339 */
/* Required ones: absent is an error, too. */
NODISCARD bool json_need_string(const json_t *o, const char *name, const char **ret,
                                struct err **err);
NODISCARD bool json_need_int(const json_t *o, const char *name, int64_t *ret, struct err **err);
/* Convenience for our own documents; nothing on wrong type. */
const char *json_str(const json_t *o, const char *name); /* NULL when absent */
int64_t json_int(const json_t *o, const char *name);     /* 0 when absent */
bool json_bool(const json_t *o, const char *name);       /* false when absent */
time_t json_time(const json_t *o, const char *name);     /* 0 when absent */
json_t *json_get(const json_t *o, const char *name);     /* borrowed or NULL; NULL-safe */

/* Setters; NULL text and time 0 become JSON null. Invalid UTF-8 is escaped. Names are ours. */
void json_put(json_t *o, const char *name, json_t *value); /* steals value */
void json_put_str(json_t *o, const char *name, const char *s);
void json_put_int(json_t *o, const char *name, int64_t n);
void json_put_bool(json_t *o, const char *name, bool b);
void json_put_time(json_t *o, const char *name, time_t t);
void json_put_strv(json_t *o, const char *name, const struct strv *v);
/* Reads an array of strings; anything else gives an empty list. */
void json_read_strv(const json_t *o, const char *name, struct strv *ret);

/* ASCII, everything else as \uXXXX; NULL gives "null". */
char *json_text(const json_t *j);    /* indented, newline at the end, for files; caller frees */
char *json_compact(const json_t *j); /* sorted keys, no spaces (RFC 7638); caller frees */

/* product.md section 10 "error"; NULL gives JSON null. */
json_t *err_to_json(const struct err *e);
struct err *err_from_json(const json_t *j); /* NULL for null or nonsense */
