/* curl tells us which sockets and which one time-out to watch; we tell it what happened there. */
#include "base/http_multi.h"

#include <curl/curl.h>
#include <sys/epoll.h>

#include "base/log.h"

#define CONNECTIONS_MAX 16L /* kept open */
#define PER_HOST_MAX    8L  /* only servers without HTTP/2 get more than one */

struct http_multi {
    struct loop *loop;
    CURLM *curl;
    struct timer *timer;
    http_multi_fn *fn;
    void *userdata;
};

/* A socket of curl's, from its first CURL_POLL_... to CURL_POLL_REMOVE. */
struct watch {
    struct http_multi *multi;
    struct io *io;
    curl_socket_t fd;
};

/* After every call into curl that may have moved transfers. */
static void collect(struct http_multi *m)
{
    const CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(m->curl, &left))) {
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_multi_remove_handle(m->curl, easy); /* the message is gone with it */
        m->fn(easy, (int)code, m->userdata);
    }
}

static void on_ready(struct io *io, uint32_t events, void *userdata)
{
    const struct watch *w = userdata;
    struct http_multi *m = w->multi;
    int running;
    int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
               (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);

    (void)io;
    curl_multi_socket_action(m->curl, w->fd, what, &running); /* may free w */
    collect(m);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_data)
{
    struct http_multi *m = userdata;
    struct watch *w = socket_data;
    uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) |
                      (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);
    auto_err struct err *e = NULL;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            io_free(w->io);
        free(w);
        return 0;
    }
    if (w) {
        io_set(w->io, events);
        return 0;
    }
    w = xcalloc(1, sizeof(*w));
    *w = (struct watch){.multi = m, .fd = fd};
    w->io = io_new(m->loop, fd, events, on_ready, w, &e);
    if (!w->io) { /* its transfer runs into its time-out */
        log_failure(LOG_LEVEL_WARNING, e, "a connection cannot be watched");
        free(w);
        return 0;
    }
    curl_multi_assign(m->curl, fd, w);
    return 0;
}

static void on_time(void *userdata)
{
    struct http_multi *m = userdata;
    int running;

    timer_free(take(m->timer));
    curl_multi_socket_action(m->curl, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(m);
}

static int on_timer(CURLM *curl, long ms, void *userdata)
{
    struct http_multi *m = userdata;

    (void)curl;
    timer_free(take(m->timer));
    if (ms >= 0)
        m->timer = timer_after(m->loop, ms, on_time, m);
    return 0;
}

bool http_multi_add(struct http_multi *m, void *easy, struct err **err)
{
    CURLMcode code = curl_multi_add_handle(m->curl, easy);

    return code == CURLM_OK || err_set(err, ERR_BUG, "libcurl: %s", curl_multi_strerror(code));
}

void http_multi_remove(struct http_multi *m, void *easy)
{
    curl_multi_remove_handle(m->curl, easy);
}

struct http_multi *http_multi_new(struct loop *l, http_multi_fn *fn, void *userdata,
                                  struct err **err)
{
    struct http_multi *m = xcalloc(1, sizeof(*m));

    *m = (struct http_multi){.loop = l, .fn = fn, .userdata = userdata, .curl = curl_multi_init()};
    if (!m->curl) {
        free(m);
        err_set(err, ERR_SYSTEM, "libcurl cannot be started");
        return NULL;
    }
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m);
    curl_multi_setopt(m->curl, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, CONNECTIONS_MAX);
    curl_multi_setopt(m->curl, CURLMOPT_MAX_HOST_CONNECTIONS, PER_HOST_MAX);
    return m;
}

void http_multi_free(struct http_multi *m)
{
    if (!m)
        return;
    curl_multi_cleanup(m->curl); /* takes its sockets and its timer back by the callbacks */
    timer_free(m->timer);
    free(m);
}
