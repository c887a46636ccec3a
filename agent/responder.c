/* The index, CertID -> certificate, is made anew when an unknown CertID is asked for, once a second
 * at most. What is served is read from disk each time and must still be good. */
#include "agent/responder.h"

#include <string.h>

#include "base/clock.h"
#include "base/httpd.h"
#include "base/log.h"
#include "base/map.h"
#include "pki/ocsp.h"
#include "store/staple.h"

#define CONNECTIONS_MAX 64
#define RETRY_MS        10000
#define INDEX_PAUSE_MS  1000

struct responder {
    struct manager *manager;
    struct httpd *httpd;
    struct timer *retry;
    struct map *index; /* CertID as text -> char *name */
    int64_t indexed_ms;
    bool told;
};

static void forget(struct responder *r)
{
    if (r->index)
        map_free(r->index, free);
    r->index = map_new();
}

static void make_index(struct responder *r)
{
    forget(r);
    r->indexed_ms = clock_boot_ms();
    for (size_t i = 0; i < manager_count(r->manager); i++) {
        struct managed_view v;
        managed_view(manager_at(r->manager, i), &v);
        if (v.live && v.staple->held && v.staple->id)
            free(map_set(r->index, v.staple->id, xstrdup(v.name)));
    }
}

static const char *find(struct responder *r, const char *id)
{
    const char *name = map_get(r->index, id);

    if (name || clock_boot_ms() - r->indexed_ms < INDEX_PAUSE_MS)
        return name;
    make_index(r);
    return map_get(r->index, id);
}

/* The staple that was asked for, or NULL: held, good, and about exactly that CertID (another digest
 * than ours in the question, or a renewal since the index was made, leads to another answer). */
static char *lookup(struct responder *r, const char *id, size_t *ret_len)
{
    const char *name = find(r, id);
    struct managed *m = name ? manager_find(r->manager, name) : NULL;
    auto_buf struct buf der = {0};
    struct managed_view v;

    if (!m)
        return NULL;
    managed_view(m, &v);
    if (!v.live || !v.staple->held || v.staple->next_update <= clock_now() ||
        !staple_load(manager_services(r->manager)->state, name, v.live->number, &der, NULL) ||
        !ocsp_is_about(der.data, der.len, id))
        return NULL;
    *ret_len = der.len;
    return buf_take(&der);
}

static void on_request(const struct httpd_request *request, struct httpd_reply *reply,
                       void *userdata)
{
    struct responder *r = userdata;
    auto_free unsigned char *decoded = NULL;
    const void *der = request->body;
    size_t len = request->body_len;
    auto_strv struct strv ids = {0};

    if (!der && ocsp_path_decode(request->path, &decoded, &len))
        der = decoded;
    *reply = (struct httpd_reply){.status = 200, .type = "application/ocsp-response"};
    if (!der || !ocsp_request_parse(der, len, &ids, NULL)) {
        reply->body = xmemdup(ocsp_reply_malformed, sizeof ocsp_reply_malformed);
        reply->body_len = sizeof ocsp_reply_malformed;
        return;
    }
    /* A response about one certificate is no answer to a question about two. */
    reply->body = ids.n == 1 ? lookup(r, ids.items[0], &reply->body_len) : NULL;
    if (!reply->body) {
        reply->body = xmemdup(ocsp_reply_try_later, sizeof ocsp_reply_try_later);
        reply->body_len = sizeof ocsp_reply_try_later;
    }
}

static void on_open(void *userdata)
{
    struct responder *r = userdata;
    struct loop *loop = manager_services(r->manager)->loop;
    const struct config *c = manager_config(r->manager);
    auto_err struct err *e = NULL;

    timer_free(take(r->retry));
    r->httpd = httpd_new(loop, &c->ocsp_listen, NULL, 0, CONNECTIONS_MAX, on_request, r, &e);
    if (r->httpd) {
        auto_free char *where = strv_join(&c->ocsp_listen, ", ");
        httpd_take_posts(r->httpd, OCSP_REQUEST_MAX);
        log_info("OCSP responder", "listen", where);
        return;
    }
    if (!r->told)
        log_failure(LOG_LEVEL_WARNING, e, "the OCSP responder cannot listen, tried again");
    r->told = true;
    r->retry = timer_after(loop, RETRY_MS, on_open, r);
}

struct responder *responder_new(struct manager *m)
{
    if (manager_config(m)->ocsp_listen.n == 0)
        return NULL;
    struct responder *r = xcalloc(1, sizeof *r);

    r->manager = m;
    r->indexed_ms = -INDEX_PAUSE_MS;
    forget(r);
    on_open(r);
    return r;
}

void responder_free(struct responder *r)
{
    if (!r)
        return;
    httpd_free(r->httpd);
    timer_free(r->retry);
    map_free(r->index, free);
    free(r);
}
