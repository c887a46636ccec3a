#include <stdio.h>

#include "agent/cmd.h"
#include "base/json.h"

#define SCHEMA "everleaf.check/1"

static void print_json(const char *file, const struct problems *problems, int status)
{
    auto_json json_t *j = json_object();
    json_t *list = json_array();

    for (size_t i = 0; i < problems->n; i++)
        json_array_append_new(list, problem_to_json(&problems->items[i]));
    json_put_str(j, "schema", SCHEMA);
    json_put_int(j, "exit", status);
    json_put_str(j, "file", file);
    json_put(j, "problems", list);
    auto_free char *text = json_text(j);
    fputs(text, stdout);
}

static void print_text(const char *file, const struct problems *problems, const struct config *c,
                       bool color)
{
    for (size_t i = 0; i < problems->n; i++) {
        auto_free char *text = problem_text(&problems->items[i], color);
        fputs(text, stdout);
    }
    if (c)
        printf("%s: ok, %zu certificates\n", file, c->n_certificates);
    else
        printf("%s: %zu error%s\n", file, problems->errors, problems->errors == 1 ? "" : "s");
}

static int run(int argc, char **argv, struct cmd_options *options)
{
    static const struct cmd_flag flags[] = {{0}};
    struct problems problems = {.apart = true};
    auto_strv struct strv args = {0};

    if (!cmd_parse(argc, argv, flags, options, 1, &args))
        return EXIT_USAGE;
    auto_free char *path = config_path(args.n > 0 ? args.items[0] : options->config_file);
    struct config *c = path ? config_load(path, &problems) : config_from_environment(&problems);
    const char *file = path ? path : "environment";
    int status = c ? EXIT_DONE : EXIT_USAGE;

    if (options->json)
        print_json(file, &problems, status);
    else
        print_text(file, &problems, c, options->color);
    config_unref(c);
    problems_done(&problems);
    return status;
}

const struct verb verb_check = {
    .name = "check",
    .arguments = "[FILE]",
    .summary = "is the configuration good? every problem with its place",
    .help =
        "Reads the configuration and the files it includes and names, and prints every problem\n"
        "with file, line and column. Asks no CA and no server, changes nothing.\n\n"
        "Exit status: 0 good (maybe with warnings), 2 there are errors.\n\n"
        "Examples:\n"
        "  everleaf check\n"
        "  everleaf check ./everleaf.yaml\n"
        "  everleaf check --json | jq '.problems[].message'\n",
    .run = run,
};
