#include <string.h>

#include "agent/staple_private.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "store/staple.h"

#define REVOKED_PAUSE_S 86400 /* a certificate on hold may come back */

void staple_responders(const struct config_certificate *c, const struct strv *of_leaf,
                       struct strv *ret)
{
    strv_done(ret);
    if (!c->ocsp_enabled)
        return;
    if (c->ocsp_responder)
        strv_add(ret, c->ocsp_responder);
    else
        strv_copy(ret, of_leaf);
}

void staple_facts_done(struct staple_facts *f)
{
    strv_done(&f->ocsp_urls);
    strv_done(&f->crl_urls);
    free(f->reason);
    free(f->id);
    err_free(f->error);
    *f = (struct staple_facts){.status = OCSP_STATUS_TRY_LATER};
}

static bool hear_failure(struct staple_facts *facts, const struct ocsp_fetched *f,
                         const struct err *e, time_t not_before, time_t now)
{
    struct staple_times held = {facts->this_update, facts->next_update};
    time_t retry_at = e ? e->retry_at : 0;

    facts->failures++;
    facts->status = f ? f->answer.status : OCSP_STATUS_TRY_LATER;
    err_free(facts->error);
    facts->error = err_copy(e);
    if (f)
        err_set(&facts->error, ERR_TRANSIENT, "the OCSP responder %s says: %s", f->url,
                ocsp_status_name(f->answer.status));
    err_step(&facts->error, "staple");
    facts->next_fetch = facts->held ? staple_next_fetch(held, retry_at, now, random_u32())
                                    : staple_next_try(facts->failures, facts->status, not_before,
                                                      retry_at, now, random_u32());
    return false;
}

static bool hear_good(struct staple_facts *facts, const struct ocsp_fetched *f, time_t now)
{
    const struct ocsp_answer *a = &f->answer;
    struct staple_times times = {a->this_update, a->next_update};
    bool newer = !facts->held || a->this_update > facts->this_update;

    facts->failures = 0;
    err_free(take(facts->error));
    facts->status = OCSP_STATUS_GOOD;
    facts->fresh_until = f->fresh_until;
    facts->next_fetch = staple_next_fetch(times, f->fresh_until, now, random_u32());
    if (newer) {
        facts->this_update = a->this_update;
        facts->next_update = a->next_update;
        set_string(&facts->id, xstrdup(f->id));
    }
    /* What could not reach the servers any more is none. */
    return newer && staple_withdraw_at(times) > now;
}

bool staple_facts_hear(struct staple_facts *facts, const struct ocsp_fetched *f,
                       const struct err *e, time_t not_before, time_t now)
{
    if (!f || f->answer.status > OCSP_STATUS_REVOKED)
        return hear_failure(facts, f, e, not_before, now);
    if (f->answer.status == OCSP_STATUS_GOOD)
        return hear_good(facts, f, now);
    facts->failures = 0;
    err_free(take(facts->error));
    facts->status = OCSP_STATUS_REVOKED;
    facts->revoked_at = f->answer.revoked_at;
    set_string(&facts->reason, xstrdup(f->answer.reason));
    facts->next_fetch = now + REVOKED_PAUSE_S;
    return false;
}

/* On disk ------------------------------------------------------------------------------------- */

void staple_facts_save(struct state *s, const char *certificate, const char *sha256,
                       const struct staple_facts *f)
{
    auto_json json_t *j = json_object();

    json_put_str(j, "sha256", sha256);
    json_put_strv(j, "ocsp_urls", &f->ocsp_urls);
    json_put_strv(j, "crl_urls", &f->crl_urls);
    json_put_bool(j, "held", f->held);
    json_put_int(j, "status", f->status);
    json_put_time(j, "this_update", f->this_update);
    json_put_time(j, "next_update", f->next_update);
    json_put_str(j, "id", f->id);
    json_put_time(j, "revoked_at", f->revoked_at);
    json_put_str(j, "reason", f->reason);
    json_put_time(j, "fresh_until", f->fresh_until);
    json_put_time(j, "next_fetch", f->next_fetch);
    json_put_int(j, "failures", f->failures);
    json_put(j, "error", err_to_json(f->error));
    (void)state_save(s, certificate, "staple", j, NULL, NULL);
}

bool staple_facts_load(struct state *s, const char *certificate, const char *sha256,
                       struct staple_facts *ret)
{
    auto_json json_t *j = state_load(s, certificate, "staple", NULL);
    const char *of = j ? json_str(j, "sha256") : NULL;
    int64_t status = j ? json_int(j, "status") : 0;

    if (!of || strcmp(of, sha256) != 0 || status < 0 || status > OCSP_STATUS_NOT_UNDERSTOOD)
        return false;
    *ret = (struct staple_facts){
        .held = json_bool(j, "held"),
        .status = (enum ocsp_status)status,
        .this_update = json_time(j, "this_update"),
        .next_update = json_time(j, "next_update"),
        .id = xstrdup(json_str(j, "id")),
        .revoked_at = json_time(j, "revoked_at"),
        .reason = xstrdup(json_str(j, "reason")),
        .fresh_until = json_time(j, "fresh_until"),
        .next_fetch = json_time(j, "next_fetch"),
        .failures = (int)json_int(j, "failures"),
        .error = err_from_json(json_get(j, "error")),
    };
    json_read_strv(j, "ocsp_urls", &ret->ocsp_urls);
    json_read_strv(j, "crl_urls", &ret->crl_urls);
    return true;
}

void staple_facts_read(struct state *s, const struct config_certificate *c,
                       const struct generation *g, struct staple_facts *ret)
{
    auto_buf struct buf der = {0};
    struct ocsp_answer a;

    *ret = (struct staple_facts){.status = OCSP_STATUS_TRY_LATER};
    strv_copy(&ret->ocsp_urls, &g->chain->items[0]->ocsp_urls);
    strv_copy(&ret->crl_urls, &g->chain->items[0]->crl_urls);
    if (g->chain->n < 2 || !staple_load(s, c->name, g->number, &der, NULL))
        return;
    for (enum ocsp_hash hash = 0; hash < OCSP_HASHES; hash++) {
        if (!ocsp_check(der.data, der.len, g->chain->items[0], g->chain->items[1], hash, 0,
                        clock_now(), &a, NULL) ||
            a.status != OCSP_STATUS_GOOD)
            continue;
        ret->held = true;
        set_string(&ret->id, ocsp_id(g->chain->items[0], g->chain->items[1], hash));
        ret->status = OCSP_STATUS_GOOD;
        ret->this_update = a.this_update;
        ret->next_update = a.next_update;
        ret->next_fetch = staple_next_fetch((struct staple_times){a.this_update, a.next_update}, 0,
                                            clock_now(), random_u32());
    }
}

/* Shown --------------------------------------------------------------------------------------- */

const char *staple_state(const struct staple_facts *f, time_t now)
{
    if (f->status == OCSP_STATUS_REVOKED)
        return "revoked";
    if (!f->wanted)
        return "none";
    if (f->held)
        return f->next_update > now ? "good" : "expired";
    return f->error ? "error" : "none";
}

json_t *staple_json(const struct staple_facts *f, time_t now)
{
    json_t *j = json_object();
    bool any = f->held || f->status == OCSP_STATUS_REVOKED;

    json_put_str(j, "status", staple_state(f, now));
    json_put_time(j, "this_update", any ? f->this_update : 0);
    json_put_time(j, "next_update", any ? f->next_update : 0);
    return j;
}
