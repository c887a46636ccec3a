/* Strategy:
 *
 *   account key on disk (issuer_prepare)
 *   load order.json and the order's key; what does not fit the configuration any more is abandoned
 *   no key: make one (or take the live one) and save it
 *   order_start: resumes or begins; its saves go to order.json
 *   chain accepted: write the generation, then remove order.json and the key's copy
 *
 * A kill after the generation was written and before order.json and the key's copy were removed leaves an
 * order whose key is in the newest generation (settings.newest): such leftovers are removed first. */
#include "agent/issuance.h"

#include <string.h>

#include "acme/order.h"
#include "base/clock.h"
#include "base/log.h"

struct issuance {
    struct issuance_settings settings;
    struct issuance_events events;
    char *attempt;
    struct issuer_wait *wait;
    struct key_job *making;
    struct save *save;         /* key, order.json, or account */
    struct key *key;
    json_t *saved;             /* order.json to go on with, or NULL */
    struct abandon *abandon;
    struct order *order;
    struct generation_job *writing;
    struct generation *generation; /* written; order.json still to be removed */
    struct err *error;             /* of an order whose state is being removed */
};

void issuance_free(struct issuance *i)
{
    if (!i)
        return;
    issuer_wait_free(i->wait);
    key_job_free(i->making);
    save_free(i->save);
    abandon_free(i->abandon);
    order_free(i->order);
    generation_job_free(i->writing);
    if (i->generation)
        generation_unref(i->generation);
    key_unref(i->key);
    key_unref(i->settings.reuse);
    json_decref(i->saved);
    err_free(i->error);
    free(i->attempt);
    free(i);
}

static void issuance_finish(struct issuance *i, const struct err *e)
{
    struct issuance_events events = i->events;
    struct generation *g = e ? NULL : take(i->generation);
    auto_err struct err *copy = err_copy(e);

    issuance_free(i);
    events.done(g, copy, events.userdata);
}

static void issuance_fail(struct issuance *i, const struct err *e, const char *step, const char *what)
{
    auto_err struct err *copy = err_copy(e);

    if (what)
        err_wrap(&copy, "%s", what);
    err_step(&copy, step);
    issuance_finish(i, copy);
}

static struct state *state_of(const struct issuance *i)
{
    return i->settings.services->state;
}

static const char *name_of(const struct issuance *i)
{
    return i->settings.certificate->name;
}

/* After the order ----------------------------------------------------------------------------------- */

static void on_order_removed(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->save = NULL;
    if (e) /* harmless: it is recognised by its key at the next start */
        log_failure(LOG_LEVEL_WARNING, e, "order.json not removed", "certificate", name_of(i));
    if (i->error) {
        auto_err struct err *error = take(i->error);
        issuance_finish(i, error);
        return;
    }
    issuance_finish(i, NULL);
}

/* The order first: a key without an order is used for the next one, an order without its key is lost. */
static void on_order_gone(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    if (e || i->error) { /* a key that was never certified may serve the next order */
        on_order_removed(e, i);
        return;
    }
    i->save = state_remove_order_key(state_of(i), name_of(i), on_order_removed, i);
}

static void remove_order(struct issuance *i)
{
    i->save = state_save(state_of(i), name_of(i), "order", NULL, on_order_gone, i);
}

static void on_generation(struct generation *g, const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->writing = NULL;
    if (e) {
        issuance_fail(i, e, "store", "writing the new generation");
        return;
    }
    i->generation = g;
    remove_order(i);
}

static json_t *generation_info(const struct issuance *i, const struct cert *leaf)
{
    const struct config_certificate *c = i->settings.certificate;
    json_t *j = json_object();

    json_put_str(j, "issuer", c->issuer->name);
    json_put_str(j, "directory", c->issuer->directory);
    json_put_str(j, "attempt", i->attempt);
    json_put_time(j, "created_at", clock_now());
    json_put_str(j, "ari_id", leaf->ari_id);
    return j;
}

static void on_order_done(struct order *o, struct chain *chain, const struct err *e, bool resumable,
                          void *userdata)
{
    struct issuance *i = userdata;

    (void)o;
    order_free(take(i->order));
    if (e && resumable) {
        issuance_finish(i, e);
    } else if (e) {
        i->error = err_copy(e);
        remove_order(i);
    } else {
        i->events.activity("writing the new generation", i->events.userdata);
        auto_json json_t *info = generation_info(i, chain->items[0]);
        i->writing = generation_write(state_of(i), name_of(i), chain, i->key, info, on_generation, i);
        chain_free(chain);
    }
}

/* The order ----------------------------------------------------------------------------------------- */

static void on_saved_for_order(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->save = NULL;
    if (e)
        order_save_failed(i->order, e);
    else
        order_saved(i->order);
}

static void on_order_save(struct order *o, const json_t *state, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    i->save = state_save(state_of(i), name_of(i), "order", state, on_saved_for_order, i);
}

static void on_account_save(struct order *o, const json_t *json, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    i->save = issuer_save_account(i->settings.issuer, json, on_saved_for_order, i);
}

static void on_order_activity(struct order *o, const char *text, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    i->events.activity(text, i->events.userdata);
}

static void start_order(struct issuance *i)
{
    const struct config_certificate *c = i->settings.certificate;
    const struct config_issuer *issuer = c->issuer;
    struct order_settings settings = {
        .session = issuer_session(i->settings.issuer),
        .account =
            {
                .contact = issuer->contact,
                .terms_agreed = issuer->terms_agreed,
                .eab_kid = issuer->eab_kid,
                .eab_hmac = issuer->eab_hmac,
                .maybe_registered = issuer_maybe_registered(i->settings.issuer),
            },
        .label = c->name,
        .attempt = i->attempt,
        .names = c->names,
        .key = i->key,
        .solver = c->solver,
        .profile = issuer->profile,
        .profile_required = issuer->profile_required,
        .preferred_chain = issuer->preferred_chain,
        .must_staple = c->must_staple,
    };
    struct order_events events = {
        .save = on_order_save,
        .save_account = on_account_save,
        .activity = on_order_activity,
        .done = on_order_done,
        .userdata = i,
    };
    i->order = order_start(&settings, &events, i->saved);
}

/* The key ------------------------------------------------------------------------------------------- */

static void on_key_saved(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->save = NULL;
    if (e)
        issuance_fail(i, e, "key", "saving the new key");
    else
        start_order(i);
}

static void on_key_made(struct key *key, const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->making = NULL;
    if (e) {
        issuance_fail(i, e, "key", "making the new key");
        return;
    }
    i->key = key;
    i->save = state_save_order_key(state_of(i), name_of(i), i->key, on_key_saved, i);
}

static void make_key(struct issuance *i)
{
    const struct config_certificate *c = i->settings.certificate;

    if (i->settings.reuse) {
        on_key_made(key_ref(i->settings.reuse), NULL, i);
        return;
    }
    i->events.activity("making a key", i->events.userdata);
    i->making = key_generate(i->settings.services->worker, c->key_type, on_key_made, i);
}

/* What is on disk ----------------------------------------------------------------------------------- */

static bool same_set(const struct strv *a, const struct strv *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (!strv_has(b, a->items[i]))
            return false;
    }
    return true;
}

static bool order_fits(const struct issuance *i)
{
    const struct config_certificate *c = i->settings.certificate;
    auto_strv struct strv names = {0};
    const char *directory = json_str(i->saved, "directory");

    json_read_strv(i->saved, "names", &names);
    return directory && strcmp(directory, c->issuer->directory) == 0 && same_set(&names, &c->names) &&
           i->key && key_type(i->key) == c->key_type;
}

static void on_abandoned(void *userdata)
{
    struct issuance *i = userdata;

    i->abandon = NULL;
    json_decref(take(i->saved));
    make_key(i);
}

/* Goes on with the order on disk, or gives it up and makes a key for a new one. */
static void on_leftovers_removed(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->save = NULL;
    if (e)
        issuance_fail(i, e, "resume", "removing an order that is done");
    else
        make_key(i);
}

static void on_leftover_order_removed(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    if (e)
        on_leftovers_removed(e, i);
    else
        i->save = state_remove_order_key(state_of(i), name_of(i), on_leftovers_removed, i);
}

static void continue_from_disk(struct issuance *i)
{
    auto_err struct err *e = NULL;

    i->saved = state_load(state_of(i), name_of(i), "order", &e);
    if (e) {
        issuance_fail(i, e, "resume", NULL);
        return;
    }
    i->key = state_load_order_key(state_of(i), name_of(i), &e);
    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "the key of the order under way is unusable", "certificate",
                    name_of(i));
    if (i->key && i->settings.newest && key_equal(i->key, i->settings.newest->key) &&
        !i->settings.reuse) {
        key_unref(take(i->key));
        json_decref(take(i->saved));
        i->save = state_save(state_of(i), name_of(i), "order", NULL, on_leftover_order_removed, i);
        return;
    }
    if (i->saved && order_fits(i)) {
        log_info("going on with the order under way", "certificate", name_of(i), "attempt", i->attempt);
        start_order(i);
        return;
    }
    bool fresh_key = i->key && !i->saved && !i->settings.reuse &&
                     key_type(i->key) == i->settings.certificate->key_type;
    if (fresh_key) { /* saved, but its order was never placed */
        start_order(i);
        return;
    }
    key_unref(take(i->key));
    const char *directory = json_str(i->saved, "directory");
    if (directory && strcmp(directory, i->settings.certificate->issuer->directory) == 0) {
        i->events.activity("giving up the order of the old configuration", i->events.userdata);
        i->abandon = order_abandon(issuer_session(i->settings.issuer), i->saved, on_abandoned, i);
        return;
    }
    json_decref(take(i->saved));
    make_key(i);
}

static void on_prepared(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->wait = NULL;
    if (e)
        issuance_fail(i, e, "account", NULL);
    else
        continue_from_disk(i);
}

struct issuance *issuance_start(const struct issuance_settings *settings,
                                const struct issuance_events *events)
{
    struct issuance *i = xcalloc(1, sizeof *i);

    i->settings = *settings;
    i->settings.reuse = settings->reuse ? key_ref(settings->reuse) : NULL;
    i->attempt = xstrdup(settings->attempt);
    i->events = *events;
    i->wait = issuer_prepare(settings->issuer, on_prepared, i);
    return i;
}

bool issuance_is_pending(const struct services *services, const char *certificate)
{
    auto_json json_t *order = state_load(services->state, certificate, "order", NULL);
    return order != NULL;
}
