/* Strategy: read the order, then one authorization after the other, and deactivate those still
 * pending. Valid ones are left: they may serve the next order. Nothing is retried, and errors do
 * not count. */
#include "acme/order_private.h"

#include <string.h>

#define LIMIT_MS 30000

struct abandon {
    struct session *session;
    char *url;
    struct strv authorizations;
    size_t next;
    struct request *request;
    struct timer *turn;
    struct timer *limit;
    void (*fn)(void *userdata);
    void *userdata;
};

void abandon_free(struct abandon *a)
{
    if (!a)
        return;
    request_free(a->request);
    timer_free(a->turn);
    timer_free(a->limit);
    strv_done(&a->authorizations);
    free(a->url);
    free(a);
}

static void finish(void *userdata)
{
    struct abandon *a = userdata;
    void (*fn)(void *) = a->fn;
    void *data = a->userdata;

    abandon_free(a);
    fn(data);
}

static void post(struct abandon *a, const char *operation, const char *url, const char *payload,
                 request_fn *fn)
{
    a->request = request_start(
        a->session, &(struct request_spec){.operation = operation, .url = url, .payload = payload},
        fn, a);
}

/* One at a time: nobody waits for this but the next order, and not for long. */
static void ask_next(struct abandon *a);

static void on_deactivated(const struct reply *r, const struct err *e, void *userdata)
{
    struct abandon *a = userdata;

    (void)r;
    (void)e;
    a->request = NULL;
    ask_next(a);
}

static void on_authorization(const struct reply *r, const struct err *e, void *userdata)
{
    struct abandon *a = userdata;
    const char *status = r ? json_str(r->json, "status") : NULL;

    (void)e;
    a->request = NULL;
    if (status && strcmp(status, "pending") == 0)
        post(a, "deactivate", a->authorizations.items[a->next - 1], "{\"status\":\"deactivated\"}",
             on_deactivated);
    else
        ask_next(a);
}

static void ask_next(struct abandon *a)
{
    if (a->next < a->authorizations.n)
        post(a, "authorization", a->authorizations.items[a->next++], "", on_authorization);
    else
        finish(a);
}

static void on_order(const struct reply *r, const struct err *e, void *userdata)
{
    struct abandon *a = userdata;
    struct order_object order = {0};

    (void)e;
    a->request = NULL;
    if (r && order_object_read(r->json, &order, NULL))
        strv_copy(&a->authorizations, &order.authorizations);
    order_object_done(&order);
    ask_next(a);
}

struct abandon *abandon_start(struct session *s, const char *url, int64_t limit_ms,
                              void (*fn)(void *userdata), void *userdata)
{
    struct abandon *a = xcalloc(1, sizeof(*a));

    a->session = s;
    a->url = xstrdup(url);
    a->fn = fn;
    a->userdata = userdata;
    a->limit = timer_after(session_loop(s), limit_ms, finish, a);
    if (a->url && session_account_url(s))
        post(a, "order", a->url, "", on_order);
    else
        a->turn = timer_after(session_loop(s), 0, finish, a);
    return a;
}

struct abandon *order_abandon(struct session *s, const json_t *saved, void (*fn)(void *userdata),
                              void *userdata)
{
    return abandon_start(s, json_str(saved, "url"), LIMIT_MS, fn, userdata);
}
