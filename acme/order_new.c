/* Step "new-order": what is asked for, and what is asked for once more with less. */
#include "acme/order_private.h"

#include "acme/problem.h"
#include "base/log.h"
#include "pki/name.h"

static void set_profile_error(struct order *o, struct err **err)
{
    const struct directory *d = session_directory(o->settings.session);
    auto_free char *offered = d ? strv_join(&d->profiles, ", ") : NULL;

    err_set(err, ERR_CONFIG, "the CA does not offer the profile \"%s\" for these names",
            o->settings.profile);
    if (offered && *offered)
        err_hint(err, "it offers: %s", offered);
    else
        err_hint(err, "it offers no profiles: remove `profile` or `profile_required`");
}

/* NULL: none is sent. */
static const char *choose_profile(struct order *o, const struct directory *d, struct err **err)
{
    const char *profile = o->settings.profile;

    if (!profile || o->without_profile || strv_has(&d->profiles, profile))
        return o->without_profile ? NULL : profile;
    if (o->settings.profile_required)
        set_profile_error(o, err);
    else
        log_warning("the CA does not offer the profile: ordering without it", "certificate",
                    o->settings.label, "profile", profile);
    return NULL;
}

static bool sends_replaces(const struct order *o, const struct directory *d)
{
    return o->settings.replaces && d && d->renewal_info && !o->without_replaces; /* RFC 9773 5 */
}

static char *new_order_payload(const struct order *o, const struct directory *d,
                               const char *profile)
{
    auto_json json_t *payload = json_object();
    json_t *identifiers = json_array();

    for (size_t i = 0; i < o->settings.names.n; i++) {
        const char *name = o->settings.names.items[i];
        json_t *identifier = json_object();
        json_put_str(identifier, "type", name_type(name) == NAME_IP ? "ip" : "dns");
        json_put_str(identifier, "value", name);
        json_array_append_new(identifiers, identifier);
    }
    json_put(payload, "identifiers", identifiers);
    if (profile)
        json_put_str(payload, "profile", profile);
    if (sends_replaces(o, d))
        json_put_str(payload, "replaces", o->settings.replaces);
    return json_compact(payload);
}

static void on_directory(const struct directory *d, const struct err *e, void *userdata)
{
    struct order *o = userdata;
    auto_err struct err *failure = err_copy(e);
    const char *profile = d ? choose_profile(o, d, &failure) : NULL;

    o->directory_wait = NULL;
    o->replaces = sends_replaces(o, d);
    if (!failure && o->events.may_place)
        (void)o->events.may_place(o, o->replaces, &failure, o->events.userdata);
    if (failure) {
        order_advance(o, NULL, failure);
        return;
    }
    auto_free char *payload = new_order_payload(o, d, profile);
    order_post(o, "new-order", d->new_order, payload, NULL);
}

void order_ask_new(struct order *o)
{
    o->directory_wait = directory_get(o->settings.session, on_directory, o);
}

/* Servers differ in how they refuse `replaces`: alreadyReplaced, conflict, a certificate they do
 * not find, one of another account. It is only a courtesy: without it the order is as good. */
static bool is_about_replaces(const struct order *o, const struct err *e)
{
    return sends_replaces(o, session_directory(o->settings.session)) &&
           (e->code == 409 || err_is_problem(e, "alreadyReplaced") ||
            err_is_problem(e, "malformed") || err_is_problem(e, "unauthorized"));
}

/* True when the order is placed once more without the profile; else err is the better error. */
bool order_drop_profile(struct order *o, struct err **err)
{
    if (!o->settings.profile || o->without_profile)
        return false;
    if (o->settings.profile_required) {
        set_profile_error(o, err);
        session_forget_directory(o->settings.session); /* it may offer others by now */
        return false;
    }
    log_warning("the CA refused the profile: ordering without it", "certificate", o->settings.label,
                "profile", o->settings.profile);
    o->without_profile = true;
    session_forget_directory(o->settings.session);
    return true;
}

static enum order_state judge_refused_order(struct order *o, const struct err *e, struct err **err)
{
    order_step_fail(e, err);
    if (e->code >= 400 && o->events.refused)
        o->events.refused(o, e, o->events.userdata);
    if (err_is_problem(e, "invalidProfile"))
        return order_drop_profile(o, err) ? ORDER_NEW : ORDER_FAILED;
    if (is_about_replaces(o, e)) {
        log_info("the CA refused to link the order to its predecessor", "certificate",
                 o->settings.label);
        o->without_replaces = true;
        return ORDER_NEW;
    }
    if (e->code == 404 && !o->refetched) { /* the directory may have moved */
        session_forget_directory(o->settings.session);
        o->refetched = true;
        return ORDER_NEW;
    }
    if (err_is_problem(e, "unauthorized"))
        err_hint(err, "the CA may have closed the account; remove its folder from the state "
                      "directory to register anew");
    return ORDER_FAILED;
}

enum order_state order_judge_new(struct order *o, const struct reply *r, const struct err *e,
                                 struct err **err)
{
    if (e)
        return judge_refused_order(o, e, err);
    if (!reply_need_json(r, err) || !reply_need_location(r, &o->url, err))
        return ORDER_FAILED;
    o->poll = (struct pace_poll){0};
    if (r->status == 201 && o->events.placed)
        o->events.placed(o, o->replaces, o->events.userdata);
    enum order_state next = order_follow(o, r, err);
    if (next != ORDER_FAILED) {
        log_info("order placed", "certificate", o->settings.label, "attempt", o->settings.attempt,
                 "order", o->url);
        o->save_state = true;
    }
    return next;
}
