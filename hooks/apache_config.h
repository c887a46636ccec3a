/* Which certificate and key files a configuration of Apache httpd pairs. Not a parser of all of it:
 * includes, ServerRoot, Define, sections; what hangs on conditions or macros is left out. */
#pragma once

#include "base/strv.h"

/* Appends certificate and key in turn, absolute paths. Reads files: not for the loop. */
void apache_config_pairs(const char *file, struct strv *ret);
