#include "agent/inspected_staple.h"

#include <string.h>

#include "base/clock.h"
#include "pki/ocsp.h"

void inspected_staple_done(struct inspected_staple *s)
{
    free(s->der);
    free(s->text);
    *s = (struct inspected_staple){0};
}

void inspected_staple_take(struct inspected_staple *s, const void *der, size_t len)
{
    inspected_staple_done(s);
    s->der = der ? xmemdup(der, len) : NULL;
    s->len = len;
}

/* Whatever digest its CertID is made with. */
static bool is_believed(const struct inspected_staple *s, const struct chain *chain, time_t now,
                        struct ocsp_answer *ret, struct err **err)
{
    for (enum ocsp_hash hash = 0; hash < OCSP_HASHES; hash++) {
        auto_err struct err *e = NULL;
        if (ocsp_check(s->der, s->len, chain->items[0], chain->items[1], hash, 0, now, ret, &e))
            return true;
        if (hash == 0)
            err_move(err, &e);
    }
    return false;
}

void inspected_staple_judge(struct inspected_staple *s, const struct chain *chain, time_t now)
{
    struct ocsp_answer a;
    auto_err struct err *e = NULL;

    s->status = "none";
    if (!s->der || !chain)
        return;
    s->status = "error";
    bool good = ocsp_peek(s->der, s->len, chain->items[0], &a, &e);
    if (good) {
        s->this_update = a.this_update;
        s->next_update = a.next_update;
    }
    bool over = good && a.next_update != 0 && a.next_update <= now;
    if (good && !over && chain->n > 1)
        s->checked = good = is_believed(s, chain, now, &a, &e);
    if (!good)
        set_string(&s->text, xstrdup(e->text));
    else if (a.status == OCSP_STATUS_REVOKED)
        s->status = "revoked";
    else if (a.status != OCSP_STATUS_GOOD)
        set_string(&s->text, xasprintf("the responder said: %s", ocsp_status_name(a.status)));
    else
        s->status = over ? "expired" : "good";
}

void inspected_staple_compare(struct inspected_staple *s, const void *ours, size_t len)
{
    s->compared = s->der && ours;
    s->equal = s->compared && s->len == len && memcmp(s->der, ours, len) == 0;
}

json_t *inspected_staple_json(const struct inspected_staple *s)
{
    json_t *j = json_object();

    json_put_str(j, "status", s->status ? s->status : "none");
    json_put_time(j, "this_update", s->this_update);
    json_put_time(j, "next_update", s->next_update);
    json_put_str(j, "text", s->text);
    json_put(j, "matches_ours", s->compared ? json_boolean(s->equal) : json_null());
    return j;
}

char *inspected_staple_text(const struct inspected_staple *s)
{
    char end[CLOCK_TEXT_MAX];

    if (!s->der)
        return xstrdup("none");
    if (s->text)
        return xasprintf("%s: %s", s->status, s->text);
    return xasprintf("%s%s%s%s%s", s->status, s->next_update ? ", until " : "",
                     s->next_update ? clock_rfc3339(s->next_update, end) : "",
                     s->checked ? "" : ", signature not checked: the issuer was not sent",
                     !s->compared ? ""
                     : s->equal   ? ", ours"
                                  : ", not ours");
}
