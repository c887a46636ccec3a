/* When a renewal that failed is tried again. */
#include "agent/managed_private.h"
#include "base/backoff.h"
#include "base/clock.h"

/* An outage is nobody's failure: all wait for the next try, and start afresh when it is over. */
void managed_back_off(struct managed *m, const struct err *e)
{
    struct schedule *s = &m->schedule;
    struct validity v = {m->newest.not_before, m->newest.not_after};
    time_t now = clock_now();
    struct authority *a = m->host->authority(m->certificate->issuer->directory, m->host->userdata);

    if (e->kind == ERR_LIMITED && e->code == 503)
        authority_pause(a, e->retry_at);
    if (e->kind == ERR_TRANSIENT && authority_is_down(a)) {
        s->failures = s->failures > 0 ? s->failures : 1;
        s->next_try = authority_next_try(a, now);
        return;
    }
    s->failures++;
    s->next_try = renewal_next_try(s->failures, now, m->newest.number > 0 ? &v : NULL, e->retry_at,
                                   random_u32());
}
