/* Scripts for the shells, made from the verb table and the options that the help texts tell. Names
 * of certificates are asked for when the user presses the key: `everleaf completion --names`. */
#include <stdio.h>
#include <string.h>

#include "agent/cmd.h"

#define SCRIPT_MAX (256 * 1024)

enum kind { KIND_NONE, KIND_NAMES, KIND_FILES, KIND_SHELLS };

static const char *const shells[] = {"bash", "zsh", "fish", NULL};

static enum kind kind_of(const char *arguments)
{
    if (strstr(arguments, "NAME"))
        return KIND_NAMES;
    if (strstr(arguments, "SHELL"))
        return KIND_SHELLS;
    return strstr(arguments, "FILE") || strstr(arguments, "DIR") ? KIND_FILES : KIND_NONE;
}

static bool takes_file(const struct cmd_help_option *o)
{
    return o->value_len == 4 && strncmp(o->value, "FILE", 4) == 0;
}

/* The first line of what may be several. */
static size_t text_len(const struct cmd_help_option *o)
{
    return o->text_len - (o->text_len > 0 && o->text[o->text_len - 1] == ',');
}

/* Adds text for use between single quotes; `special` gets a backslash before it. */
static void add_quoted(struct buf *out, const char *text, size_t len, const char *special,
                       const char *quote)
{
    for (size_t i = 0; i < len && text[i]; i++) {
        if (text[i] == '\'')
            buf_add_str(out, quote);
        else
            buf_addf(out, strchr(special, text[i]) ? "\\%c" : "%c", text[i]);
    }
}

static void add_verb_names(struct buf *out, const char *separator)
{
    for (size_t i = 0; verb_all[i]; i++)
        buf_addf(out, "%s%s", i > 0 ? separator : "", verb_all[i]->name);
}

static void add_option_names(struct buf *out, const char *help)
{
    struct cmd_help_option o;

    while (cmd_help_option(&help, &o))
        buf_addf(out, " %.*s", (int)o.name_len, o.name);
}

/* bash ----------------------------------------------------------------------------------------- */

/* The patterns of the options that take a value. */
static void add_bash_values(struct buf *out, bool files)
{
    for (size_t i = 0; verb_all[i]; i++) {
        const char *help = verb_all[i]->help;
        struct cmd_help_option o;

        while (cmd_help_option(&help, &o)) {
            if (o.value_len > 0 && takes_file(&o) == files)
                buf_addf(out, "|%.*s", (int)o.name_len, o.name);
        }
    }
}

static void add_bash(struct buf *out)
{
    static const char *const words[] = {
        [KIND_NONE] = "words=",
        [KIND_NAMES] = "words=$(everleaf completion --names 2>/dev/null)",
        [KIND_FILES] = "files=yes",
        [KIND_SHELLS] = "words='bash zsh fish'",
    };

    buf_add_str(out,
                "# bash completion for everleaf\n"
                "_everleaf() {\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}\n"
                "    local verb='' words='' options='' files='' i\n"
                "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                "        case ${COMP_WORDS[i]} in\n"
                "        -c) i=$((i + 1)) ;;\n"
                "        ");
    add_verb_names(out, " | ");
    buf_add_str(out, ") verb=${COMP_WORDS[i]}; break ;;\n"
                     "        esac\n"
                     "    done\n"
                     "    case $verb in\n"
                     "    '') words='help ");
    add_verb_names(out, " ");
    buf_add_str(out, "' ;;\n");
    for (size_t i = 0; verb_all[i]; i++) {
        buf_addf(out, "    %s) options='", verb_all[i]->name);
        add_option_names(out, verb_all[i]->help);
        buf_addf(out, "'; %s ;;\n", words[kind_of(verb_all[i]->arguments)]);
    }
    buf_add_str(out, "    esac\n"
                     "    case $previous in\n"
                     "    -c");
    add_bash_values(out, true);
    buf_add_str(out, ") files=yes options='' words='' ;;\n    ");
    auto_buf struct buf others;
    buf_init(&others, SCRIPT_MAX);
    add_bash_values(&others, false);
    buf_addf(out, "%s) COMPREPLY=(); return ;;\n", others.len > 0 ? others.data + 1 : "''");
    buf_add_str(out, "    *) options+='");
    add_option_names(out, cmd_common_help);
    buf_add_str(out, "' ;;\n"
                     "    esac\n"
                     "    [[ $cur == -* ]] && words=$options files=''\n"
                     "    if [ -n \"$files\" ]; then\n"
                     "        compopt -o filenames\n"
                     "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                     "    else\n"
                     "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
                     "    fi\n"
                     "}\n"
                     "complete -F _everleaf everleaf\n");
}

/* zsh ------------------------------------------------------------------------------------------ */

static void add_zsh_options(struct buf *out, const char *help)
{
    struct cmd_help_option o;

    while (cmd_help_option(&help, &o)) {
        buf_addf(out, " '%.*s[", (int)o.name_len, o.name);
        add_quoted(out, o.text, text_len(&o), "[]\\", "'\\''");
        buf_add_str(out, "]");
        if (o.value_len > 0)
            buf_addf(out, ":%.*s:%s", (int)o.value_len, o.value, takes_file(&o) ? "_files" : "");
        buf_add_str(out, "'");
    }
}

static void add_zsh(struct buf *out)
{
    static const char *const words[] = {
        [KIND_NONE] = "",
        [KIND_NAMES] = " '*:certificate:_everleaf_names'",
        [KIND_FILES] = " '*:file:_files'",
        [KIND_SHELLS] = " '1:shell:(bash zsh fish)'",
    };

    buf_add_str(out, "#compdef everleaf\n"
                     "_everleaf_names() {\n"
                     "    local -a names\n"
                     "    names=(${(f)\"$(everleaf completion --names 2>/dev/null)\"})\n"
                     "    compadd -a names\n"
                     "}\n"
                     "_everleaf() {\n"
                     "    local context state line\n"
                     "    local -a verbs common\n"
                     "    common=(");
    add_zsh_options(out, cmd_common_help);
    buf_add_str(out, ")\n    verbs=(");
    for (size_t i = 0; verb_all[i]; i++) {
        buf_addf(out, "\n        '%s:", verb_all[i]->name);
        add_quoted(out, verb_all[i]->summary, SIZE_MAX, ":\\", "'\\''");
        buf_add_str(out, "'");
    }
    buf_add_str(out,
                ")\n"
                "    _arguments -C $common '1:verb:->verb' '*::argument:->argument' && return\n"
                "    case $state in\n"
                "    verb) _describe verb verbs ;;\n"
                "    argument)\n"
                "        case $words[1] in\n");
    for (size_t i = 0; verb_all[i]; i++) {
        buf_addf(out, "        %s) _arguments $common", verb_all[i]->name);
        add_zsh_options(out, verb_all[i]->help);
        buf_addf(out, "%s ;;\n", words[kind_of(verb_all[i]->arguments)]);
    }
    buf_add_str(out, "        esac ;;\n"
                     "    esac\n"
                     "}\n"
                     "if [ \"$funcstack[1]\" = _everleaf ]; then\n"
                     "    _everleaf \"$@\"\n"
                     "else\n"
                     "    compdef _everleaf everleaf\n"
                     "fi\n");
}

/* fish ----------------------------------------------------------------------------------------- */

static void add_fish_options(struct buf *out, const char *verb, const char *help)
{
    struct cmd_help_option o;

    while (cmd_help_option(&help, &o)) {
        bool is_long = strncmp(o.name, "--", 2) == 0;
        size_t dashes = is_long ? 2 : 1;

        buf_add_str(out, "complete -c everleaf");
        if (verb)
            buf_addf(out, " -n '__fish_seen_subcommand_from %s'", verb);
        buf_addf(out, " -%c %.*s", is_long ? 'l' : 's', (int)(o.name_len - dashes),
                 o.name + dashes);
        if (o.value_len > 0)
            buf_add_str(out, takes_file(&o) ? " -r -F" : " -x");
        buf_add_str(out, " -d '");
        add_quoted(out, o.text, text_len(&o), "\\", "\\'");
        buf_add_str(out, "'\n");
    }
}

static void add_fish(struct buf *out)
{
    static const char *const words[] = {
        [KIND_NONE] = NULL,
        [KIND_NAMES] = " -a '(everleaf completion --names 2>/dev/null)'",
        [KIND_FILES] = " -F",
        [KIND_SHELLS] = " -a 'bash zsh fish'",
    };

    buf_add_str(out, "# fish completion for everleaf\ncomplete -c everleaf -f\n");
    add_fish_options(out, NULL, cmd_common_help);
    for (size_t i = 0; verb_all[i]; i++) {
        const struct verb *v = verb_all[i];
        const char *arguments = words[kind_of(v->arguments)];

        buf_addf(out, "complete -c everleaf -n __fish_use_subcommand -a %s -d '", v->name);
        add_quoted(out, v->summary, SIZE_MAX, "\\", "\\'");
        buf_add_str(out, "'\n");
        if (arguments)
            buf_addf(out, "complete -c everleaf -n '__fish_seen_subcommand_from %s'%s\n", v->name,
                     arguments);
        add_fish_options(out, v->name, v->help);
    }
}

/* The verb ------------------------------------------------------------------------------------- */

static int print_names(const struct cmd_options *options)
{
    struct config *c = cmd_view_config(options);

    if (!c)
        return EXIT_USAGE;
    for (size_t i = 0; i < c->n_certificates; i++)
        puts(c->certificates[i]->name);
    config_unref(c);
    return EXIT_DONE;
}

static int print_script(const char *shell)
{
    static void (*const adders[])(struct buf *) = {add_bash, add_zsh, add_fish};
    auto_buf struct buf out;

    buf_init(&out, SCRIPT_MAX);
    for (size_t i = 0; shells[i]; i++) {
        if (strcmp(shells[i], shell) == 0) {
            adders[i](&out);
            fputs(out.data, stdout);
            return EXIT_DONE;
        }
    }
    auto_err struct err *e = NULL;
    const char *nearest = schema_nearest(shell, shells);
    err_set(&e, ERR_CONFIG, "no completion for \"%s\"", shell);
    err_hint(&e, nearest ? "did you mean \"%s\"?" : "there is bash, zsh and fish", nearest);
    cmd_report(e);
    return EXIT_USAGE;
}

static int run(int argc, char **argv, struct cmd_options *options)
{
    bool names = false;
    const struct cmd_flag flags[] = {{.name = "--names", .set = &names}, {0}};
    auto_strv struct strv args = {0};

    if (!cmd_parse(argc, argv, flags, options, 1, &args))
        return EXIT_USAGE;
    if (names == (args.n > 0)) {
        fputs("everleaf: completion takes the name of a shell: bash, zsh or fish\n", stderr);
        return EXIT_USAGE;
    }
    return names ? print_names(options) : print_script(args.items[0]);
}

const struct verb verb_completion = {
    .name = "completion",
    .arguments = "SHELL",
    .summary = "completion of verbs, options and names for bash, zsh or fish",
    .help =
        "Writes a script that makes the shell complete verbs, options and the names of\n"
        "certificates. The packages install it; elsewhere load it in the shell's start file.\n"
        "Needs no configuration.\n\n"
        "  --names  print the names of the configured certificates instead (for the scripts)\n\n"
        "Examples:\n"
        "  . <(everleaf completion bash)\n"
        "  everleaf completion zsh > /usr/local/share/zsh/site-functions/_everleaf\n"
        "  everleaf completion fish > ~/.config/fish/completions/everleaf.fish\n",
    .run = run,
};
