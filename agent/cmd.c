#include "agent/cmd.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"

/* LeakSanitizer looks at its own process as a debugger does. */
#if defined(__SANITIZE_ADDRESS__)
#define LEAKS_ARE_WATCHED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LEAKS_ARE_WATCHED
#endif
#endif

static const char *const common_flags[] = {"-c", "-v", "--json", "--no-color", "--help"};

void cmd_report(const struct err *e)
{
    fprintf(stderr, "everleaf: %s\n", e->text);
    if (e->where)
        fprintf(stderr, "  at %s\n", e->where);
    if (e->hint)
        fprintf(stderr, "  hint: %s\n", e->hint);
}

int cmd_fail(const struct cmd_options *options, const char *schema, const struct err *e, int status)
{
    if (!options->json) {
        cmd_report(e);
        return status;
    }
    auto_json json_t *j = json_object();
    json_put_str(j, "schema", schema);
    json_put_int(j, "exit", status);
    json_put(j, "error", err_to_json(e));
    auto_free char *text = json_text(j);
    fputs(text, stdout);
    return status;
}

static bool usage_failed(const struct cmd_options *options, const char *verb, const struct err *e)
{
    auto_free char *schema = xasprintf("everleaf.%s/1", verb);

    (void)cmd_fail(options, schema, e, EXIT_USAGE);
    return false;
}

static bool unknown_option(const char *given, size_t len, const struct cmd_flag *flags,
                           struct err **err)
{
    auto_strv struct strv names = {0};
    auto_free char *name = xstrndup(given, len);

    for (const struct cmd_flag *f = flags; f->name; f++)
        strv_add(&names, f->name);
    for (size_t i = 0; i < ARRAY_LEN(common_flags); i++)
        strv_add(&names, common_flags[i]);
    const char *nearest = schema_nearest(name, (const char *const *)names.items);
    err_set(err, ERR_CONFIG, "unknown option \"%s\"", name);
    if (nearest)
        err_hint(err, "did you mean \"%s\"?", nearest);
    else
        err_hint(err, "--help shows what there is");
    return false;
}

/* Takes argv[*at], which begins with '-'. */
static bool take_flag(int argc, char **argv, int *at, const struct cmd_flag *flags,
                      struct err **err)
{
    const char *given = argv[*at];
    size_t len = strcspn(given, "=");
    const struct cmd_flag *f = flags;

    while (f->name && (strlen(f->name) != len || strncmp(f->name, given, len) != 0))
        f++;
    if (!f->name)
        return unknown_option(given, len, flags, err);
    if (!f->value) {
        *f->set = true;
        return given[len] == '\0' || err_set(err, ERR_CONFIG, "%s takes no value", f->name);
    }
    if (given[len] == '=') {
        *f->value = given + len + 1;
        return true;
    }
    if (*at + 1 >= argc)
        return err_set(err, ERR_CONFIG, "%s needs a value", f->name);
    *f->value = argv[++*at];
    return true;
}

bool cmd_parse(int argc, char **argv, const struct cmd_flag *flags,
               const struct cmd_options *options, size_t args_max, struct strv *ret_args)
{
    auto_err struct err *e = NULL;
    bool only_args = false;

    for (int i = 1; i < argc; i++) {
        bool is_option = !only_args && argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (is_option) {
            if (!take_flag(argc, argv, &i, flags, &e))
                return usage_failed(options, argv[0], e);
        } else if (ret_args->n == args_max) {
            err_set(&e, ERR_CONFIG, "unexpected argument \"%s\"", argv[i]);
            err_hint(&e, "everleaf %s --help shows how it is called", argv[0]);
            return usage_failed(options, argv[0], e);
        } else {
            strv_add(ret_args, argv[i]);
        }
    }
    return true;
}

static struct config *load_config(const struct cmd_options *options, bool apart)
{
    struct problems problems = {.apart = apart};
    auto_free char *file = config_path(options->config_file);
    bool color = isatty(STDERR_FILENO) && options->color;

    struct config *c = file ? config_load(file, &problems) : config_from_environment(&problems);
    for (size_t i = 0; i < problems.n; i++) {
        auto_free char *text = problem_text(&problems.items[i], color);
        fprintf(stderr, "%s\n", text);
    }
    problems_done(&problems);
    return c;
}

struct config *cmd_load_config(const struct cmd_options *options)
{
    return load_config(options, false);
}

struct config *cmd_view_config(const struct cmd_options *options)
{
    return load_config(options, true);
}

bool cmd_unknown_certificate(const struct config *c, const char *name, struct err **err)
{
    auto_strv struct strv names = {0};

    for (size_t i = 0; i < c->n_certificates; i++)
        strv_add(&names, c->certificates[i]->name);
    const char *nearest =
        names.n > 0 ? schema_nearest(name, (const char *const *)names.items) : NULL;
    err_set(err, ERR_CONFIG, "there is no certificate \"%s\" in %s", name, c->file);
    if (nearest)
        err_hint(err, "did you mean \"%s\"?", nearest);
    return false;
}

void cmd_protect(void)
{
    const struct rlimit none = {0};

    umask(077);
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef LEAKS_ARE_WATCHED
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}
