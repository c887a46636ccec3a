#include "agent/schedule.h"

#include <stdint.h>
#include <string.h>

#include "base/backoff.h"

static void forget_ari(struct schedule *s)
{
    free(s->ari.cert_id);
    free(s->ari.url);
    s->ari = (struct schedule_ari){0};
}

void schedule_bind_ari(struct schedule *s, const char *cert_id)
{
    if (s->ari.cert_id && strcmp(s->ari.cert_id, cert_id) == 0)
        return;
    forget_ari(s);
    s->ari.cert_id = xstrdup(cert_id);
}

/* An instant outside of its window is no choice of ours. */
static void read_ari(struct schedule_ari *a, const json_t *j)
{
    if (!json_str(j, "cert_id"))
        return;
    a->cert_id = xstrdup(json_str(j, "cert_id"));
    a->next_poll = json_time(j, "next_poll");
    a->start = json_time(j, "start");
    a->end = json_time(j, "end");
    a->at = json_time(j, "at");
    if (a->start > 0 && a->start <= a->at && a->at < a->end)
        a->url = xstrdup(json_str(j, "url"));
    else
        a->start = a->end = a->at = 0;
}

static json_t *ari_json(const struct schedule_ari *a)
{
    if (!a->cert_id)
        return json_null();
    json_t *j = json_object();
    json_put_str(j, "cert_id", a->cert_id);
    json_put_time(j, "start", a->start);
    json_put_time(j, "end", a->end);
    json_put_time(j, "at", a->at);
    json_put_time(j, "next_poll", a->next_poll);
    json_put_str(j, "url", a->url);
    return j;
}

static int small_count(const json_t *document, const char *name)
{
    int64_t n = json_int(document, name);
    return n > 0 && n < 1000000 ? (int)n : 0;
}

void schedule_read(struct schedule *s, const json_t *document)
{
    *s = (struct schedule){0};
    const json_t *jitter = json_get(document, "jitter");
    if (json_is_number(jitter) && json_number_value(jitter) >= 0 && json_number_value(jitter) <= 1)
        s->jitter = json_number_value(jitter);
    else
        s->jitter = (double)random_u32() / (double)UINT32_MAX;
    if (!document)
        return;
    s->failures = small_count(document, "failures");
    s->ari_renewals = small_count(document, "ari_renewals");
    read_ari(&s->ari, json_get(document, "ari"));
    s->next_try = json_time(document, "next_try");
    s->renew_at = json_time(document, "renew_at");
    s->last_success = json_time(document, "last_success");
    s->error = err_from_json(json_get(document, "error"));
    s->attempt = xstrdup(json_str(document, "attempt"));
    revocation_read(&s->revocation, json_get(document, "revocation"));
    json_read_strv(document, "revoked", &s->revoked);
}

json_t *schedule_to_json(const struct schedule *s)
{
    json_t *j = json_object();
    json_put_int(j, "version", 1);
    json_put(j, "jitter", json_real(s->jitter));
    json_put_int(j, "failures", s->failures);
    json_put_time(j, "next_try", s->next_try);
    json_put_time(j, "renew_at", s->renew_at);
    json_put_time(j, "last_success", s->last_success);
    json_put_str(j, "attempt", s->attempt);
    json_put(j, "ari", ari_json(&s->ari));
    json_put_int(j, "ari_renewals", s->ari_renewals);
    json_put(j, "error", err_to_json(s->error));
    json_put(j, "revocation", revocation_to_json(&s->revocation));
    json_put_strv(j, "revoked", &s->revoked);
    return j;
}

void schedule_done(struct schedule *s)
{
    forget_ari(s);
    err_free(s->error);
    free(s->attempt);
    revocation_done(&s->revocation);
    strv_done(&s->revoked);
    *s = (struct schedule){0};
}
