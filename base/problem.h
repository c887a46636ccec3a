/* The problems found in configuration files (product.md section 10 "check"): collected, not thrown,
 * so that one run shows all of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"
#include "base/mem.h"

struct problem {
    bool warning;
    char *file; /* or NULL */
    int line;   /* from 1; 0 unknown */
    int column; /* from 1, in characters */
    int width;  /* characters to underline, at least 1 */
    char *path; /* "certificates.www.names", or NULL */
    char *message;
    char *source;     /* the offending line, or NULL */
    char *suggestion; /* "names", or NULL */
};

/* At most this many are kept; a last one says that there are more. */
#define PROBLEMS_MAX 1000

struct problems {
    struct problem *items;
    size_t n;
    size_t errors; /* those that are no warnings, also those not kept */
    /* Set by those who only look at the configuration: systemd gives credentials to the main
     * process of the service alone, so that where they cannot be seen is a warning, and the secret
     * empty. */
    bool apart;
};

/* Takes the strings of `problem`. */
void problems_add(struct problems *p, struct problem problem);
/* Message without position (missing file and the like). */
void problems_add_file(struct problems *p, const char *file, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* By file, line and column: cross-checks come later than what they are about. */
void problems_sort(struct problems *p);
void problems_done(struct problems *p);

/* "file:line:column: error: message", the line, a caret, "did you mean ...?"; caller frees. */
char *problem_text(const struct problem *p, bool color);
json_t *problem_to_json(const struct problem *p);
