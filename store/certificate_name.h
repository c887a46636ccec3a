/* Names of certificates as they appear in paths. Names come from the configuration, which has
 * checked them; this is the last gate before the file system. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CERTIFICATE_NAME_MAX 200 /* a file name of 255 octets minus what is added to it */

/* [A-Za-z0-9][A-Za-z0-9._-]* */
static inline bool certificate_name_is_valid(const char *name)
{
    size_t n = 0;

    for (; name[n]; n++) {
        char c = name[n];
        bool alnum = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!alnum && (n == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return n > 0 && n <= CERTIFICATE_NAME_MAX;
}
