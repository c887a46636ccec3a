#include "agent/renew_errand.h"

static int run_renew(int argc, char **argv, struct cmd_options *options)
{
    bool due = false;
    int status = EXIT_USAGE;
    struct renew_errand e = {0};
    const struct cmd_flag flags[] = {
        {"--force", &e.wanted.force, NULL},
        {"--due", &due, NULL},
        {"--no-wait", &e.wanted.no_wait, NULL},
        {"--metrics-file", NULL, &e.metrics_file},
        {0},
    };

    if (!cmd_parse(argc, argv, flags, options, SIZE_MAX, &e.wanted.names)) {
        /* told already */
    } else if (due && e.wanted.force) {
        auto_err struct err *why = NULL;
        err_set(&why, ERR_CONFIG, "--due and --force contradict each other");
        status = renew_errand_refuse(options, &e, why);
    } else {
        e.wanted.due_only = due || (e.wanted.names.n == 0 && !e.wanted.force);
        status = renew_errand_run(options, &e);
    }
    renew_errand_done(&e);
    return status;
}

const struct verb verb_renew = {
    .name = "renew",
    .arguments = "[NAME...]",
    .summary = "renew what is due, or certificates by name",
    .help =
        "Renews certificates through the running agent if there is one, else in this process, and\n"
        "waits until the servers are proven to serve them.\n\n"
        "Without NAME: what is due, respecting back-off (for timers). With NAME: these, if they "
        "are\n"
        "due, although they failed a moment ago.\n\n"
        "  --force     although not due; never before a Retry-After of the CA is over\n"
        "  --due       respect back-off, also with NAME\n"
        "  --no-wait   return as soon as the agent accepted; without an agent this waits\n"
        "  --metrics-file FILE\n"
        "              without an agent: where metrics go for node_exporter's textfile collector;\n"
        "              default agent.metrics_file\n\n"
        "Examples:\n"
        "  everleaf renew                   what is due\n"
        "  everleaf renew www               www, if it is due\n"
        "  everleaf renew www mail --force  both, now\n"
        "  everleaf renew --json            for programs: the document everleaf.renew/1\n"
        "  everleaf renew --due --metrics-file /var/lib/prometheus/node-exporter/everleaf.prom\n",
    .run = run_renew,
};
