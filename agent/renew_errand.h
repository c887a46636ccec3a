/* The errand of all verbs that answer with the document everleaf.renew/1. */
#pragma once

#include "agent/errand.h"
#include "agent/renew.h"

struct renew_errand {
    struct renew_options wanted; /* all but `by` */
    const char *metrics_file;    /* without an agent: where metrics go; NULL: as configured */
    struct errand *errand;       /* of its work in this process */
    struct renew *renew;
};

/* Returns the exit status. */
int renew_errand_run(const struct cmd_options *options, struct renew_errand *e);
int renew_errand_refuse(const struct cmd_options *options, struct renew_errand *e,
                        const struct err *why);
void renew_errand_done(struct renew_errand *e);
