#include "agent/renew_errand.h"

static bool read_reason(const char *text, enum revoke_reason *ret, struct err **err)
{
    auto_strv struct strv names = {0};

    if (!text || revoke_reason_parse(text, ret))
        return true;
    for (size_t i = 0; revoke_reason_names[i]; i++)
        strv_add(&names, revoke_reason_names[i]);
    auto_free char *all = strv_join(&names, ", ");
    err_set(err, ERR_CONFIG, "unknown reason \"%s\"", text);
    return err_hint(err, "one of %s", all);
}

static int run_revoke(int argc, char **argv, struct cmd_options *options)
{
    struct renew_errand e = {.wanted.action = TICKET_REVOKE};
    const char *reason = NULL;
    auto_err struct err *why = NULL;
    const struct cmd_flag flags[] = {
        {"--reason", NULL, &reason},
        {"--now", &e.wanted.now, NULL},
        {"--no-wait", &e.wanted.no_wait, NULL},
        {0},
    };
    int status = EXIT_USAGE;

    if (!cmd_parse(argc, argv, flags, options, 1, &e.wanted.names)) {
        renew_errand_done(&e);
        return status;
    }
    if (e.wanted.names.n == 0) {
        err_set(&why, ERR_CONFIG, "revoke needs the name of a certificate");
        err_hint(&why, "everleaf status lists them");
    }
    if (why || !read_reason(reason, &e.wanted.reason, &why))
        status = renew_errand_refuse(options, &e, why);
    else
        status = renew_errand_run(options, &e);
    renew_errand_done(&e);
    return status;
}

const struct verb verb_revoke = {
    .name = "revoke",
    .arguments = "NAME",
    .summary = "replace with a new key, prove, then revoke",
    .help =
        "Replaces the live certificate of NAME by one with a new key, proves that the servers\n"
        "serve it, and then has the CA revoke the old one: by the account that ordered it, or by\n"
        "its own key when there is no such account any more. If it cannot be replaced nothing is\n"
        "revoked; the replacement is tried again as every renewal is, and the revocation follows.\n"
        "What was begun survives any stop.\n\n"
        "  --reason R  unspecified (the default), keyCompromise, affiliationChanged, superseded,\n"
        "              cessationOfOperation or privilegeWithdrawn; keyCompromise implies --now\n"
        "  --now       revoke first, whether or not it can be replaced, and replace then\n"
        "  --no-wait   return as soon as the agent accepted; without an agent this waits\n\n"
        "Examples:\n"
        "  everleaf revoke www --reason superseded\n"
        "  everleaf revoke www --reason keyCompromise     the key is in wrong hands: at once\n"
        "  everleaf revoke www --json                     for programs: everleaf.renew/1, with\n"
        "                                                 \"revoked\": true in \"old\"\n",
    .run = run_revoke,
};
