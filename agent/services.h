/* What every part of the agent works with; owned by the manager, borrowed by all others. */
#pragma once

#include "base/http.h"
#include "base/loop.h"
#include "base/worker.h"
#include "store/state.h"

struct crl_watch;
struct turnstile;
struct metrics;
struct trace_export;

struct services {
    struct loop *loop;
    struct worker *worker;
    struct http *http;
    struct state *state;
    struct metrics *metrics;
    struct trace_export *traces; /* NULL: off */
    struct turnstile *staples;   /* fetches of OCSP responses and revocation lists at once */
    struct turnstile *polls;     /* questions for renewal information at once */
    struct crl_watch *crls;
};
