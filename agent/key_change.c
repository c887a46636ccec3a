#include "agent/key_change.h"

struct key_change {
    struct key_change_settings settings;
    char *directory;
    struct key *next;
    struct key_job *making;
    struct save *save;
    struct rollover *rollover;
    enum rollover_result result;
    struct err *error; /* why it is not the new key */
    key_change_fn *fn;
    void *userdata;
};

void key_change_free(struct key_change *c)
{
    if (!c)
        return;
    key_job_free(c->making);
    save_free(c->save);
    rollover_free(c->rollover);
    key_unref(c->next);
    err_free(c->error);
    free(c->directory);
    free(c);
}

static void change_end(struct key_change *c, const struct err *e, const char *what)
{
    key_change_fn *fn = c->fn;
    void *userdata = c->userdata;
    enum rollover_result result = c->result;
    struct key *pending = result == ROLLOVER_UNKNOWN ? take(c->next) : NULL;
    auto_err struct err *error = err_copy(e ? e : c->error);

    if (e && what)
        err_wrap(&error, "%s", what);
    err_step(&error, "rollover");
    key_change_free(c);
    fn(result, pending, error, userdata);
}

/* What the CA knows is on disk, or will be found out again ------------------------------------- */

static void on_forgotten(const struct err *e, void *userdata)
{
    struct key_change *c = userdata;

    c->save = NULL;
    change_end(c, e, "removing the pending account key");
}

static void forget_pending(struct key_change *c)
{
    c->save = state_save_account_next_key(c->settings.services->state, c->directory, NULL,
                                          on_forgotten, c);
}

static void on_kept(const struct err *e, void *userdata)
{
    struct key_change *c = userdata;

    c->save = NULL;
    if (e) /* key-next.pem stays: the next start finds that it is the account's key */
        change_end(c, e, "saving the new account key");
    else
        forget_pending(c);
}

static void on_rolled(enum rollover_result result, const struct err *e, void *userdata)
{
    struct key_change *c = userdata;

    c->rollover = NULL;
    c->result = result;
    c->error = err_copy(e);
    if (result == ROLLOVER_UNKNOWN)
        change_end(c, NULL, NULL);
    else if (result == ROLLOVER_OLD)
        forget_pending(c);
    else
        c->save =
            state_save_account_key(c->settings.services->state, c->directory, c->next, on_kept, c);
}

/* The beginning -------------------------------------------------------------------------------- */

static void on_recorded(const struct err *e, void *userdata)
{
    struct key_change *c = userdata;

    c->save = NULL;
    if (e)
        change_end(c, e, "saving the pending account key");
    else
        c->rollover = rollover_start(c->settings.session, c->next, on_rolled, c);
}

static void on_made(struct key *key, const struct err *e, void *userdata)
{
    struct key_change *c = userdata;

    c->making = NULL;
    if (e) {
        change_end(c, e, "making the new account key");
        return;
    }
    c->next = key;
    c->save =
        state_save_account_next_key(c->settings.services->state, c->directory, key, on_recorded, c);
}

struct key_change *key_change_start(const struct key_change_settings *settings, key_change_fn *fn,
                                    void *userdata)
{
    struct key_change *c = xcalloc(1, sizeof *c);

    c->settings = *settings;
    c->directory = xstrdup(settings->directory);
    c->fn = fn;
    c->userdata = userdata;
    c->result = ROLLOVER_OLD;
    if (!settings->pending) {
        c->making = key_generate(settings->services->worker, KEY_ECDSA_P256, on_made, c);
        return c;
    }
    c->next = key_ref(settings->pending);
    if (key_equal(c->next, session_key(settings->session))) { /* saved, but not removed */
        c->result = ROLLOVER_NEW;
        forget_pending(c);
    } else {
        c->result = ROLLOVER_UNKNOWN;
        c->rollover = rollover_resolve(settings->session, session_key(settings->session), c->next,
                                       on_rolled, c);
    }
    return c;
}
