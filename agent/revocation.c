#include "agent/revocation.h"

void revocation_read(struct revocation *r, const json_t *j)
{
    *r = (struct revocation){0};
    if (!json_str(j, "serial") || json_int(j, "generation") <= 0)
        return;
    r->serial = xstrdup(json_str(j, "serial"));
    r->generation = json_int(j, "generation");
    r->over = json_int(j, "over");
    if (json_str(j, "reason"))
        (void)revoke_reason_parse(json_str(j, "reason"), &r->reason);
    r->now = json_bool(j, "now");
    r->done = json_bool(j, "done");
    r->refused = json_bool(j, "refused");
    int64_t failures = json_int(j, "failures");
    r->failures = failures > 0 && failures < 1000000 ? (int)failures : 0;
    r->next_try = json_time(j, "next_try");
    r->error = err_from_json(json_get(j, "error"));
}

json_t *revocation_to_json(const struct revocation *r)
{
    if (!r->serial)
        return json_null();
    json_t *j = json_object();

    json_put_str(j, "serial", r->serial);
    json_put_int(j, "generation", r->generation);
    json_put_int(j, "over", r->over);
    json_put_str(j, "reason", revoke_reason_name(r->reason));
    json_put_bool(j, "now", r->now);
    json_put_bool(j, "done", r->done);
    json_put_bool(j, "refused", r->refused);
    json_put_int(j, "failures", r->failures);
    json_put_time(j, "next_try", r->next_try);
    json_put(j, "error", err_to_json(r->error));
    return j;
}

void revocation_done(struct revocation *r)
{
    free(r->serial);
    err_free(r->error);
    *r = (struct revocation){0};
}
