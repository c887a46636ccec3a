/* Strategy:
 *
 *   account key on disk (issuer_prepare)
 *   load order.json and the order's key; what does not fit the configuration any more is abandoned
 *   no key: make one (or take the live one) and save it
 *   order_start: resumes or begins; its saves go to order.json
 *   chain accepted: write the generation, remove order.json and the key's copy
 *
 * A kill after the generation was written may leave order.json or the key's copy. The next attempt
 * sees that the key, or the certificate, is that of the newest generation (settings.newest), and
 * removes them. */
#include "agent/issuance.h"

#include <string.h>

#include "acme/order.h"
#include "agent/order_count.h"
#include "agent/pause.h"
#include "base/clock.h"
#include "base/log.h"

struct issuance {
    struct issuance_settings settings;
    struct issuance_events events;
    char *attempt;
    struct issuer_wait *wait;
    bool entered;       /* settings.issuer */
    struct issuer *old; /* of an order that is given up; entered once there is `abandon` */
    struct key_job *making;
    struct save *save;         /* key, order.json, or account */
    struct generation *newest; /* on disk; loaded only where it matters, else NULL */
    struct key *reuse;         /* its key, when key.reuse is set and its type fits, or NULL */
    struct key *key;
    json_t *saved; /* order.json to go on with, or NULL */
    char *replaces;
    struct order_count count;
    struct abandon *abandon;
    struct order *order;
    struct generation_job *writing;
    struct generation *generation; /* written */
};

void issuance_free(struct issuance *i)
{
    if (!i)
        return;
    issuer_wait_free(i->wait);
    key_job_free(i->making);
    save_free(i->save);
    if (i->abandon)
        issuer_leave(i->old);
    abandon_free(i->abandon);
    order_free(i->order);
    if (i->entered)
        issuer_leave(i->settings.issuer);
    order_count_ended(&i->count, false);
    generation_job_free(i->writing);
    generation_unref(i->generation);
    key_unref(i->key);
    key_unref(i->reuse);
    generation_unref(i->newest);
    json_decref(i->saved);
    free(i->replaces);
    free(i->attempt);
    free(i);
}

static void issuance_finish(struct issuance *i, const struct err *e)
{
    struct issuance_events events = i->events;
    struct generation *g = e ? NULL : take(i->generation);
    auto_err struct err *copy = err_copy(e);
    auto_free char *unpause = pause_url(e);

    if (unpause)
        err_hint(&copy, "repair the validation, then go to %s", unpause);
    issuance_free(i);
    events.done(g, copy, events.userdata);
}

static void issuance_fail(struct issuance *i, const struct err *e, const char *step,
                          const char *what)
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

/* After the order ------------------------------------------------------------------------------ */

/* Not awaited: what a kill leaves is recognised by the next attempt (see above). */
static void remove_leftovers(struct issuance *i)
{
    (void)state_save(state_of(i), name_of(i), "order", NULL, NULL, NULL);
    (void)state_remove_order_key(state_of(i), name_of(i), NULL, NULL);
}

static void on_generation(struct generation *g, const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->writing = NULL;
    if (e) {
        issuance_fail(i, e, "store", "writing the new generation");
        return;
    }
    remove_leftovers(i);
    i->generation = g;
    issuance_finish(i, NULL);
}

static json_t *generation_info(const struct issuance *i, const struct cert *leaf)
{
    const struct config_certificate *c = i->settings.certificate;
    json_t *j = json_object();

    json_put_str(j, "issuer", c->issuer->name);
    json_put_str(j, "directory", c->issuer->directory);
    json_put_str(j, "account", issuer_account(i->settings.issuer));
    json_put_str(j, "attempt", i->attempt);
    json_put_time(j, "created_at", clock_now());
    json_put_str(j, "ari_id", leaf->ari_id);
    return j;
}

static void make_key(struct issuance *i);

static void on_order_done(struct order *o, struct chain *chain, const struct err *e, bool resumable,
                          void *userdata)
{
    struct issuance *i = userdata;
    auto_chain struct chain *issued = chain;

    (void)o;
    order_free(take(i->order));
    order_count_ended(&i->count, !e);
    if (e) {
        if (!resumable) /* its key, too: there may be a certificate for it that was refused */
            remove_leftovers(i);
        issuance_finish(i, e);
        return;
    }
    if (i->newest && strcmp(issued->items[0]->sha256_hex, generation_sha256(i->newest)) == 0) {
        /* An order of the past with a key that is used again: we have its certificate already. */
        remove_leftovers(i);
        key_unref(take(i->key));
        json_decref(take(i->saved));
        make_key(i);
        return;
    }
    i->events.activity("writing the new generation", i->events.userdata);
    auto_json json_t *info = generation_info(i, issued->items[0]);
    i->writing = generation_write(state_of(i), name_of(i), issued, i->key, info, on_generation, i);
}

/* The order ------------------------------------------------------------------------------------ */

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
    auto_json json_t *whole = json_copy((json_t *)(uintptr_t)state); /* reads it only */

    (void)o;
    json_put_str(whole, "challenge", i->settings.certificate->solver->name);
    i->save = state_save(state_of(i), name_of(i), "order", whole, on_saved_for_order, i);
}

static void on_account_save(struct order *o, const json_t *json, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    i->save = issuer_save_account(i->settings.issuer, json, on_saved_for_order, i);
}

static bool on_order_may_place(struct order *o, bool replaces, struct err **err, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    return order_count_may_place(&i->count, replaces, err);
}

static void on_order_placed(struct order *o, bool replaces, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    order_count_placed(&i->count, replaces);
}

static void on_order_refused(struct order *o, const struct err *e, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    order_count_refused(&i->count, e);
}

static void on_order_validated(struct order *o, const char *name, bool good, void *userdata)
{
    struct issuance *i = userdata;
    (void)o;
    order_count_validated(&i->count, name, good);
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
                .maybe_registered = issuer_begin_registration(i->settings.issuer),
            },
        .label = c->name,
        .attempt = i->attempt,
        .names = c->names,
        .key = i->key,
        .solver = c->solver,
        .profile = issuer->profile,
        .profile_required = issuer->profile_required,
        .preferred_chain = issuer->preferred_chain,
        .replaces = i->replaces,
        .must_staple = c->must_staple,
    };
    struct order_events events = {
        .may_place = on_order_may_place,
        .placed = on_order_placed,
        .refused = on_order_refused,
        .validated = on_order_validated,
        .save = on_order_save,
        .save_account = on_account_save,
        .activity = on_order_activity,
        .done = on_order_done,
        .userdata = i,
    };
    if (i->saved)
        order_count_resumed(&i->count, json_bool(i->saved, "replaces"));
    i->order = order_start(&settings, &events, i->saved);
}

/* The key -------------------------------------------------------------------------------------- */

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

    if (i->reuse) {
        on_key_made(key_ref(i->reuse), NULL, i);
        return;
    }
    i->events.activity("making a key", i->events.userdata);
    i->making = key_generate(i->settings.services->worker, c->key_type, on_key_made, i);
}

/* What is on disk ------------------------------------------------------------------------------ */

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
    const char *challenge = json_str(i->saved, "challenge");

    json_read_strv(i->saved, "names", &names);
    if (challenge && strcmp(challenge, c->solver->name) != 0)
        return false;
    return directory && strcmp(directory, c->issuer->directory) == 0 &&
           same_set(&names, &c->names) && i->key && key_type(i->key) == c->key_type;
}

static void go_on_without_order(struct issuance *i)
{
    json_decref(take(i->saved));
    make_key(i);
}

static void on_abandoned(void *userdata)
{
    struct issuance *i = userdata;

    i->abandon = NULL;
    issuer_leave(i->old);
    go_on_without_order(i);
}

/* The newest generation, for its key: to use it again, or to know an order of the past by it. */
static void load_newest(struct issuance *i)
{
    const struct config_certificate *c = i->settings.certificate;
    auto_err struct err *e = NULL;

    if (i->settings.newest == 0 || (!i->key && !c->key_reuse))
        return;
    i->newest = generation_load(state_of(i), name_of(i), i->settings.newest, &e);
    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "newest generation unusable", "certificate", name_of(i));
    if (i->newest && c->key_reuse && !i->settings.new_key &&
        key_type(i->newest->key) == c->key_type)
        i->reuse = key_ref(i->newest->key);
}

static void on_old_prepared(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->wait = NULL;
    if (e) { /* it expires by itself */
        go_on_without_order(i);
        return;
    }
    issuer_enter(i->old);
    i->events.activity("giving up the order of the old configuration", i->events.userdata);
    i->abandon = order_abandon(issuer_session(i->old), i->saved, on_abandoned, i);
}

/* The order on disk does not fit: its authorizations are given up before a new one is placed. */
static void give_up_order(struct issuance *i)
{
    const char *directory = json_str(i->saved, "directory");
    struct issuer *old =
        directory ? i->settings.find_issuer(directory, i->settings.userdata) : NULL;

    key_unref(take(i->key));
    i->old = old;
    if (old && issuer_account(old))
        i->wait = issuer_prepare(old, on_old_prepared, i);
    else
        go_on_without_order(i);
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
    if (e) {
        issuance_fail(i, e, "resume", "the key of the order under way");
        return;
    }
    load_newest(i);
    if (i->key && i->newest && key_equal(i->key, i->newest->key) && !i->reuse) {
        remove_leftovers(i);
        key_unref(take(i->key));
        json_decref(take(i->saved));
    }
    bool may_use_key = i->key && key_type(i->key) == i->settings.certificate->key_type;
    if (i->saved && order_fits(i)) {
        log_info("going on with the order under way", "certificate", name_of(i), "attempt",
                 i->attempt);
        start_order(i);
    } else if (i->saved) {
        give_up_order(i);
    } else if (may_use_key && !i->reuse) { /* saved, but its order was never placed */
        start_order(i);
    } else {
        key_unref(take(i->key));
        make_key(i);
    }
}

static void on_prepared(const struct err *e, void *userdata)
{
    struct issuance *i = userdata;

    i->wait = NULL;
    if (e) {
        issuance_fail(i, e, "account", NULL);
        return;
    }
    i->entered = true;
    issuer_enter(i->settings.issuer);
    continue_from_disk(i);
}

struct issuance *issuance_start(const struct issuance_settings *settings,
                                const struct issuance_events *events)
{
    struct issuance *i = xcalloc(1, sizeof *i);

    i->settings = *settings;
    i->attempt = xstrdup(settings->attempt);
    i->events = *events;
    i->replaces = xstrdup(settings->replaces);
    i->count = (struct order_count){
        .authority = issuer_authority(settings->issuer),
        .certificate = settings->certificate->name,
        .order = {.names = &settings->certificate->names, .same_names = settings->same_names},
        .due_at = settings->due_at,
        .force = settings->force,
    };
    i->wait = issuer_prepare(settings->issuer, on_prepared, i);
    return i;
}

bool issuance_is_pending(const struct services *services, const char *certificate, int64_t newest)
{
    struct state *state = services->state;
    auto_json json_t *order = state_load(state, certificate, "order", NULL);
    auto_key struct key *key = order ? state_load_order_key(state, certificate, NULL) : NULL;

    if (!key || newest == 0)
        return key != NULL;
    struct generation *g = generation_load(state, certificate, newest, NULL);
    bool done = g && key_equal(key, g->key);
    generation_unref(g);
    return !done;
}
