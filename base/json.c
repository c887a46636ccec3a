#include "base/json.h"

#include <limits.h>
#include <string.h>

#include "base/clock.h"

#define DEPTH_MAX 64

/* Out of memory ends the process here as everywhere: jansson would drop members instead. */
__attribute__((constructor)) static void use_our_memory(void)
{
    json_set_alloc_funcs(xmalloc, free);
}

/* Reading -------------------------------------------------------------------------------------- */

/* jansson itself stops at 2048, which bounds this. */
static bool is_deeper_than(const json_t *j, int depth)
{
    json_t *object = (json_t *)(uintptr_t)j; /* the iterators do not change it */
    const char *name;
    json_t *value;
    size_t i;

    if (!json_is_object(j) && !json_is_array(j))
        return false;
    if (depth == 0)
        return true;
    json_object_foreach(object, name, value)
    {
        if (is_deeper_than(value, depth - 1))
            return true;
    }
    json_array_foreach(j, i, value)
    {
        if (is_deeper_than(value, depth - 1))
            return true;
    }
    return false;
}

json_t *json_parse(const char *data, size_t len, struct err **err)
{
    json_error_t e;
    auto_json json_t *j = json_loadb(data, len, JSON_REJECT_DUPLICATES, &e);

    if (!j) {
        err_set(err, ERR_REFUSED, "not JSON: %s (line %d, column %d)", e.text, e.line, e.column);
        return NULL;
    }
    if (is_deeper_than(j, DEPTH_MAX)) {
        err_set(err, ERR_REFUSED, "JSON nested more than %d deep", DEPTH_MAX);
        return NULL;
    }
    return take(j);
}

json_t *json_get(const json_t *o, const char *name)
{
    return json_object_get(o, name); /* NULL for NULL and for what is no object */
}

static json_t *get_unless_null(const json_t *o, const char *name)
{
    json_t *value = json_get(o, name);

    return json_is_null(value) ? NULL : value;
}

static bool wrong_type(const char *name, const char *expected, struct err **err)
{
    return err_set(err, ERR_REFUSED, "%s: expected %s", name, expected);
}

bool json_opt_string(const json_t *o, const char *name, const char **ret, struct err **err)
{
    const json_t *value = get_unless_null(o, name);

    if (!value)
        return false;
    if (!json_is_string(value))
        return wrong_type(name, "a string", err);
    *ret = json_string_value(value);
    return true;
}

bool json_opt_int(const json_t *o, const char *name, int64_t *ret, struct err **err)
{
    const json_t *value = get_unless_null(o, name);

    if (!value)
        return false;
    if (!json_is_integer(value))
        return wrong_type(name, "an integer", err);
    *ret = json_integer_value(value);
    return true;
}

bool json_opt_bool(const json_t *o, const char *name, bool *ret, struct err **err)
{
    const json_t *value = get_unless_null(o, name);

    if (!value)
        return false;
    if (!json_is_boolean(value))
        return wrong_type(name, "true or false", err);
    *ret = json_is_true(value);
    return true;
}

bool json_opt_time(const json_t *o, const char *name, time_t *ret, struct err **err)
{
    const json_t *value = get_unless_null(o, name);

    if (!value)
        return false;
    if (!json_is_string(value) || !clock_parse_rfc3339(json_string_value(value), ret))
        return wrong_type(name, "a time (RFC 3339)", err);
    return true;
}

static bool is_present(const json_t *o, const char *name, struct err **err)
{
    return get_unless_null(o, name) || err_set(err, ERR_REFUSED, "%s: missing", name);
}

bool json_need_string(const json_t *o, const char *name, const char **ret, struct err **err)
{
    return is_present(o, name, err) && json_opt_string(o, name, ret, err);
}

bool json_need_int(const json_t *o, const char *name, int64_t *ret, struct err **err)
{
    return is_present(o, name, err) && json_opt_int(o, name, ret, err);
}

const char *json_str(const json_t *o, const char *name)
{
    return json_string_value(json_get(o, name));
}

int64_t json_int(const json_t *o, const char *name)
{
    return json_integer_value(json_get(o, name));
}

bool json_bool(const json_t *o, const char *name)
{
    return json_is_true(json_get(o, name));
}

time_t json_time(const json_t *o, const char *name)
{
    time_t t = 0;

    return json_opt_time(o, name, &t, NULL) ? t : 0;
}

void json_read_strv(const json_t *o, const char *name, struct strv *ret)
{
    const json_t *array = json_get(o, name);
    const json_t *item;
    size_t i;

    strv_done(ret);
    json_array_foreach(array, i, item)
    {
        if (!json_is_string(item)) {
            strv_done(ret);
            return;
        }
        strv_add(ret, json_string_value(item));
    }
}

/* Writing -------------------------------------------------------------------------------------- */

static json_t *string_of(const char *s)
{
    if (!s)
        return json_null();

    json_t *value = json_string(s);
    if (value)
        return value;
    auto_free char *escaped = text_escape(s, strlen(s)); /* invalid UTF-8 */
    return json_string(escaped);
}

void json_put(json_t *o, const char *name, json_t *value)
{
    json_object_set_new(o, name, value);
}

void json_put_str(json_t *o, const char *name, const char *s)
{
    json_put(o, name, string_of(s));
}

void json_put_int(json_t *o, const char *name, int64_t n)
{
    json_put(o, name, json_integer(n));
}

void json_put_bool(json_t *o, const char *name, bool b)
{
    json_put(o, name, json_boolean(b));
}

void json_put_time(json_t *o, const char *name, time_t t)
{
    char text[CLOCK_TEXT_MAX];

    json_put_str(o, name, t ? clock_rfc3339(t, text) : NULL);
}

void json_put_strv(json_t *o, const char *name, const struct strv *v)
{
    json_t *array = json_array();

    for (size_t i = 0; i < v->n; i++)
        json_array_append_new(array, string_of(v->items[i]));
    json_put(o, name, array);
}

/* ASCII only, for this also reaches terminals: C1 controls and bidirectional overrides travel as
 * \uXXXX. */
#define DUMP_FLAGS (JSON_ENCODE_ANY | JSON_ENSURE_ASCII)

static char *dump(const json_t *j, size_t flags)
{
    char *text = j ? json_dumps(j, flags | DUMP_FLAGS) : NULL;

    return text ? text : xstrdup("null");
}

char *json_text(const json_t *j)
{
    auto_free char *text = dump(j, JSON_INDENT(2));

    return xasprintf("%s\n", text);
}

char *json_compact(const json_t *j)
{
    return dump(j, JSON_COMPACT | JSON_SORT_KEYS);
}

/* Errors --------------------------------------------------------------------------------------- */

json_t *err_to_json(const struct err *e)
{
    if (!e)
        return json_null();

    json_t *j = json_object();
    json_put_str(j, "kind", err_kind_name(e->kind));
    json_put_str(j, "step", e->step);
    json_put_str(j, "text", e->text);
    json_put_str(j, "hint", e->hint);
    json_put_str(j, "where", e->where);
    json_put_str(j, "problem", e->problem);
    json_put(j, "code", e->code ? json_integer(e->code) : json_null());
    json_put_time(j, "at", e->at);
    json_put_time(j, "retry_at", e->retry_at);
    return j;
}

/* The file may have been edited: what is shown later is escaped again. */
static char *escaped_member(const json_t *j, const char *name)
{
    const char *s = json_str(j, name);

    return s ? text_escape(s, strlen(s)) : NULL;
}

struct err *err_from_json(const json_t *j)
{
    const char *kind_name = json_str(j, "kind"), *text = json_str(j, "text");
    int64_t code = json_int(j, "code");
    enum err_kind kind;
    struct err *e = NULL;

    if (!kind_name || !text || !err_kind_parse(kind_name, &kind))
        return NULL;
    err_set(&e, kind, "%s", text);
    e->step = escaped_member(j, "step");
    e->hint = escaped_member(j, "hint");
    e->where = escaped_member(j, "where");
    e->problem = escaped_member(j, "problem");
    e->code = code >= INT_MIN && code <= INT_MAX ? (int)code : 0;
    e->at = json_time(j, "at");
    e->retry_at = json_time(j, "retry_at");
    return e;
}
