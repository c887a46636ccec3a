/* A running agent knows more than the disk does (what it is doing right now, and whether it could
 * take the configuration): it is asked first. Without one the document is made here, from what is
 * on disk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/cmd.h"
#include "agent/control.h"
#include "agent/status.h"
#include "base/file.h"

#define SCHEMA          "everleaf.status/1"
#define CONFIG_FILE_MAX (4 * 1024 * 1024)

/* What a bad configuration still tells --------------------------------------------------------- */

/* The value behind "control:" in a line, in block or flow style; NULL: there is none. Caller frees.
 */
static char *control_in_line(const char *line)
{
    static const char key[] = "control:";
    const char *at = strstr(line, key);

    if (line[strspn(line, " \t")] == '#' || !at || (at > line && !strchr(" \t{,", at[-1])))
        return NULL;
    at += strlen(key);
    at += strspn(at, " \t\"'");
    size_t len = strcspn(at, " \t\"',}#\r");
    return at[0] == '/' ? xstrndup(at, len) : NULL;
}

static char *default_control(void)
{
    const char *directory = getenv("RUNTIME_DIRECTORY");

    return xasprintf("%s/control.sock", directory && *directory ? directory : "/run/everleaf");
}

/* An agent goes on with the configuration it had when the file turns bad, and that is when people
 * ask for its status. The file may not even be YAML any more: only the line with the socket is
 * looked for. NULL: there is no such file, so nobody works with it. Caller frees. */
static char *control_of_bad_config(const struct cmd_options *options)
{
    auto_free char *file = config_path(options->config_file);
    auto_buf struct buf text;
    auto_err struct err *e = NULL;
    char *rest = NULL, *found = NULL;

    buf_init(&text, CONFIG_FILE_MAX);
    if (!file)
        return default_control();
    if (!file_read(AT_FDCWD, file, CONFIG_FILE_MAX, true, &text, &e))
        return err_is_absent(e) ? NULL : default_control();
    for (char *line = strtok_r(text.data, "\n", &rest); line && !found;
         line = strtok_r(NULL, "\n", &rest))
        found = control_in_line(line);
    return found ? found : default_control();
}

/* Asking --------------------------------------------------------------------------------------- */

static json_t *ask_agent(const char *control, const char *name, struct err **err)
{
    auto_json json_t *request = json_object();

    json_put_str(request, "method", "status");
    json_put_str(request, "name", name);
    return control_call(control, request, NULL, NULL, err);
}

static bool is_nobody_there(const struct err *e)
{
    return e && (e->code == ENOENT || e->code == ECONNREFUSED);
}

static json_t *read_disk(struct config *config, const char *name, struct err **err)
{
    auto_err struct err *e = NULL;
    struct loop *loop = loop_new(&e);
    struct manager_settings settings = {.loop = loop, .config = config, .read_only = true};
    struct manager *manager = loop ? manager_new(&settings, &e) : NULL;
    json_t *document = NULL;

    if (manager)
        document = status_document(manager, false, name, err);
    else if (err_is_absent(e))
        document = status_document_of_nothing(config, name, err);
    else
        err_move(err, &e);
    manager_free(manager);
    loop_free(loop);
    return document;
}

/* Without an answer: wrong usage (an unknown name), or not to be found out. */
static int failed(const struct cmd_options *options, struct err *e)
{
    if (e->code == EACCES && !e->hint)
        err_hint(&e, "ask as root or as a member of the agent's group");
    return cmd_fail(options, SCHEMA, e, e->kind == ERR_CONFIG ? EXIT_USAGE : EXIT_UNKNOWN);
}

static int show(const struct cmd_options *options, const json_t *document, bool detail)
{
    if (options->json) {
        auto_free char *text = json_text(document);
        fputs(text, stdout);
    } else {
        status_print(stdout, document, detail, options->color);
    }
    return status_exit(document);
}

static int ask_with_bad_config(const struct cmd_options *options, const char *name)
{
    auto_free char *control = control_of_bad_config(options);
    auto_err struct err *e = NULL;
    auto_json json_t *document = control ? ask_agent(control, name, &e) : NULL;

    if (document)
        return show(options, document, name != NULL);
    if (control && !is_nobody_there(e))
        return failed(options, e);
    auto_err struct err *bad = NULL;
    err_set(&bad, ERR_CONFIG, "the configuration is bad and no agent is running");
    return cmd_fail(options, SCHEMA, bad, EXIT_USAGE);
}

static int run(int argc, char **argv, struct cmd_options *options)
{
    static const struct cmd_flag flags[] = {{0}};
    auto_strv struct strv args = {0};
    auto_err struct err *e = NULL;

    if (!cmd_parse(argc, argv, flags, options, 1, &args))
        return EXIT_USAGE;
    const char *name = args.n > 0 ? args.items[0] : NULL;
    struct config *config = cmd_view_config(options);
    if (!config)
        return ask_with_bad_config(options, name);

    auto_json json_t *document = ask_agent(config->control, name, &e);
    if (!document && is_nobody_there(e)) {
        err_free(take(e));
        document = read_disk(config, name, &e);
    }
    config_unref(config);
    return document ? show(options, document, name != NULL) : failed(options, e);
}

const struct verb verb_status = {
    .name = "status",
    .arguments = "[NAME]",
    .summary = "a table of all certificates, or everything about one",
    .help =
        "Shows what the running agent knows, or without one what is on disk: state, expiry, next\n"
        "renewal, where it is served, and for each failure its reason, the next try and what to\n"
        "do. With NAME also outputs, servers, endpoints and history.\n\n"
        "Exit status: 0 all is well, 1 something failed or is in back-off but everything is still\n"
        "valid and served, 3 a certificate is missing, expired or not what its server serves, 4\n"
        "it could not be found out.\n\n"
        "Examples:\n"
        "  everleaf status\n"
        "  everleaf status www\n"
        "  everleaf status --json | jq '.certificates[] | select(.exit != 0) | .name'\n",
    .run = run,
};
