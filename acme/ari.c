/* Strategy: directory -> GET renewalInfo/certID, unsigned -> (transient failure: pause and again)
 * -> tell. */
#include "acme/ari.h"

#include <string.h>
#include <strings.h>

#include "acme/directory.h"
#include "acme/exchange.h"
#include "acme/pace.h"
#include "acme/problem.h"
#include "acme/request.h"
#include "acme/session_private.h"
#include "acme/url.h"
#include "base/clock.h"

struct ari {
    struct session *session;
    char *cert_id;
    ari_fn *fn;
    void *userdata;

    struct pace_retry retry;
    struct directory_wait *directory_wait; /* one of these is under way */
    struct exchange *exchange;
    struct timer *pause;
    bool called;
};

/* The answer ----------------------------------------------------------------------------------- */

void ari_answer_done(struct ari_answer *a)
{
    free(a->url);
    *a = (struct ari_answer){0};
}

static bool need_time(const json_t *window, const char *name, time_t *ret, struct err **err)
{
    auto_err struct err *e = NULL;

    if (json_opt_time(window, name, ret, &e))
        return true;
    if (!e)
        return err_set(err, ERR_REFUSED, "suggestedWindow has no \"%s\"", name);
    err_move(err, &e);
    return err_wrap(err, "suggestedWindow");
}

/* A page for the operator, if it is one: nothing else may get into a link of the status page. */
static char *read_url(const json_t *o)
{
    const char *url = json_str(o, "explanationURL");

    if (!url || strlen(url) > URL_MAX ||
        (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "http://", 7) != 0))
        return NULL;
    return text_escape(url, strlen(url));
}

bool ari_parse(const char *body, size_t len, time_t now, struct ari_answer *ret, struct err **err)
{
    auto_json json_t *o = json_parse(body, len, err);
    const json_t *window = json_get(o, "suggestedWindow");
    time_t start, end;

    if (!o)
        return false;
    if (!json_is_object(window))
        return err_set(err, ERR_REFUSED, "no \"suggestedWindow\" in the renewal information");
    if (!need_time(window, "start", &start, err) || !need_time(window, "end", &end, err))
        return false;
    if (end <= start)
        return err_set(err, ERR_REFUSED, "suggestedWindow ends before it begins");
    if ((int64_t)end - now > ARI_AHEAD_MAX_S)
        return err_set(err, ERR_REFUSED, "suggestedWindow is too far in the future");
    ret->start = start > 1 ? start : 1; /* 0 stands for "unknown" in documents */
    ret->end = end > 2 ? end : 2;
    ret->url = read_url(o);
    return true;
}

time_t ari_choose(time_t start, time_t end, uint32_t random)
{
    uint64_t width = end > start ? (uint64_t)end - (uint64_t)start : 0;

    if (width > UINT32_MAX)
        width = UINT32_MAX;
    return start + (time_t)((width * random) >> 32);
}

bool ari_is_past(time_t end, time_t now)
{
    return end <= now;
}

/* The question --------------------------------------------------------------------------------- */

static void ari_end(struct ari *a)
{
    directory_wait_free(a->directory_wait);
    exchange_free(a->exchange);
    timer_free(a->pause);
    free(a->cert_id);
    free(a);
}

static void ari_finish(struct ari *a, struct ari_answer *answer, const struct err *e)
{
    a->called = true;
    a->fn(answer, e, a->userdata);
    ari_answer_done(answer);
    ari_end(a);
}

static void ask(struct ari *a);

static void on_pause_over(void *userdata)
{
    struct ari *a = userdata;

    timer_free(take(a->pause));
    ask(a);
}

static void give_up(struct ari *a, const struct err *e)
{
    time_t now = clock_now();
    struct ari_answer answer = {.next_poll = now + ARI_POLL_PRESET_S};

    if (e->retry_at > now)
        answer.next_poll = e->retry_at < now + ARI_POLL_MAX_S ? e->retry_at : now + ARI_POLL_MAX_S;
    if (answer.next_poll < now + ARI_POLL_MIN_S)
        answer.next_poll = now + ARI_POLL_MIN_S;
    ari_finish(a, &answer, e);
}

static void fail(struct ari *a, const struct err *e)
{
    int64_t pause_ms;

    if (pace_retry_ms(&a->retry, e, &pause_ms))
        a->pause = timer_after(a->session->settings.loop, pause_ms, on_pause_over, a);
    else
        give_up(a, e);
}

static bool judge(const struct http_reply *reply, struct ari_answer *ret, struct err **err)
{
    auto_free char *type = exchange_media_type(reply);
    time_t now = clock_now();

    if (reply->status != 200) {
        err_from_problem(err, (int)reply->status, type, reply->body, reply->body_len,
                         http_header(reply, "retry-after"), now);
        return false;
    }
    if (!clock_parse_retry_after(http_header(reply, "retry-after"), now, ARI_POLL_MIN_S,
                                 ARI_POLL_MAX_S, &ret->next_poll))
        ret->next_poll = now + ARI_POLL_PRESET_S;
    if (!media_type_is_json(type))
        return err_set(err, ERR_REFUSED, "%s instead of JSON", *type ? type : "no content type");
    return ari_parse(reply->body, reply->body_len, now, ret, err);
}

static void on_reply(const struct http_reply *reply, const struct err *e, void *userdata)
{
    struct ari *a = userdata;
    struct ari_answer answer = {0};
    auto_err struct err *failure = err_copy(e);

    a->exchange = NULL;
    if (reply && judge(reply, &answer, &failure)) {
        ari_finish(a, &answer, NULL);
        return;
    }
    if (reply) {
        auto_free char *host = url_host(a->session->settings.directory_url);
        err_wrap(&failure, "renewal-info at %s", host);
        session_note(a->session, failure);
    }
    if (answer.next_poll != 0) /* a reply, but no window */
        ari_finish(a, &answer, failure);
    else
        fail(a, failure);
}

/* Exactly one slash between the two (RFC 9773 4.1), whether or not the directory's URL ends in one.
 */
static char *join(const char *renewal_info, const char *cert_id)
{
    size_t len = strlen(renewal_info);

    while (len > 0 && renewal_info[len - 1] == '/')
        len--;
    return xasprintf("%.*s/%s", (int)len, renewal_info, cert_id);
}

static void on_directory(const struct directory *d, const struct err *e, void *userdata)
{
    struct ari *a = userdata;
    auto_err struct err *failure = err_copy(e);
    auto_free char *url = NULL;

    a->directory_wait = NULL;
    if (d && !d->renewal_info)
        err_set(&failure, ERR_REFUSED, "the CA offers no renewal information");
    if (!failure && !session_is_paused(a->session, &failure)) {
        url = join(d->renewal_info, a->cert_id);
        if (url_check(url, "renewalInfo", &failure)) {
            a->exchange = exchange_start(a->session,
                                         &(struct exchange_spec){.operation = "renewal-info",
                                                                 .method = "GET",
                                                                 .url = url,
                                                                 .accept = "application/json"},
                                         on_reply, a);
            return;
        }
    }
    give_up(a, failure); /* without a directory all certificates of the CA are here */
}

static void ask(struct ari *a)
{
    a->directory_wait = directory_get(a->session, on_directory, a);
}

struct ari *ari_start(struct session *s, const char *cert_id, ari_fn *fn, void *userdata)
{
    struct ari *a = xcalloc(1, sizeof(*a));

    a->session = s;
    a->cert_id = xstrdup(cert_id);
    a->fn = fn;
    a->userdata = userdata;
    ask(a);
    return a;
}

void ari_free(struct ari *a)
{
    if (a && !a->called)
        ari_end(a);
}
