#include <stdio.h>

#include "agent/cmd.h"
#include "base/json.h"
#include "pki/library.h"

static int run(int argc, char **argv, struct cmd_options *options)
{
    static const struct cmd_flag flags[] = {{0}};
    const struct {
        const char *name, *version;
    } libraries[] = {
        {"openssl", library_openssl_version()},
        {"libidn2", library_idn2_version()},
        {"jansson", jansson_version_str()},
    };
    auto_strv struct strv args = {0};

    if (!cmd_parse(argc, argv, flags, options, 0, &args))
        return EXIT_USAGE;
    if (!options->json) {
        printf("everleaf %s\n", EVERLEAF_VERSION);
        for (size_t i = 0; i < ARRAY_LEN(libraries); i++)
            printf("  %-8s %s\n", libraries[i].name, libraries[i].version);
        return EXIT_DONE;
    }
    auto_json json_t *j = json_object();
    json_t *list = json_object();
    json_put_str(j, "schema", "everleaf.version/1");
    json_put_int(j, "exit", EXIT_DONE);
    json_put_str(j, "version", EVERLEAF_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++)
        json_put_str(list, libraries[i].name, libraries[i].version);
    json_put(j, "libraries", list);
    auto_free char *text = json_text(j);
    fputs(text, stdout);
    return EXIT_DONE;
}

const struct verb verb_version = {
    .name = "version",
    .arguments = "",
    .summary = "the version, and those of the libraries in use",
    .help = "Shows the version of this program and of the libraries it runs with. Needs no\n"
            "configuration.\n\n"
            "Examples:\n"
            "  everleaf version\n"
            "  everleaf version --json | jq -r .version\n",
    .run = run,
};
