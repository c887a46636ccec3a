#include "agent/authority.h"

#include <string.h>

#include "agent/outage.h"
#include "base/clock.h"
#include "base/log.h"

#define SAVE_PAUSE_MS 1000

struct authority {
    const struct services *services;
    char *directory;
    struct limits *limits;
    struct gate *gate;
    struct outage outage;
    int64_t skew_s;                                         /* our clock is ahead by */
    void (*on_return)(struct authority *a, void *userdata); /* or NULL */
    void *userdata;
    struct account_share share;
    uint64_t saved_changes; /* of the limits, on disk or on the way */
    struct timer *save;     /* armed while something is not */
};

static void save_limits(struct authority *a)
{
    auto_json json_t *j = limits_to_json(a->limits, clock_now());

    a->saved_changes = limits_changes(a->limits);
    (void)state_save_limits(a->services->state, a->directory, j, NULL, NULL);
}

static void on_save(void *userdata)
{
    struct authority *a = userdata;

    timer_free(take(a->save));
    save_limits(a);
}

/* Nobody without a worker writes: that is `status` without an agent. */
static bool is_unsaved(const struct authority *a)
{
    return a->services->worker && limits_changes(a->limits) != a->saved_changes;
}

void authority_touch(struct authority *a)
{
    if (!a->save && is_unsaved(a))
        a->save = timer_after(a->services->loop, SAVE_PAUSE_MS, on_save, a);
}

static void read_limits(struct authority *a)
{
    auto_err struct err *e = NULL;
    auto_json json_t *j = state_load_limits(a->services->state, a->directory, &e);

    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "what the CA limits is counted anew", "directory",
                    a->directory);
    if (j)
        limits_read(a->limits, j, clock_now());
    a->saved_changes = limits_changes(a->limits);
}

struct authority *authority_new(const struct services *services, const char *directory,
                                const struct limits_config *config)
{
    struct authority *a = xcalloc(1, sizeof *a);

    a->services = services;
    a->directory = xstrdup(directory);
    a->limits = limits_new(directory, config);
    a->gate = limits_make_gate(directory, config, services->loop);
    if (!a->gate) /* a later configuration may limit the requests */
        a->gate = gate_new(services->loop, NULL, 0, NULL);
    read_limits(a);
    return a;
}

void authority_free(struct authority *a)
{
    if (!a)
        return;
    if (is_unsaved(a))
        save_limits(a);
    timer_free(a->save);
    gate_free(a->gate);
    limits_free(a->limits);
    free(a->share.members);
    free(a->directory);
    free(a);
}

void authority_configure(struct authority *a, const struct limits_config *config)
{
    limits_configure(a->limits, config);
    gate_set_total(a->gate, config ? &config->requests : NULL);
}

const char *authority_directory(const struct authority *a)
{
    return a->directory;
}

void authority_dated(struct authority *a, time_t date)
{
    a->skew_s = (int64_t)clock_now() - (int64_t)date;
}

time_t authority_time(const struct authority *a, time_t now)
{
    return (time_t)((int64_t)now - a->skew_s);
}

/* 500 is about one request more often than about the CA. */
void authority_answered(struct authority *a, int code)
{
    bool failed = code == 0 || code == 502 || code == 503 || code == 504;

    if (failed && outage_failed(&a->outage, clock_now()))
        log_warning("the CA does not answer: one try in a while until it does", "directory",
                    a->directory);
    if (failed || !outage_answered(&a->outage))
        return;
    log_info("the CA answers again", "directory", a->directory);
    if (a->on_return)
        a->on_return(a, a->userdata);
}

void authority_pause(struct authority *a, time_t until)
{
    outage_pause(&a->outage, clock_now(), until);
}

bool authority_is_down(const struct authority *a)
{
    return a->outage.since != 0;
}

bool authority_may_try(struct authority *a, time_t now)
{
    return outage_may_try(&a->outage, now);
}

time_t authority_next_try(const struct authority *a, time_t now)
{
    return outage_next_try(&a->outage, now);
}

void authority_on_return(struct authority *a, void (*fn)(struct authority *a, void *userdata),
                         void *userdata)
{
    a->on_return = fn;
    a->userdata = userdata;
}

struct account_share *authority_share(struct authority *a)
{
    return &a->share;
}

struct gate *authority_gate(const struct authority *a)
{
    return a->gate;
}

struct limits *authority_limits(const struct authority *a)
{
    return a->limits;
}
