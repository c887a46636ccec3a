#include <stdio.h>

#include "agent/account_request.h"
#include "agent/errand.h"
#include "agent/print.h"

struct account_errand {
    enum account_verb verb;
    const char *issuer; /* or NULL */
    struct errand *errand;
    struct account_request *request;
};

static bool check(const struct config *config, void *userdata, struct err **err)
{
    const struct account_errand *a = userdata;

    return account_issuer(config, a->issuer, err);
}

static json_t *make_request(void *userdata)
{
    const struct account_errand *a = userdata;
    json_t *j = json_object();

    json_put_str(j, "method", "account");
    json_put_str(j, "verb", account_verb_name(a->verb));
    json_put_str(j, "issuer", a->issuer);
    return j;
}

static void on_done(const json_t *document, void *userdata)
{
    struct account_errand *a = userdata;

    a->request = NULL;
    errand_answer(a->errand, document);
}

static bool begin(struct errand *e, struct manager *m, void *userdata, struct err **err)
{
    struct account_errand *a = userdata;

    a->errand = e;
    a->request = account_request_start(m, a->verb, a->issuer, "self", on_done, a, err);
    return a->request;
}

static json_t *so_far(const struct err *why, void *userdata)
{
    (void)userdata;
    return account_failure(why, "self", EXIT_TROUBLE);
}

static void stop(void *userdata)
{
    struct account_errand *a = userdata;

    account_request_free(a->request);
    a->request = NULL;
}

static void print(const json_t *document, void *userdata)
{
    static const char *const done[] = {
        [ACCOUNT_SHOW] = NULL,
        [ACCOUNT_UPDATE] = "the contacts were changed",
        [ACCOUNT_ROLLOVER] = "the account has a new key",
        [ACCOUNT_DEACTIVATE] = "the account was deactivated, for ever",
    };
    const struct account_errand *a = userdata;
    const json_t *key = json_get(document, "key");
    auto_strv struct strv contact = {0};

    if (json_str(json_get(document, "error"), "text") || !json_str(document, "account"))
        return;
    json_read_strv(document, "contact", &contact);
    auto_free char *contacts = contact.n > 0 ? strv_join(&contact, ", ") : NULL;
    print_line(stdout, 0, "issuer", json_str(document, "issuer"));
    print_line(stdout, 2, "directory", json_str(document, "directory"));
    print_line(stdout, 2, "account", json_str(document, "account"));
    print_line(stdout, 2, "status", json_str(document, "status"));
    print_line(stdout, 2, "contact", contacts);
    print_line(stdout, 2, "key", json_str(key, "type"));
    print_line(stdout, 2, "thumbprint", json_str(key, "thumbprint"));
    print_line(stdout, 2, "done", done[a->verb]);
}

static const struct errand_type type = {
    .check = check,
    .request = make_request,
    .begin = begin,
    .so_far = so_far,
    .stop = stop,
    .failure = account_failure,
    .print = print,
};

/* Arguments and --yes; false and err: wrong usage. */
static bool read_usage(const struct strv *args, bool yes, struct account_errand *a,
                       struct err **err)
{
    auto_strv struct strv verbs = {0};

    for (size_t i = 0; account_verb_names[i]; i++)
        strv_add(&verbs, account_verb_names[i]);
    auto_free char *all = strv_join(&verbs, ", ");
    if (args->n == 0 || !account_verb_parse(args->items[0], &a->verb)) {
        if (args->n == 0)
            err_set(err, ERR_CONFIG, "account needs a verb");
        else
            err_set(err, ERR_CONFIG, "unknown verb \"%s\" of an account", args->items[0]);
        return err_hint(err, "one of %s", all);
    }
    a->issuer = args->n > 1 ? args->items[1] : NULL;
    if (a->verb != ACCOUNT_DEACTIVATE || yes)
        return true;
    err_set(err, ERR_CONFIG, "deactivating an account cannot be undone");
    return err_hint(err, "no certificate can be renewed with it any more: add --yes if that is "
                         "what you want");
}

static int run_account(int argc, char **argv, struct cmd_options *options)
{
    struct account_errand a = {0};
    auto_strv struct strv args = {0};
    auto_err struct err *why = NULL;
    bool yes = false;
    const struct cmd_flag flags[] = {{"--yes", &yes, NULL}, {0}};

    if (!cmd_parse(argc, argv, flags, options, 2, &args))
        return EXIT_USAGE;
    if (!read_usage(&args, yes, &a, &why))
        return errand_refuse(options, &type, &a, why);
    return errand_run(options, &type, &a);
}

const struct verb verb_account = {
    .name = "account",
    .arguments = "VERB [ISSUER]",
    .summary = "show, update, rollover or deactivate an account",
    .help =
        "What can be done with the account at an issuer, through the running agent if there is\n"
        "one, else in this process. ISSUER may be left out where only one is configured.\n\n"
        "  show        the account as the CA sees it\n"
        "  update      makes the contacts those of the configuration\n"
        "  rollover    a new key for the account, once no order of it is under way; a reply that\n"
        "              is lost costs nothing: which key the CA knows is found out\n"
        "  deactivate  for ever; certificates stay valid, but cannot be renewed by it\n\n"
        "  --yes       for deactivate, which asks for it\n\n"
        "Examples:\n"
        "  everleaf account show\n"
        "  everleaf account rollover letsencrypt\n"
        "  everleaf account deactivate zerossl --yes\n"
        "  everleaf account show --json     for programs: the document everleaf.account/1\n",
    .run = run_account,
};
