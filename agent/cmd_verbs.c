#include <string.h>

#include "agent/cmd.h"

const struct verb *const verb_all[] = {
    &verb_run,      &verb_renew,  &verb_status,  &verb_check,      &verb_inspect, &verb_deploy,
    &verb_rollback, &verb_revoke, &verb_account, &verb_completion, &verb_version, NULL,
};

const char cmd_common_help[] =
    "Common options (anywhere after the verb):\n"
    "  -c FILE     configuration; default $EVERLEAF_CONFIG, else /etc/everleaf/everleaf.yaml,\n"
    "              else the EVERLEAF_* variables when EVERLEAF_NAMES is set\n"
    "  --json      one JSON document on standard output, errors inside it\n"
    "  -v          tell more\n"
    "  --no-color  no colours on a terminal\n"
    "  --help      this text\n";

bool cmd_help_option(const char **at, struct cmd_help_option *ret)
{
    while (**at) {
        const char *line = *at, *end = strchrnul(line, '\n');
        const char *gap = memmem(line + 2, end > line + 2 ? (size_t)(end - line - 2) : 0, "  ", 2);

        *at = *end ? end + 1 : end;
        if (strncmp(line, "  -", 3) != 0 || !gap)
            continue;
        const char *blank = memchr(line + 2, ' ', (size_t)(gap - line - 2));
        ret->name = line + 2;
        ret->name_len = (size_t)((blank ? blank : gap) - ret->name);
        ret->value = blank ? blank + 1 : gap;
        ret->value_len = (size_t)(gap - ret->value);
        ret->text = gap + strspn(gap, " ");
        ret->text_len = (size_t)(end - ret->text);
        return true;
    }
    return false;
}
