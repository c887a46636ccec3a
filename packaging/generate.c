/* Writes what is packaged and must agree with the program from the program's own tables:
 *
 *   generate everleaf.1       the manual of the command, from the verbs and their help texts
 *   generate everleaf.yaml.5  the manual of the configuration, from the field tables
 *   generate everleaf.rules   the polkit rule, for the units of the shipped server types */
#include <stdio.h>
#include <string.h>

#include "agent/cmd.h"

/* Text of troff: no line is a request by accident, no hyphen becomes a typographic one. */
static void put_text(const char *text, size_t len)
{
    if (len > 0 && (*text == '.' || *text == '\''))
        fputs("\\&", stdout);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            fputs("\\e", stdout);
        else if (text[i] == '-')
            fputs("\\-", stdout);
        else
            putchar(text[i]);
    }
}

static void put_title(const char *name, int section, const char *summary)
{
    printf(".\\\" Written by the build from the program's own tables; do not edit.\n"
           ".TH %s %d \"\" \"everleaf " EVERLEAF_VERSION "\"\n.SH NAME\n%s \\- %s\n",
           name, section, name, summary);
}

/* everleaf(1) ---------------------------------------------------------------------------------- */

static void put_option(const struct cmd_help_option *o)
{
    fputs(".TP\n\\fB", stdout);
    put_text(o->name, o->name_len);
    fputs("\\fR", stdout);
    if (o->value_len > 0)
        printf(" \\fI%.*s\\fR", (int)o->value_len, o->value);
    putchar('\n');
    put_text(o->text, o->text_len);
    putchar('\n');
}

/* A help text: paragraphs, lines that tell options (the next ones may go on), and "Examples:" up to
 * the end, set as they are. */
static void put_help(const char *help)
{
    bool example = false, blank = false; /* a heading needs none before its text */

    while (*help) {
        size_t len = strcspn(help, "\n");
        const char *line = help, *at = help;
        struct cmd_help_option o;

        help += len + (help[len] == '\n');
        if (len == 0) {
            blank = true;
        } else if (strncmp(line, "Examples:", 9) == 0) {
            fputs(".PP\nExamples:\n.PP\n.nf\n.RS 4\n", stdout);
            example = true;
        } else if (!example && cmd_help_option(&at, &o) && o.name == line + 2) {
            put_option(&o);
            blank = false;
        } else {
            if (!example && blank)
                fputs(".PP\n", stdout);
            size_t indent = strspn(line, " ");
            put_text(line + indent, len - indent);
            putchar('\n');
            blank = false;
        }
    }
    if (example)
        fputs(".RE\n.fi\n", stdout);
}

static void put_command(void)
{
    put_title("everleaf", 1, "keeps TLS certificates evergreen");
    fputs(
        ".SH SYNOPSIS\n.B everleaf\n.I VERB\n[arguments] [options]\n"
        ".SH DESCRIPTION\n"
        "Everleaf gets TLS certificates by ACME, renews them in time, writes key and chain as one "
        "unit, makes the servers load them, and then proves over TLS that each server really "
        "serves the new certificate, or puts the old one back.\n"
        ".SH VERBS\n",
        stdout);
    for (size_t i = 0; verb_all[i]; i++) {
        const char *arguments = verb_all[i]->arguments;
        printf(".SS everleaf %s%s%s\n", verb_all[i]->name, *arguments ? " " : "", arguments);
        put_help(verb_all[i]->help);
    }
    fputs(".SH OPTIONS\n", stdout);
    put_help(cmd_common_help);
    fputs(".SH EXIT STATUS\n"
          ".TP\n0\nwhat was asked for is done, or nothing was due\n"
          ".TP\n1\nsomething failed or is in back\\-off, but every certificate concerned is still "
          "valid and served\n"
          ".TP\n2\nwrong usage or configuration\n"
          ".TP\n3\na certificate is expired, missing, or not what its server serves\n"
          ".TP\n4\nit could not be found out\n"
          ".SH FILES\n"
          ".TP\n.I /etc/everleaf/everleaf.yaml\nthe configuration, see\n.BR everleaf.yaml (5)\n"
          ".TP\n.I /var/lib/everleaf/live/NAME/\nprivkey.pem, cert.pem, chain.pem and "
          "fullchain.pem of a certificate: what servers are pointed at\n"
          ".TP\n.I /run/everleaf/control.sock\nwhere the running agent answers\n"
          ".SH ENVIRONMENT\n"
          ".TP\n.B EVERLEAF_CONFIG\nthe configuration when there is no \\-c\n"
          ".TP\n.B NO_COLOR\nno colours\n"
          ".TP\n.BR HTTPS_PROXY \", \" NO_PROXY\nproxy to the CA, and what is reached without it\n"
          ".SH SEE ALSO\n.BR everleaf.yaml (5)\n",
          stdout);
}

/* everleaf.yaml(5) ----------------------------------------------------------------------------- */

/* A line of markdown: `code` in bold. */
static void put_marked(const char *text, size_t len)
{
    bool bold = false;

    for (size_t i = 0; i < len;) {
        size_t run = 0;
        while (i + run < len && text[i + run] != '`' &&
               !(text[i + run] == '\\' && i + run + 1 < len && text[i + run + 1] == '|'))
            run++;
        put_text(text + i, run);
        i += run;
        if (i < len && text[i] == '`') {
            bold = !bold;
            fputs(bold ? "\\fB" : "\\fR", stdout);
        }
        i++; /* the backtick, or the backslash before a bar */
    }
}

/* The cell from *at on, without blanks around it; *at moves behind its bar. */
static const char *next_cell(const char **at, size_t *ret_len)
{
    const char *begin = *at + strspn(*at, " "), *end = begin;

    while (*end && *end != '\n' && !(*end == '|' && end[-1] != '\\'))
        end++;
    *at = *end == '|' ? end + 1 : end;
    while (end > begin && end[-1] == ' ')
        end--;
    *ret_len = (size_t)(end - begin);
    return begin;
}

/* | key | value | default | meaning | */
static void put_row(const char *line)
{
    const char *at = line + 1, *cells[4];
    size_t lens[4];

    for (size_t i = 0; i < ARRAY_LEN(cells); i++)
        cells[i] = next_cell(&at, &lens[i]);
    fputs(".TP\n", stdout);
    put_marked(cells[0], lens[0]);
    fputs(": ", stdout);
    put_marked(cells[1], lens[1]);
    putchar('\n');
    put_marked(cells[3], lens[3]);
    if (lens[2] == 8 && strncmp(cells[2], "required", 8) == 0) {
        fputs(lens[3] > 0 ? " (required)" : "required", stdout);
    } else if (lens[2] > 0) {
        fputs(lens[3] > 0 ? " (default " : "(default ", stdout);
        put_marked(cells[2], lens[2]);
        putchar(')');
    }
    putchar('\n');
}

static void put_reference(const char *text)
{
    bool heading = false;

    while (*text) {
        size_t len = strcspn(text, "\n");
        bool after_heading = heading;

        heading = (heading && len == 0) || *text == '#';

        if (strncmp(text, "### ", 4) == 0) {
            fputs(".SS ", stdout);
            put_marked(text + 4, len - 4);
            putchar('\n');
        } else if (strncmp(text, "## ", 3) == 0) {
            fputs(".SH REFERENCE\n", stdout);
        } else if (strncmp(text, "| key |", 7) != 0 && strncmp(text, "|---", 4) != 0 && len > 0) {
            if (*text == '|') {
                put_row(text);
            } else {
                fputs(after_heading ? "" : ".PP\n", stdout);
                put_marked(text, len);
                putchar('\n');
            }
        }
        text += len + (text[len] == '\n');
    }
}

static void put_configuration(void)
{
    auto_free char *reference = config_reference();

    put_title("everleaf.yaml", 5, "configuration of everleaf");
    fputs(".SH SYNOPSIS\n.I /etc/everleaf/everleaf.yaml\n"
          ".SH DESCRIPTION\n"
          "YAML, read strictly: unknown and duplicate keys, wrong types and impossible values are "
          "errors with file, line and column.\n"
          ".B everleaf check\n"
          "shows all of them. A running agent loads the file again on SIGHUP\n"
          ".RB ( \"systemctl reload everleaf\" )\n"
          "and keeps the old one when the new one has errors.\n"
          ".PP\n"
          "The smallest useful file:\n"
          ".PP\n.nf\n.RS 4\n"
          "issuers:\n"
          "  letsencrypt: {contact: ops@example.org, terms_agreed: true}\n"
          "certificates:\n"
          "  www: {names: [www.example.org, example.org], servers: [nginx]}\n"
          ".RE\n.fi\n"
          ".PP\n"
          "A server that is not defined but named like a type is that type with its defaults; the "
          "only issuer is the default; an issuer without\n.B directory\nuses its own name if that "
          "is a short name; without\n.B challenge\nthe only one configured is used, else http\\-01 "
          "on :80; without\n.B outputs\nthe servers use /var/lib/everleaf/live/NAME/.\n",
          stdout);
    put_reference(reference);
    fputs(".SH SEE ALSO\n.BR everleaf (1)\n", stdout);
}

/* everleaf.rules ------------------------------------------------------------------------------- */

/* The units by default of the server types: whole names, or of a template what all instances begin
 * with (each cluster of PostgreSQL is one). */
static void put_units(bool templates)
{
    bool first = true;

    for (size_t i = 0; server_type_all[i]; i++) {
        for (const struct field *f = server_type_all[i]->fields; f && f->name; f++) {
            const char *at = f->preset ? strchr(f->preset, '@') : NULL;
            if (strcmp(f->name, "unit") != 0 || !f->preset || templates != (at != NULL))
                continue;
            int len = at ? (int)(at + 1 - f->preset) : (int)strlen(f->preset);
            printf("%s\n    \"%.*s\"", first ? "" : ",", len, f->preset);
            first = false;
        }
    }
}

static void put_rules(void)
{
    fputs(
        "// Lets the agent, which is not root, make the servers load new certificates, and nothing "
        "else:\n"
        "// the units of the server types it ships, without starting or stopping any. For other "
        "units add a\n"
        "// file like this one to /etc/polkit-1/rules.d.\n"
        "var everleaf_units = [",
        stdout);
    put_units(false);
    fputs("\n];\nvar everleaf_templates = [", stdout);
    put_units(true);
    fputs("\n];\n\n"
          "polkit.addRule(function(action, subject) {\n"
          "    if (action.id != \"org.freedesktop.systemd1.manage-units\" || subject.user != "
          "\"everleaf\")\n"
          "        return polkit.Result.NOT_HANDLED;\n\n"
          "    var unit = action.lookup(\"unit\");\n"
          "    var verb = action.lookup(\"verb\");\n"
          "    var known = everleaf_units.indexOf(unit) >= 0 || "
          "everleaf_templates.some(function(name) {\n"
          "        return unit && unit.indexOf(name) == 0 && /\\.service$/.test(unit);\n"
          "    });\n\n"
          "    return known && (verb == \"reload\" || verb == \"try-restart\") ? "
          "polkit.Result.YES :\n"
          "        polkit.Result.NOT_HANDLED;\n"
          "});\n",
          stdout);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*put)(void);
    } files[] = {
        {"everleaf.1", put_command},
        {"everleaf.yaml.5", put_configuration},
        {"everleaf.rules", put_rules},
    };

    for (size_t i = 0; argc == 2 && i < ARRAY_LEN(files); i++) {
        if (strcmp(argv[1], files[i].name) == 0) {
            files[i].put();
            return fflush(stdout) == 0 ? EXIT_DONE : EXIT_UNKNOWN;
        }
    }
    fputs("usage: generate everleaf.1|everleaf.yaml.5|everleaf.rules\n", stderr);
    return EXIT_USAGE;
}
