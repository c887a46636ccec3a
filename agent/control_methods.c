/* What a client of the control socket may ask for. */
#include <errno.h>
#include <string.h>

#include "agent/control_server.h"
#include "agent/status.h"

static void ask_status(struct client *c, const json_t *request)
{
    auto_err struct err *e = NULL;
    json_t *document = status_document(client_manager(c), true, json_str(request, "name"), &e);

    client_answer(c, document, e);
}

static void on_renewed(const json_t *document, void *userdata)
{
    struct client *c = userdata;

    c->renew = NULL;
    client_answer(c, json_deep_copy(document), NULL);
    client_continue(c);
}

/* A list that is not understood must not be taken for "all". */
static bool read_names(const json_t *request, struct strv *ret, struct err **err)
{
    const json_t *names = json_get(request, "names");

    json_read_strv(request, "names", ret);
    return !names || (json_is_array(names) && json_array_size(names) == ret->n) ||
           err_set(err, ERR_REFUSED, "control socket: names: expected a list of strings");
}

/* Only renewals may be asked for of all certificates at once. */
static bool read_wish(const json_t *request, struct renew_options *options, struct err **err)
{
    bool wait = true;

    (void)json_opt_bool(request, "wait", &wait, NULL);
    options->no_wait = !wait;
    options->force = json_bool(request, "force");
    options->due_only = json_bool(request, "due_only");
    options->generation = json_int(request, "generation");
    options->now = json_bool(request, "now");
    if (json_str(request, "reason") &&
        !revoke_reason_parse(json_str(request, "reason"), &options->reason))
        return err_set(err, ERR_REFUSED, "control socket: unknown reason");
    if (!read_names(request, &options->names, err))
        return false;
    return options->action == TICKET_RENEW || options->names.n > 0 ||
           err_set(err, ERR_REFUSED, "control socket: names: expected at least one");
}

static void ask_wish(struct client *c, const json_t *request, enum ticket_action action)
{
    auto_err struct err *e = NULL;
    struct renew_options options = {.action = action, .by = "agent"};

    if (read_wish(request, &options, &e))
        c->renew = renew_start(client_manager(c), &options, on_renewed, c, &e);
    strv_done(&options.names);
    if (!c->renew) {
        client_answer(c, NULL, e);
        return;
    }
    client_wait(c);
}

static void ask_renew(struct client *c, const json_t *request)
{
    ask_wish(c, request, TICKET_RENEW);
}

static void ask_deploy(struct client *c, const json_t *request)
{
    ask_wish(c, request, TICKET_DEPLOY);
}

static void ask_rollback(struct client *c, const json_t *request)
{
    ask_wish(c, request, TICKET_ROLLBACK);
}

static void ask_revoke(struct client *c, const json_t *request)
{
    ask_wish(c, request, TICKET_REVOKE);
}

static void on_account(const json_t *document, void *userdata)
{
    struct client *c = userdata;

    c->account = NULL;
    client_answer(c, json_deep_copy(document), NULL);
    client_continue(c);
}

static void ask_account(struct client *c, const json_t *request)
{
    auto_err struct err *e = NULL;
    enum account_verb verb;

    if (!account_verb_parse(json_str(request, "verb"), &verb))
        err_set(&e, ERR_REFUSED, "control socket: unknown verb of an account");
    else
        c->account = account_request_start(client_manager(c), verb, json_str(request, "issuer"),
                                           "agent", on_account, c, &e);
    if (c->account)
        client_wait(c);
    else
        client_answer(c, NULL, e);
}

static void ask_reload(struct client *c, const json_t *request)
{
    const struct control_settings *s = client_settings(c);

    (void)request;
    s->reload(s->userdata);
    client_answer(c, json_null(), manager_reload_error(s->manager));
}

static const struct method {
    const char *name;
    bool changes;
    void (*ask)(struct client *c, const json_t *request);
} methods[] = {
    {"status", false, ask_status},    {"renew", true, ask_renew},   {"deploy", true, ask_deploy},
    {"rollback", true, ask_rollback}, {"revoke", true, ask_revoke}, {"account", true, ask_account},
    {"reload", true, ask_reload},
};

void client_ask(struct client *c, const char *line, size_t len)
{
    auto_err struct err *e = NULL;
    auto_json json_t *request = json_parse(line, len, &e);
    const char *name = json_str(request, "method");
    const struct method *m = NULL;

    for (size_t i = 0; name && i < ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i].name, name) == 0)
            m = &methods[i];
    }
    if (!request) {
        err_wrap(&e, "control socket");
    } else if (!m) {
        err_set(&e, ERR_REFUSED, "control socket: unknown method \"%s\"", name ? name : "");
        err_hint(&e, "is the agent that runs an older release?");
    } else if (m->changes && !c->may_change) {
        err_set_errno(&e, EACCES, "%s needs the agent's user or root", name);
        err_hint(&e, "run it with sudo");
    }
    if (e)
        client_answer(c, NULL, e);
    else
        m->ask(c, request);
}
