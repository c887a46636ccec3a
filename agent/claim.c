#include "agent/claim.h"

#include <errno.h>

#include "base/clock.h"

#define PAUSE_FIRST_MS 10
#define PAUSE_MAX_MS   250

struct claim {
    struct claim_settings settings;
    struct timer *timer;
    int64_t pause_ms;
    int64_t until_ms; /* boot clock */
};

static void claim_try(void *userdata);

static void wait_a_little(struct claim *c)
{
    timer_free(c->timer);
    c->timer = timer_after(c->settings.manager.loop, c->pause_ms, claim_try, c);
    c->pause_ms = c->pause_ms * 2 < PAUSE_MAX_MS ? c->pause_ms * 2 : PAUSE_MAX_MS;
}

static void claim_finish(struct claim *c, struct manager *m, const struct err *e)
{
    struct claim_settings settings = c->settings;

    claim_free(c);
    settings.done(m, e, settings.userdata);
}

static void claim_try(void *userdata)
{
    struct claim *c = userdata;
    auto_err struct err *e = NULL;
    struct manager *m = manager_new(&c->settings.manager, &e);

    if (m || e->code != EWOULDBLOCK)
        claim_finish(c, m, e);
    else if (c->settings.look && c->settings.look(e, c->settings.userdata))
        claim_free(c);
    else if (clock_boot_ms() >= c->until_ms)
        claim_finish(c, NULL, e);
    else
        wait_a_little(c);
}

struct claim *claim_start(const struct claim_settings *settings)
{
    struct claim *c = xcalloc(1, sizeof *c);

    c->settings = *settings;
    c->pause_ms = PAUSE_FIRST_MS;
    c->until_ms = clock_boot_ms() + settings->patience_ms;
    c->timer = timer_after(settings->manager.loop, 0, claim_try, c);
    return c;
}

void claim_free(struct claim *c)
{
    if (!c)
        return;
    timer_free(c->timer);
    free(c);
}
