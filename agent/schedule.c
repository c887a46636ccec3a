#include "agent/schedule.h"

#include <stdint.h>

#include "base/backoff.h"

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
    int64_t failures = json_int(document, "failures");
    s->failures = failures > 0 && failures < 1000000 ? (int)failures : 0;
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
    json_put(j, "error", err_to_json(s->error));
    json_put(j, "revocation", revocation_to_json(&s->revocation));
    json_put_strv(j, "revoked", &s->revoked);
    return j;
}

void schedule_done(struct schedule *s)
{
    err_free(s->error);
    free(s->attempt);
    revocation_done(&s->revocation);
    strv_done(&s->revoked);
    *s = (struct schedule){0};
}
