#include "acme/order_object.h"

#include <string.h>

#include "acme/problem.h"
#include "acme/url.h"

static const char *const status_names[] = {
    [ORDER_STATUS_PENDING] = "pending",       [ORDER_STATUS_READY] = "ready",
    [ORDER_STATUS_PROCESSING] = "processing", [ORDER_STATUS_VALID] = "valid",
    [ORDER_STATUS_INVALID] = "invalid",
};

static bool read_status(const json_t *json, enum order_status *ret, struct err **err)
{
    const char *text;

    if (!json_need_string(json, "status", &text, err))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(status_names); i++) {
        if (strcmp(text, status_names[i]) == 0) {
            *ret = (enum order_status)i;
            return true;
        }
    }
    return err_set(err, ERR_REFUSED, "status: \"%.100s\" is none of an order", text);
}

/* An absent URL leaves *ret as it is. */
static bool read_url(const json_t *json, const char *name, char **ret, struct err **err)
{
    const char *url = NULL;
    auto_err struct err *e = NULL;

    if (!json_opt_string(json, name, &url, &e))
        return e ? err_move(err, &e) : true;
    if (!url_check(url, name, err))
        return false;
    set_string(ret, xstrdup(url));
    return true;
}

static bool read_authorizations(const json_t *json, struct strv *ret, struct err **err)
{
    const json_t *list = json_get(json, "authorizations");
    size_t n = json_array_size(list);

    if (list && !json_is_null(list) && !json_is_array(list))
        return err_set(err, ERR_REFUSED, "authorizations: expected a list");
    if (n > ORDER_AUTHORIZATIONS_MAX)
        return err_set(err, ERR_REFUSED, "authorizations: %zu are too many", n);
    for (size_t i = 0; i < n; i++) {
        const char *url = json_string_value(json_array_get(list, i));
        if (!url)
            return err_set(err, ERR_REFUSED, "authorizations[%zu]: expected a string", i);
        if (!url_check(url, "authorization", err))
            return false;
        if (!strv_has(ret, url)) /* twice would answer one challenge twice */
            strv_add(ret, url);
    }
    return true;
}

/* What the next step needs is there, so that no step has to look. */
static bool check_members(const struct order_object *o, struct err **err)
{
    bool open = o->status == ORDER_STATUS_PENDING || o->status == ORDER_STATUS_READY;

    if (open && !o->finalize)
        return err_set(err, ERR_REFUSED, "finalize: missing in an order that is not finalized");
    if (o->status == ORDER_STATUS_PENDING && o->authorizations.n == 0)
        return err_set(err, ERR_REFUSED, "authorizations: none in a pending order");
    if (o->status == ORDER_STATUS_VALID && !o->certificate)
        return err_set(err, ERR_REFUSED, "certificate: missing in a valid order");
    return true;
}

bool order_object_read(const json_t *json, struct order_object *ret, struct err **err)
{
    struct order_object o = {0};

    if (!read_status(json, &o.status, err) || !read_url(json, "finalize", &o.finalize, err) ||
        !read_url(json, "certificate", &o.certificate, err) ||
        !read_authorizations(json, &o.authorizations, err) || !check_members(&o, err)) {
        order_object_done(&o);
        return err_wrap(err, "order");
    }
    /* Whatever else is in it is ignored (RFC 8555 7.1): servers differ, and add members. */
    err_from_problem_object(&o.error, json_get(json, "error"));
    *ret = o;
    return true;
}

void order_object_done(struct order_object *o)
{
    strv_done(&o->authorizations);
    free(o->finalize);
    free(o->certificate);
    err_free(o->error);
    *o = (struct order_object){0};
}
