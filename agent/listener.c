/* Every configured address has a server of its own: one that is taken keeps no other from
 * answering. */
#include "agent/listener.h"

#include <string.h>

#include "agent/exposition.h"
#include "agent/page.h"
#include "agent/status.h"
#include "base/httpd.h"
#include "base/log.h"

#define CONNECTIONS_MAX 32
#define RETRY_FIRST_MS  1000
#define RETRY_MAX_MS    60000
#define PAGE_MAX        (32 * 1024 * 1024)
#define PAGE_DIGITS_MAX 6
#define NAMES_MAX       (64 * 1024) /* of /readyz */

struct place {
    struct listener *listener;
    struct strv listen; /* one text */
    struct httpd *httpd;
    struct timer *retry;
    int64_t retry_ms;
};

struct listener {
    struct manager *manager;
    struct place *places;
    size_t n_places;
};

/* Answers -------------------------------------------------------------------------------------- */

static void answer(struct httpd_reply *reply, unsigned status, const char *type, char *body)
{
    reply->status = status;
    reply->type = type;
    reply->body = body;
    reply->body_len = strlen(body);
}

static void answer_text(struct httpd_reply *reply, unsigned status, const char *text)
{
    answer(reply, status, "text/plain; charset=utf-8", xstrdup(text));
}

static void answer_status(const struct manager *m, const struct httpd_request *request,
                          struct httpd_reply *reply)
{
    auto_json json_t *document = status_document(m, true, NULL, NULL);

    (void)request;
    answer(reply, 200, "application/json", json_text(document));
}

static void answer_metrics(const struct manager *m, const struct httpd_request *request,
                           struct httpd_reply *reply)
{
    bool openmetrics =
        request->accept && strstr(request->accept, "application/openmetrics-text") != NULL;
    auto_buf struct buf text;

    buf_init(&text, EXPOSITION_MAX);
    exposition_write(m, openmetrics ? METRICS_OPENMETRICS : METRICS_PROMETHEUS, &text);
    if (text.overflow) {
        answer_text(reply, 500, "too many metrics\n");
        return;
    }
    answer(reply, 200,
           openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                       : "text/plain; version=0.0.4; charset=utf-8",
           buf_take(&text));
}

/* What comes behind `prefix` in the path; NULL when it does not begin with it. */
static const char *path_rest(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);

    return strncmp(path, prefix, len) == 0 ? path + len : NULL;
}

/* "/" or "/page/N"; 0: none. */
static size_t page_number(const char *path)
{
    const char *digits = path_rest(path, "/page/");
    size_t n = 0;

    if (strcmp(path, "/") == 0)
        return 1;
    if (!digits || !*digits || strlen(digits) > PAGE_DIGITS_MAX)
        return 0;
    for (; *digits >= '0' && *digits <= '9'; digits++)
        n = n * 10 + (size_t)(*digits - '0');
    return *digits ? 0 : n;
}

/* False: it is no page. */
static bool answer_page(const struct manager *m, const char *path, struct httpd_reply *reply)
{
    const char *name = path_rest(path, "/certificate/");
    size_t page = page_number(path);
    auto_buf struct buf html;

    buf_init(&html, PAGE_MAX);
    if (!(page > 0 && page_write(m, page, &html)) &&
        !(name && page_write_certificate(m, name, &html)))
        return false;
    if (html.overflow)
        answer_text(reply, 500, "too much for one page\n");
    else
        answer(reply, 200, "text/html; charset=utf-8", buf_take(&html));
    return true;
}

/* That this runs says that the loop turns. */
static void answer_health(const struct manager *m, const struct httpd_request *request,
                          struct httpd_reply *reply)
{
    (void)m;
    (void)request;
    answer_text(reply, 200, "ok\n");
}

static void answer_ready(const struct manager *m, const struct httpd_request *request,
                         struct httpd_reply *reply)
{
    auto_buf struct buf names;
    size_t missing = 0;

    (void)request;
    buf_init(&names, NAMES_MAX);
    buf_add_str(&names, "no live certificate:");
    for (size_t i = 0; i < manager_count(m); i++) {
        struct managed_view v;
        managed_view(manager_at(m, i), &v);
        if (v.live)
            continue;
        missing++;
        buf_addf(&names, " %s", v.name);
    }
    if (missing == 0) {
        answer_text(reply, 200, "ok\n");
        return;
    }
    buf_add_str(&names, "\n");
    answer(reply, 503, "text/plain; charset=utf-8", buf_take(&names));
}

static void on_request(const struct httpd_request *request, struct httpd_reply *reply,
                       void *userdata)
{
    static const struct {
        const char *path;
        void (*answer)(const struct manager *m, const struct httpd_request *request,
                       struct httpd_reply *reply);
    } paths[] = {
        {"/status", answer_status},
        {"/metrics", answer_metrics},
        {"/healthz", answer_health},
        {"/readyz", answer_ready},
    };
    const struct place *place = userdata;

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (strcmp(request->path, paths[i].path) == 0) {
            paths[i].answer(place->listener->manager, request, reply);
            return;
        }
    }
    if (!answer_page(place->listener->manager, request->path, reply))
        answer_text(reply, 404, "not found\n");
}

/* Life
 * -----------------------------------------------------------------------------------------------
 */

static void place_open(void *userdata)
{
    struct place *p = userdata;
    struct loop *loop = manager_services(p->listener->manager)->loop;
    auto_err struct err *e = NULL;

    timer_free(p->retry);
    p->retry = NULL;
    p->httpd = httpd_new(loop, &p->listen, NULL, 0, CONNECTIONS_MAX, on_request, p, &e);
    if (p->httpd) {
        log_info("listening", "address", p->listen.items[0]);
        return;
    }
    if (p->retry_ms == RETRY_FIRST_MS) /* once: the others would say the same */
        log_failure(LOG_LEVEL_WARNING, e, "cannot listen, trying again", "address",
                    p->listen.items[0]);
    p->retry = timer_after(loop, p->retry_ms, place_open, p);
    p->retry_ms = p->retry_ms * 2 < RETRY_MAX_MS ? p->retry_ms * 2 : RETRY_MAX_MS;
}

struct listener *listener_new(struct manager *m)
{
    const struct strv *listen = &manager_config(m)->listen;
    struct listener *l = xcalloc(1, sizeof *l);

    l->manager = m;
    l->n_places = listen->n;
    l->places = xcalloc(listen->n + 1, sizeof *l->places);
    for (size_t i = 0; i < listen->n; i++) {
        struct place *p = &l->places[i];
        p->listener = l;
        p->retry_ms = RETRY_FIRST_MS;
        strv_add(&p->listen, listen->items[i]);
        place_open(p);
    }
    return l;
}

void listener_free(struct listener *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n_places; i++) {
        httpd_free(l->places[i].httpd);
        timer_free(l->places[i].retry);
        strv_done(&l->places[i].listen);
    }
    free(l->places);
    free(l);
}
