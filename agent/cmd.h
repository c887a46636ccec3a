/* The verbs: one cmd_<verb>.c each, listed in cmd_verbs.c's table. Results go to stdout, all else
 * to stderr; with --json stdout is exactly one document. */
#pragma once

#include <stdbool.h>

#include "agent/config.h"
#include "base/err.h"

/* product.md section 3 */
enum exit_status {
    EXIT_DONE = 0,
    EXIT_TROUBLE =
        1, /* something failed, but every certificate concerned is still valid and served */
    EXIT_USAGE = 2,
    EXIT_BROKEN = 3, /* expired, revoked, missing, or not what its server serves */
    EXIT_UNKNOWN = 4,
};

/* Options that every verb takes; they may stand anywhere after the verb. */
struct cmd_options {
    const char *config_file; /* -c; NULL: the default rule */
    bool json;
    bool verbose;
    bool color; /* stdout is a terminal and neither --no-color nor $NO_COLOR */
};

struct verb {
    const char *name;
    const char *arguments; /* "[NAME...]" */
    const char *summary;   /* one line for the list of verbs */
    const char *help;      /* what it does, its own options and examples */
    int (*run)(int argc, char **argv, struct cmd_options *options); /* argv[0] is the verb */
};

extern const struct verb verb_account, verb_check, verb_completion, verb_deploy, verb_inspect,
    verb_renew, verb_revoke, verb_rollback, verb_run, verb_status, verb_version;
extern const struct verb *const verb_all[]; /* in the order of the manual; ends with NULL */
extern const char cmd_common_help[];        /* the options of every verb */

/* A line of a help text that tells an option: "  --sni NAME  the name to ask for". Not ended by
 * NUL: the parts point into the text. Completion and manual are made from them. */
struct cmd_help_option {
    const char *name;  /* "--sni" */
    const char *value; /* "NAME"; length 0: a switch */
    const char *text;  /* the rest of the line */
    size_t name_len, value_len, text_len;
};
/* The next such line from *at on, which moves behind it; false: no more. */
bool cmd_help_option(const char **at, struct cmd_help_option *ret);

/* An option of one verb; the common ones are gone when the verb runs. */
struct cmd_flag {
    const char *name;   /* "--force"; NULL ends the list */
    bool *set;          /* a switch, */
    const char **value; /* or "--sni NAME", "--sni=NAME": borrowed from argv */
};
/* Sorts argv into flags and the rest (borrowed from argv; argv[0] is skipped, "--" ends the
 * options). False after an unknown option (the nearest is told), a missing or surplus value, or
 * more than args_max arguments: told already, the verb ends with EXIT_USAGE. */
NODISCARD bool cmd_parse(int argc, char **argv, const struct cmd_flag *flags,
                         const struct cmd_options *options, size_t args_max, struct strv *ret_args);

/* Loads the configuration for a verb; problems go to stderr (warnings too). NULL: EXIT_USAGE. */
NODISCARD struct config *cmd_load_config(const struct cmd_options *options);
/* The same for verbs that stand beside the service, and may not see its credentials. */
NODISCARD struct config *cmd_view_config(const struct cmd_options *options);
/* "everleaf: text", hint and place on stderr, for people. */
void cmd_report(const struct err *e);
/* An error document of a verb on stdout when --json, else cmd_report(); returns status. */
int cmd_fail(const struct cmd_options *options, const char *schema, const struct err *e,
             int status);
/* The error for a certificate that is not in the configuration; its hint is the nearest name.
 * False. */
bool cmd_unknown_certificate(const struct config *c, const char *name, struct err **err);
/* For processes that hold private keys: umask 077, no core dumps, no debugger. */
void cmd_protect(void);
