/* The program: common options, finds the verb. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/cmd.h"

static void print_usage(FILE *out)
{
    fputs("Usage: everleaf VERB [arguments] [options]\n\n"
          "Keeps TLS certificates evergreen: gets and renews them by ACME, writes them, makes the\n"
          "servers load them and proves over TLS that they serve them.\n\n",
          out);
    for (size_t i = 0; verb_all[i]; i++) {
        auto_free char *call = xasprintf("%s %s", verb_all[i]->name, verb_all[i]->arguments);
        fprintf(out, "  everleaf %-24s %s\n", call, verb_all[i]->summary);
    }
    fprintf(out, "\n%s\n", cmd_common_help);
    fputs("Examples:\n"
          "  everleaf check                 is the configuration good?\n"
          "  everleaf renew                 what is due, now\n"
          "  everleaf status www            everything about one certificate\n"
          "  everleaf VERB --help           one verb, with examples\n\n"
          "Exit status: 0 done, 1 something failed but all is still served, 2 usage or\n"
          "configuration, 3 a certificate is expired, missing or not what is served, 4 unknown.\n",
          out);
}

static void print_help(const struct verb *v)
{
    printf("Usage: everleaf %s %s\n\n%s\n%s", v->name, v->arguments, v->help, cmd_common_help);
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; verb_all[i]; i++) {
        if (strcmp(verb_all[i]->name, name) == 0)
            return verb_all[i];
    }
    return NULL;
}

static int unknown_verb(const char *name)
{
    auto_err struct err *e = NULL;
    auto_strv struct strv names = {0};

    for (size_t i = 0; verb_all[i]; i++)
        strv_add(&names, verb_all[i]->name);
    const char *nearest = schema_nearest(name, (const char *const *)names.items);
    err_set(&e, ERR_CONFIG, "unknown %s \"%s\"", name[0] == '-' ? "option" : "verb", name);
    if (nearest)
        err_hint(&e, "did you mean \"%s\"?", nearest);
    else
        err_hint(&e, "everleaf --help lists the verbs");
    cmd_report(e);
    return EXIT_USAGE;
}

/* Moves what is not a common option to rest (argc + 1 places). False: -c without a file. */
static bool take_common(int argc, char **argv, struct cmd_options *options, bool *help, char **rest,
                        int *n_rest)
{
    bool only_args = false;

    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        only_args = only_args || strcmp(a, "--") == 0;
        if (only_args)
            rest[(*n_rest)++] = argv[i];
        else if (strcmp(a, "-c") == 0 && i + 1 >= argc)
            return false;
        else if (strcmp(a, "-c") == 0)
            options->config_file = argv[++i];
        else if (strncmp(a, "-c", 2) == 0)
            options->config_file = a + 2;
        else if (strcmp(a, "--json") == 0)
            options->json = true;
        else if (strcmp(a, "-v") == 0)
            options->verbose = true;
        else if (strcmp(a, "--no-color") == 0)
            options->color = false;
        else if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0)
            *help = true;
        else
            rest[(*n_rest)++] = argv[i];
    }
    rest[*n_rest] = NULL;
    return true;
}

/* A key or a document must never be written into what was meant to be standard output or error. */
static bool open_standard_files(void)
{
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd)
            return false;
    }
    return true;
}

static int run_verb(int n, char **rest, struct cmd_options *options, bool help)
{
    bool wants_help = n > 0 && strcmp(rest[0], "help") == 0;
    const char *name = wants_help ? rest[1] : rest[0];

    if (!name) {
        print_usage(help || wants_help ? stdout : stderr);
        return help || wants_help ? EXIT_DONE : EXIT_USAGE;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct verb *v = find_verb(name);
    if (!v)
        return unknown_verb(name);
    if (help || wants_help) {
        print_help(v);
        return EXIT_DONE;
    }
    return v->run(n, rest, options);
}

int main(int argc, char **argv)
{
    const char *no_color = getenv("NO_COLOR");
    struct cmd_options options = {.color = isatty(STDOUT_FILENO) && !(no_color && *no_color)};
    bool help = false;
    int n = 0;

    if (!open_standard_files())
        return EXIT_UNKNOWN;
    auto_free char **rest = xcalloc((size_t)argc + 1, sizeof *rest);
    if (!take_common(argc, argv, &options, &help, rest, &n)) {
        fputs("everleaf: -c needs a file\n", stderr);
        return EXIT_USAGE;
    }
    int status = run_verb(n, rest, &options, help);
    if (fflush(stdout) != 0 && status == EXIT_DONE) {
        fputs("everleaf: standard output could not be written\n", stderr);
        return EXIT_UNKNOWN;
    }
    return status;
}
