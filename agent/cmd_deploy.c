/* Deployments by hand: the newest generation once more, or an earlier one. */
#include <errno.h>
#include <stdlib.h>

#include "agent/renew_errand.h"

/* The number of a generation as people write it: "12", or "000012" as the folder is called. */
static bool read_generation(const char *text, int64_t *ret, struct err **err)
{
    char *end = NULL;

    errno = 0;
    long long n = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : 0;
    if (errno != 0 || n <= 0 || !end || *end != '\0') {
        err_set(err, ERR_CONFIG, "not a generation: \"%s\"", text);
        return err_hint(err, "a number as `everleaf status NAME` shows it, such as 12");
    }
    *ret = n;
    return true;
}

/* args: the names of the arguments, those in brackets may be absent. */
static int run(int argc, char **argv, struct cmd_options *options, enum ticket_action action)
{
    struct renew_errand e = {.wanted.action = action};
    auto_strv struct strv args = {0};
    auto_err struct err *why = NULL;
    const struct cmd_flag flags[] = {{"--no-wait", &e.wanted.no_wait, NULL}, {0}};
    int status = EXIT_USAGE;

    if (!cmd_parse(argc, argv, flags, options, action == TICKET_ROLLBACK ? 2 : 1, &args))
        return status;
    if (args.n == 0) {
        err_set(&why, ERR_CONFIG, "%s needs the name of a certificate", argv[0]);
        err_hint(&why, "everleaf status lists them");
    } else {
        strv_add(&e.wanted.names, args.items[0]);
    }
    if (why || (args.n > 1 && !read_generation(args.items[1], &e.wanted.generation, &why)))
        status = renew_errand_refuse(options, &e, why);
    else
        status = renew_errand_run(options, &e);
    renew_errand_done(&e);
    return status;
}

static int run_deploy(int argc, char **argv, struct cmd_options *options)
{
    return run(argc, argv, options, TICKET_DEPLOY);
}

static int run_rollback(int argc, char **argv, struct cmd_options *options)
{
    return run(argc, argv, options, TICKET_ROLLBACK);
}

const struct verb verb_deploy = {
    .name = "deploy",
    .arguments = "NAME",
    .summary = "write, check, reload and prove the newest certificate again",
    .help =
        "Deploys the newest accepted certificate of NAME: the one that waits after a rollback,\n"
        "else the live one. Writes the outputs, runs the servers' own checks, reloads them and\n"
        "proves over TLS that they serve it. Passes the back-off of a deployment that failed, and\n"
        "ends a hold. Never orders a certificate.\n\n"
        "  --no-wait   return as soon as the agent accepted; without an agent this waits\n\n"
        "Examples:\n"
        "  everleaf deploy www              after the server's configuration was mended\n"
        "  everleaf deploy www --json       for programs: the document everleaf.renew/1, result\n"
        "                                   \"renewed\"\n",
    .run = run_deploy,
};

const struct verb verb_rollback = {
    .name = "rollback",
    .arguments = "NAME [GEN]",
    .summary = "make an earlier certificate live, and hold it",
    .help =
        "Makes an earlier generation of NAME live, the one before the live one unless GEN says\n"
        "which, with the same checks and the same proof as any deployment. It must be valid\n"
        "still and have all names. It is held until the next renewal or `everleaf deploy NAME`;\n"
        "when a twentieth of its lifetime is left, the newest one is deployed again.\n\n"
        "  --no-wait   return as soon as the agent accepted; without an agent this waits\n\n"
        "Examples:\n"
        "  everleaf rollback www            to the one before\n"
        "  everleaf rollback www 11         to generation 11\n"
        "  everleaf rollback www --json     for programs: the document everleaf.renew/1, result\n"
        "                                   \"rolled-back\"\n",
    .run = run_rollback,
};
