#include "acme/authz_object.h"

#include <string.h>
#include <strings.h>

#include "acme/problem.h"
#include "acme/url.h"
#include "base/enc.h"
#include "pki/name.h"

#define CHALLENGES_MAX 100

/* Whether an authorization for `identifier` serves a name of the order: the name itself, or a
 * domain above it (RFC 9444). */
static bool serves(const char *identifier, const struct strv *names)
{
    size_t len = strlen(identifier);

    for (size_t i = 0; i < names->n; i++) {
        const char *name = name_base(names->items[i]);
        size_t name_len = strlen(name);
        if (strcasecmp(name, identifier) == 0)
            return true;
        if (name_type(name) == NAME_DNS && name_len > len + 1 && name[name_len - len - 1] == '.' &&
            strcasecmp(name + name_len - len, identifier) == 0)
            return true;
    }
    return false;
}

/* IPv6 addresses are compared in their canonical form. */
static char *canonical(const char *identifier)
{
    char *name = name_canonical(identifier, NULL);

    return name ? name : xstrdup(identifier);
}

static bool read_identifier(const json_t *json, const struct strv *names, struct authz_object *o,
                            struct err **err)
{
    const json_t *identifier = json_get(json, "identifier");
    auto_err struct err *e = NULL;
    const char *value;

    if (!json_is_object(identifier))
        return err_set(err, ERR_REFUSED, "identifier: expected an object");
    if (!json_need_string(identifier, "value", &value, err))
        return err_wrap(err, "identifier");
    auto_free char *name = canonical(value);
    if (!serves(name, names))
        return err_set(err, ERR_REFUSED, "it is for \"%.253s\", which is not in the order", value);
    o->identifier = take(name);
    json_opt_bool(json, "wildcard", &o->wildcard, &e);
    return e ? err_move(err, &e) : true;
}

/* The first challenge with an error says why. */
static void read_failure(const json_t *json, const char *status, struct authz_object *o)
{
    const json_t *list = json_get(json, "challenges");

    for (size_t i = 0; i < json_array_size(list) && i < CHALLENGES_MAX && !o->error; i++) {
        const json_t *item = json_array_get(list, i);
        const char *type = json_str(item, "type");
        if (err_from_problem_object(&o->error, json_get(item, "error")) && type)
            err_wrap(&o->error, "%.50s", type);
    }
    if (!o->error)
        err_set(&o->error, ERR_REFUSED,
                "the CA moved its authorization to \"%.50s\" without a reason", status);
}

/* 1: taken, 0: not ours, -1: error. */
static int try_challenge(const json_t *item, const struct challenge_type *type,
                         struct authz_object *o, struct err **err)
{
    const char *name = json_str(item, "type");
    const char *token = json_str(item, "token");
    const char *status = json_str(item, "status");
    const char *url;

    if (!name || strcmp(name, type->acme) != 0 || !token)
        return 0;
    /* The token may become a file name or part of a record: nothing but base64url, ever. */
    if (!enc_is_base64url(token, TOKEN_MAX)) {
        err_set(err, ERR_REFUSED, "the %s token is not base64url of at most %d characters", name,
                TOKEN_MAX);
        return -1;
    }
    if (!json_need_string(item, "url", &url, err) || !url_check(url, "challenge", err))
        return -1;
    if (status && strcmp(status, "invalid") == 0) {
        if (!err_from_problem_object(err, json_get(item, "error")))
            err_set(err, ERR_REFUSED, "the CA refused the challenge without a reason");
        err_wrap(err, "%s", name);
        return -1;
    }
    o->challenge_url = xstrdup(url);
    o->token = xstrdup(token);
    o->answered = status && strcmp(status, "pending") != 0;
    return 1;
}

static void set_no_challenge(const json_t *list, const struct challenge_type *type,
                             struct err **err)
{
    auto_strv struct strv offered = {0};

    for (size_t i = 0; i < json_array_size(list) && i < CHALLENGES_MAX; i++) {
        const char *name = json_str(json_array_get(list, i), "type");
        if (name && offered.n < 10)
            strv_add(&offered, name);
    }
    auto_free char *text = strv_join(&offered, ", ");
    err_set(err, ERR_REFUSED, "the CA offers no %s challenge, only: %s", type->acme,
            offered.n ? text : "none");
    err_hint(err, "set `challenge` to one that the CA offers");
}

static bool choose_challenge(const json_t *json, const struct challenge_type *type,
                             struct authz_object *o, struct err **err)
{
    const json_t *list = json_get(json, "challenges");

    if (!json_is_array(list))
        return err_set(err, ERR_REFUSED, "challenges: expected a list");
    if (o->wildcard && !type->wildcards) {
        err_set(err, ERR_CONFIG, "%s cannot prove control of a wildcard", type->acme);
        return err_hint(err, "use a DNS challenge for \"*.%s\"", o->identifier);
    }
    if (name_type(o->identifier) == NAME_IP && !type->addresses) {
        err_set(err, ERR_CONFIG, "%s cannot prove control of an address", type->acme);
        return err_hint(err, "use http-01 for \"%s\"", o->identifier);
    }
    for (size_t i = 0; i < json_array_size(list) && i < CHALLENGES_MAX; i++) {
        int taken = try_challenge(json_array_get(list, i), type, o, err);
        if (taken != 0)
            return taken > 0;
    }
    set_no_challenge(list, type, err);
    return false;
}

static bool read_rest(const json_t *json, const struct challenge_type *type, struct authz_object *o,
                      struct err **err)
{
    const char *status;

    if (!json_need_string(json, "status", &status, err))
        return false;
    if (strcmp(status, "valid") == 0) {
        o->status = AUTHZ_STATUS_VALID;
        return true;
    }
    if (strcmp(status, "pending") == 0 || strcmp(status, "processing") == 0) {
        o->status = AUTHZ_STATUS_PENDING;
        return type ? choose_challenge(json, type, o, err) : true;
    }
    o->status = AUTHZ_STATUS_OVER;
    read_failure(json, status, o);
    return true;
}

bool authz_object_read(const json_t *json, const struct challenge_type *type,
                       const struct strv *names, struct authz_object *ret, struct err **err)
{
    struct authz_object o = {0};

    if (!read_identifier(json, names, &o, err)) {
        authz_object_done(&o);
        return err_wrap(err, "authorization");
    }
    if (!read_rest(json, type, &o, err)) {
        err_wrap(err, "%s%s", o.wildcard ? "*." : "", o.identifier);
        authz_object_done(&o);
        return false;
    }
    *ret = o;
    return true;
}

void authz_object_done(struct authz_object *o)
{
    free(o->identifier);
    free(o->challenge_url);
    free(o->token);
    err_free(o->error);
    *o = (struct authz_object){0};
}
