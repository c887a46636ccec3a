/* Strategy: [directory ->] request -> (transient failure: pause and again) -> tell. */
#include "acme/post.h"

#include "acme/pace.h"
#include "acme/session_private.h"

struct post {
    struct session *session;
    const char *operation;
    const char *(*url_of)(const struct directory *d);
    char *url, *payload;
    enum request_key key;
    request_fn *fn;
    void *userdata;

    struct pace_retry retry;
    bool may_have_arrived;
    struct directory_wait *directory_wait; /* one of these is under way */
    struct request *request;
    struct timer *pause;
    bool called;
};

static void post_end(struct post *p)
{
    directory_wait_free(p->directory_wait);
    request_free(p->request);
    timer_free(p->pause);
    free(p->url);
    free(p->payload);
    free(p);
}

static void post_finish(struct post *p, const struct reply *r, const struct err *e)
{
    p->called = true;
    p->fn(r, e, p->userdata);
    post_end(p);
}

static void ask(struct post *p);

static void on_pause_over(void *userdata)
{
    struct post *p = userdata;

    timer_free(take(p->pause));
    ask(p);
}

static void judge_failure(struct post *p, const struct err *e)
{
    int64_t pause_ms;

    if (pace_retry_ms(&p->retry, e, &pause_ms))
        p->pause = timer_after(p->session->settings.loop, pause_ms, on_pause_over, p);
    else
        post_finish(p, NULL, e);
}

static void on_reply(const struct reply *r, const struct err *e, void *userdata)
{
    struct post *p = userdata;

    p->request = NULL;
    if (!e) {
        post_finish(p, r, NULL);
        return;
    }
    if (e->code == 404 && !p->url) /* an old directory's URL? */
        session_forget_directory(p->session);
    if (e->kind == ERR_TRANSIENT) /* a gateway's 502 says nothing about what is behind it, either */
        p->may_have_arrived = true;
    judge_failure(p, e);
}

static void send(struct post *p, const char *url)
{
    p->request = request_start(
        p->session,
        &(struct request_spec){
            .operation = p->operation, .url = url, .payload = p->payload, .key = p->key},
        on_reply, p);
}

static void on_directory(const struct directory *d, const struct err *e, void *userdata)
{
    struct post *p = userdata;
    auto_err struct err *missing = NULL;
    const char *url = d ? p->url_of(d) : NULL;

    p->directory_wait = NULL;
    if (e) {
        judge_failure(p, e);
    } else if (url) {
        send(p, url);
    } else {
        err_set(&missing, ERR_REFUSED, "the CA offers no %s", p->operation);
        post_finish(p, NULL, missing);
    }
}

static void ask(struct post *p)
{
    if (p->url)
        send(p, p->url);
    else
        p->directory_wait = directory_get(p->session, on_directory, p);
}

struct post *post_start(struct session *s, const struct post_spec *spec, request_fn *fn,
                        void *userdata)
{
    struct post *p = xcalloc(1, sizeof(*p));

    p->session = s;
    p->operation = spec->operation;
    p->url = xstrdup(spec->url);
    p->url_of = spec->url_of;
    p->payload = xstrdup(spec->payload);
    p->key = spec->key;
    p->fn = fn;
    p->userdata = userdata;
    ask(p);
    return p;
}

void post_free(struct post *p)
{
    if (p && !p->called)
        post_end(p);
}

bool post_may_have_arrived(const struct post *p)
{
    return p->may_have_arrived;
}

struct session *post_session_of_key(const struct session *s, struct key *key)
{
    struct session *other = session_new(&s->settings);

    other->paused_until = s->paused_until;
    session_set_account(other, key, NULL);
    return other;
}
