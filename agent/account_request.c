#include "agent/account_request.h"

#include <string.h>

#include "acme/account_ops.h"
#include "base/schema.h"

struct account_request {
    struct manager *manager;
    enum account_verb verb;
    const char *by; /* static */
    const struct config_issuer *config;
    struct config *owner; /* of config; referenced */
    struct issuer *issuer;
    struct issuer_wait *wait;
    bool entered;
    struct account_op *op;
    struct save *save;
    struct timer *turn;
    json_t *account; /* as the CA sees it */
    account_request_fn *fn;
    void *userdata;
};

const char *const account_verb_names[] = {
    [ACCOUNT_SHOW] = "show",
    [ACCOUNT_UPDATE] = "update",
    [ACCOUNT_ROLLOVER] = "rollover",
    [ACCOUNT_DEACTIVATE] = "deactivate",
    NULL,
};

bool account_verb_parse(const char *text, enum account_verb *ret)
{
    for (size_t i = 0; text && account_verb_names[i]; i++) {
        if (strcmp(account_verb_names[i], text) == 0) {
            *ret = (enum account_verb)i;
            return true;
        }
    }
    return false;
}

const char *account_verb_name(enum account_verb verb)
{
    return account_verb_names[verb];
}

const struct config_issuer *account_issuer(const struct config *config, const char *name,
                                           struct err **err)
{
    auto_strv struct strv names = {0};

    if (!name && config->n_issuers == 1)
        return config->issuers[0];
    for (size_t i = 0; i < config->n_issuers; i++) {
        if (name && strcmp(config->issuers[i]->name, name) == 0)
            return config->issuers[i];
        strv_add(&names, config->issuers[i]->name);
    }
    auto_free char *all = strv_join(&names, ", ");
    if (names.n == 0) {
        err_set(err, ERR_CONFIG, "no issuers are configured in %s", config->file);
    } else if (!name) {
        err_set(err, ERR_CONFIG, "there is more than one issuer: say which");
        err_hint(err, "one of %s", all);
    } else {
        const char *nearest = schema_nearest(name, (const char *const *)names.items);
        err_set(err, ERR_CONFIG, "there is no issuer \"%s\" in %s", name, config->file);
        if (nearest)
            err_hint(err, "did you mean \"%s\"?", nearest);
        else
            err_hint(err, "one of %s", all);
    }
    return NULL;
}

void account_request_free(struct account_request *r)
{
    if (!r)
        return;
    issuer_wait_free(r->wait);
    account_op_free(r->op);
    save_free(r->save);
    timer_free(r->turn);
    if (r->entered)
        issuer_leave(r->issuer);
    json_decref(r->account);
    config_unref(r->owner);
    free(r);
}

/* The answer ----------------------------------------------------------------------------------- */

json_t *account_failure(const struct err *e, const char *by, int exit_status)
{
    json_t *j = json_object();

    json_put_str(j, "schema", "everleaf.account/1");
    json_put_int(j, "exit", exit_status);
    json_put_str(j, "by", by);
    json_put(j, "error", err_to_json(e));
    return j;
}

static json_t *key_json(const struct session *s)
{
    if (!session_key(s))
        return json_null();
    json_t *j = json_object();

    json_put_str(j, "type", key_type_name(key_type(session_key(s))));
    json_put_str(j, "thumbprint", session_thumbprint(s));
    return j;
}

static void finish(struct account_request *r, const struct err *e)
{
    account_request_fn *fn = r->fn;
    void *userdata = r->userdata;
    const json_t *contact = json_get(r->account, "contact");
    auto_json json_t *j = account_failure(e, r->by, e ? 1 : 0);

    json_put_str(j, "verb", account_verb_name(r->verb));
    json_put_str(j, "issuer", r->config->name);
    json_put_str(j, "directory", r->config->directory);
    json_put_str(j, "account", r->issuer ? issuer_account(r->issuer) : NULL);
    json_put_str(j, "status", json_str(r->account, "status"));
    json_put(j, "contact", contact ? json_deep_copy(contact) : json_null());
    json_put(j, "key", r->issuer ? key_json(issuer_session(r->issuer)) : json_null());
    account_request_free(r);
    fn(j, userdata);
}

/* What is kept --------------------------------------------------------------------------------- */

static void on_kept(const struct err *e, void *userdata)
{
    struct account_request *r = userdata;
    auto_err struct err *copy = err_copy(e);

    r->save = NULL;
    if (copy)
        err_wrap(&copy, "the CA did it, but account.json could not be saved");
    finish(r, copy);
}

/* account.json as it will be after an update or a deactivation; NULL and err. */
static json_t *changed_record(const struct account_request *r, struct err **err)
{
    struct state *state = manager_services(r->manager)->state;
    struct account_record record = {0};

    if (!state_load_account(state, r->config->directory, &record, err))
        return NULL;
    json_t *j = record.json ? json_incref(record.json) : json_object();
    account_record_done(&record);
    json_put_str(j, "url", issuer_account(r->issuer));
    if (r->verb == ACCOUNT_DEACTIVATE)
        json_put_str(j, "status", "deactivated");
    else
        json_put_strv(j, "contact", &r->config->contact);
    return j;
}

static void keep(struct account_request *r)
{
    auto_err struct err *e = NULL;
    auto_json json_t *j = changed_record(r, &e);

    if (!j)
        on_kept(e, r);
    else if (r->verb == ACCOUNT_DEACTIVATE)
        r->save = issuer_save_deactivated(r->issuer, j, on_kept, r);
    else
        r->save = issuer_save_account(r->issuer, j, on_kept, r);
}

/* The CA --------------------------------------------------------------------------------------- */

static void on_answer(const json_t *json, const struct err *e, void *userdata)
{
    struct account_request *r = userdata;

    r->op = NULL; /* ends by itself */
    r->account = json ? json_deep_copy(json) : json_object();
    if (r->verb == ACCOUNT_DEACTIVATE && !e)
        json_put_str(r->account, "status", "deactivated");
    if (e || r->verb == ACCOUNT_SHOW || r->verb == ACCOUNT_ROLLOVER)
        finish(r, e);
    else
        keep(r);
}

static void on_prepared(const struct err *e, void *userdata)
{
    struct account_request *r = userdata;
    struct session *s = issuer_session(r->issuer);

    r->wait = NULL;
    if (e) {
        finish(r, e);
        return;
    }
    r->entered = true;
    issuer_enter(r->issuer);
    if (r->verb == ACCOUNT_UPDATE)
        r->op = account_update(s, &r->config->contact, on_answer, r);
    else if (r->verb == ACCOUNT_DEACTIVATE)
        r->op = account_deactivate(s, on_answer, r);
    else
        r->op = account_show(s, on_answer, r);
}

/* With the new key the account is looked at once more. */
static void on_rolled(const struct err *e, void *userdata)
{
    struct account_request *r = userdata;

    r->wait = NULL;
    if (e)
        finish(r, e);
    else
        r->wait = issuer_prepare(r->issuer, on_prepared, r);
}

/* The beginning -------------------------------------------------------------------------------- */

static void on_turn(void *userdata)
{
    struct account_request *r = userdata;
    auto_err struct err *e = NULL;

    timer_free(take(r->turn));
    r->issuer = manager_use_issuer(r->manager, r->config, &e); /* a reload may have freed it */
    if (!r->issuer) {
        finish(r, e);
    } else if (!issuer_account(r->issuer)) {
        err_set(&e, ERR_REFUSED, "issuer %s has no account yet", r->config->name);
        err_hint(&e, "it is made with the first certificate");
        finish(r, e);
    } else if (issuer_is_deactivated(r->issuer)) {
        r->account = json_object();
        json_put_str(r->account, "status", "deactivated");
        if (r->verb == ACCOUNT_UPDATE || r->verb == ACCOUNT_ROLLOVER)
            err_set(&e, ERR_REFUSED, "the account of issuer %s was deactivated", r->config->name);
        finish(r, e);
    } else if (r->verb == ACCOUNT_ROLLOVER) {
        r->wait = issuer_rollover(r->issuer, on_rolled, r);
    } else {
        r->wait = issuer_prepare(r->issuer, on_prepared, r);
    }
}

struct account_request *account_request_start(struct manager *m, enum account_verb verb,
                                              const char *issuer, const char *by,
                                              account_request_fn *fn, void *userdata,
                                              struct err **err)
{
    struct config *owner = manager_config_ref(m);
    const struct config_issuer *config = account_issuer(owner, issuer, err);

    if (!config || !manager_use_issuer(m, config, err)) {
        config_unref(owner);
        return NULL;
    }
    struct account_request *r = xcalloc(1, sizeof *r);
    *r = (struct account_request){
        .manager = m,
        .verb = verb,
        .by = by,
        .config = config,
        .owner = owner,
        .fn = fn,
        .userdata = userdata,
    };
    r->turn = timer_after(manager_services(m)->loop, 0, on_turn, r);
    return r;
}
