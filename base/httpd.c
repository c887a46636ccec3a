/* We accept, libmicrohttpd does the rest of each connection: so all sockets share one limit, and a
 * connection can be ended from here (by shutdown(), which the library takes for the end of its
 * peer). Its own time-out is one of silence only, which a client that sends a byte now and then
 * never meets. */
#include "base/httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/listen.h"
#include "base/log.h"

#define CONNECTION_MS 10000
/* Of a connection, for the request and the headers of the reply. */
#define MEMORY_MAX ((size_t)10 * 1024)
/* When there are no more descriptors. The listening sockets would wake us in vain until there are.
 */
#define PAUSE_MS 500

struct connection {
    struct httpd *httpd;
    int fd; /* the library's */
    struct timer *deadline;
    bool dropped; /* not counted any more */
    struct connection *next, **at;
};

struct door {
    int fd;
    bool ours;
    struct io *io;
};

struct httpd {
    struct loop *loop;
    httpd_fn *fn;
    void *userdata;
    struct MHD_Daemon *daemon;
    struct io *io;
    struct timer *timer; /* the library's */
    struct door *doors;
    size_t n_doors;
    struct timer *pause;
    struct strv listen; /* empty when the sockets were passed */
    struct connection *oldest, **newest_end;
    struct connection *coming;
    size_t n_connections, connections_max;
    size_t body_max; /* of a POST; 0: none is taken */
    bool busy;       /* inside the library */
    bool freed;
};

/* Connections
 * --------------------------------------------------------------------------------------- */

static void connection_drop(struct connection *c)
{
    struct httpd *h = c->httpd;

    if (c->dropped)
        return;
    c->dropped = true;
    timer_free(take(c->deadline));
    if (h->newest_end == &c->next)
        h->newest_end = c->at;
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    h->n_connections--;
}

static void on_deadline(void *userdata)
{
    struct connection *c = userdata;

    connection_drop(c);
    shutdown(c->fd, SHUT_RDWR);
}

static void on_connection(void *userdata, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct httpd *h = userdata;

    (void)mhd;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = take(h->coming);
    } else if (*context) {
        connection_drop(*context);
        free(take(*context));
    }
}

static struct connection *connection_new(struct httpd *h, int fd)
{
    struct connection *c = xcalloc(1, sizeof(*c));

    *c = (struct connection){.httpd = h, .fd = fd, .at = h->newest_end};
    *h->newest_end = c;
    h->newest_end = &c->next;
    h->n_connections++;
    c->deadline = timer_after(h->loop, CONNECTION_MS, on_deadline, c);
    return c;
}

/* Requests
 * ----------------------------------------------------------------------------------------- */

static enum MHD_Result send_reply(struct MHD_Connection *mhd, const struct httpd_reply *reply,
                                  const char *allow)
{
    char *body = reply->body ? reply->body : xstrdup("");
    struct MHD_Response *r = MHD_create_response_from_buffer(reply->body ? reply->body_len : 0,
                                                             body, MHD_RESPMEM_MUST_FREE);

    if (!r) {
        free(body);
        return MHD_NO;
    }
    if (reply->type)
        MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
    if (allow)
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    enum MHD_Result result = MHD_queue_response(mhd, reply->status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result answer(struct httpd *h, struct MHD_Connection *mhd, const char *url,
                              const struct buf *body)
{
    struct httpd_reply reply = {.status = MHD_HTTP_OK};
    struct httpd_request request = {
        .path = url,
        .host = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST),
        .accept = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT),
        .body = body ? body->data : NULL,
        .body_len = body ? body->len : 0,
    };

    if (body && body->overflow)
        reply.status = MHD_HTTP_CONTENT_TOO_LARGE;
    else
        h->fn(&request, &reply, h->userdata);
    if (h->freed) {
        free(reply.body);
        return MHD_NO;
    }
    return send_reply(mhd, &reply, NULL);
}

/* Comes piece by piece, and then once without one. */
static enum MHD_Result take_body(struct httpd *h, struct MHD_Connection *mhd, const char *url,
                                 const char *data, size_t *data_len, void **context)
{
    struct buf *body = *context;

    if (!body) {
        *context = body = xcalloc(1, sizeof *body);
        buf_init(body, h->body_max);
        return MHD_YES;
    }
    if (*data_len == 0)
        return answer(h, mhd, url, body);
    buf_add(body, data, *data_len);
    *data_len = 0;
    return MHD_YES;
}

static void on_completed(void *userdata, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)userdata, (void)mhd, (void)code;
    if (*context)
        buf_done(*context);
    free(take(*context));
}

/* Called first when the headers are there; a reply at once means that no body is read. */
static enum MHD_Result on_request(void *userdata, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **context)
{
    struct httpd *h = userdata;
    struct httpd_reply refusal = {.status = MHD_HTTP_METHOD_NOT_ALLOWED};

    (void)version;
    if (h->freed)
        return MHD_NO;
    if (h->body_max > 0 && strcmp(method, "POST") == 0)
        return take_body(h, mhd, url, data, data_len, context);
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        return answer(h, mhd, url, NULL);
    return send_reply(mhd, &refusal, h->body_max > 0 ? "GET, HEAD, POST" : "GET, HEAD");
}

static size_t unescape_nothing(void *userdata, struct MHD_Connection *mhd, char *text)
{
    (void)userdata, (void)mhd;
    return strlen(text);
}

/* The library on the loop
 * -------------------------------------------------------------------------- */

static void httpd_end(struct httpd *h)
{
    timer_free(h->timer);
    io_free(h->io);
    if (h->daemon)
        MHD_stop_daemon(h->daemon); /* ends the connections by on_connection() */
    free(h);
}

static void httpd_run(struct httpd *h);

static void on_timer(void *userdata)
{
    httpd_run(userdata);
}

static void on_ready(struct io *io, uint32_t events, void *userdata)
{
    (void)io, (void)events;
    httpd_run(userdata);
}

/* What the library has read but not worked off makes no descriptor readable: it asks for a time-out
 * of 0 then. */
static void httpd_run(struct httpd *h)
{
    MHD_UNSIGNED_LONG_LONG ms;

    h->busy = true;
    MHD_run(h->daemon);
    h->busy = false;
    if (h->freed) {
        httpd_end(h);
        return;
    }
    timer_free(take(h->timer));
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES)
        h->timer =
            timer_after(h->loop, ms > CONNECTION_MS ? CONNECTION_MS : (int64_t)ms, on_timer, h);
}

/* Doors
 * -------------------------------------------------------------------------------------------- */

static void set_doors(struct httpd *h, uint32_t events)
{
    for (size_t i = 0; i < h->n_doors; i++)
        io_set(h->doors[i].io, events);
}

static void on_pause_over(void *userdata)
{
    struct httpd *h = userdata;

    timer_free(take(h->pause));
    set_doors(h, EPOLLIN);
}

static bool is_exhausted(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

static void on_door(struct io *io, uint32_t events, void *userdata)
{
    struct httpd *h = userdata;
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    const struct door *d = h->doors;

    (void)events;
    while (d->io != io)
        d++;
    int fd = accept4(d->fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        if (is_exhausted(errno)) {
            set_doors(h, 0);
            h->pause = timer_after(h->loop, PAUSE_MS, on_pause_over, h);
        }
        return;
    }
    if (h->n_connections >= h->connections_max)
        on_deadline(h->oldest);
    h->coming = connection_new(h, fd);
    MHD_add_connection(h->daemon, fd, (struct sockaddr *)&addr, len); /* closes fd if it fails */
    if (h->coming) {
        connection_drop(h->coming);
        free(take(h->coming));
    }
    httpd_run(h); /* may free h */
}

static bool door_add(struct httpd *h, int fd, bool ours, struct err **err)
{
    struct io *io = io_new(h->loop, fd, EPOLLIN, on_door, h, err);

    if (!io) {
        if (ours)
            close(fd);
        return false;
    }
    h->doors = xreallocarray(h->doors, h->n_doors + 1, sizeof(*h->doors));
    h->doors[h->n_doors++] = (struct door){.fd = fd, .ours = ours, .io = io};
    return true;
}

static bool door_adopt(struct httpd *h, int fd, struct err **err)
{
    int listening = 0, flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof(listening);

    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 || !listening)
        return err_set(err, ERR_CONFIG, "the socket passed as descriptor %d does not listen", fd);
    /* A client that left between epoll and accept must not make us wait for the next one. */
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "the socket passed as descriptor %d", fd);
    return door_add(h, fd, false, err);
}

static bool open_doors(struct httpd *h, const struct strv *listen, struct err **err)
{
    for (size_t i = 0; i < listen->n; i++) {
        int fds[LISTEN_SOCKETS_MAX];
        size_t n = listen_open(listen->items[i], fds, err), added = 0;

        if (n == 0)
            return false;
        strv_add(&h->listen, listen->items[i]);
        while (added < n && door_add(h, fds[added], true, err))
            added++;
        for (size_t k = added + 1; k < n; k++)
            close(fds[k]);
        if (added < n)
            return false;
    }
    return true;
}

/* One thread only. A daemon that several may use (the default of 1.0) puts a connection into a
 * queue first, and on_connection() is called too late to know which one it is. */
#if MHD_VERSION >= 0x00097707
#define FLAGS (MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_NO_THREAD_SAFETY)
#else
#define FLAGS (MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET)
#endif

static bool httpd_start(struct httpd *h, struct err **err)
{
    h->daemon = MHD_start_daemon(
        FLAGS, 0, NULL, NULL, on_request, h, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(2 * h->connections_max), /* dropped ones included */
        MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_CONNECTION_MEMORY_LIMIT, MEMORY_MAX,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
        h, MHD_OPTION_UNESCAPE_CALLBACK, unescape_nothing, NULL, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info)
        return err_set(err, ERR_SYSTEM, "libmicrohttpd cannot be started");
    h->io = io_new(h->loop, info->epoll_fd, EPOLLIN, on_ready, h, err);
    return h->io != NULL;
}

struct httpd *httpd_new(struct loop *l, const struct strv *listen, const int *sockets,
                        size_t n_sockets, unsigned connections_max, httpd_fn *fn, void *userdata,
                        struct err **err)
{
    struct httpd *h = xcalloc(1, sizeof(*h));

    *h = (struct httpd){.loop = l, .fn = fn, .userdata = userdata};
    h->connections_max = connections_max > 0 ? connections_max : 1;
    h->newest_end = &h->oldest;
    bool ok = httpd_start(h, err);
    for (size_t i = 0; ok && i < n_sockets; i++)
        ok = door_adopt(h, sockets[i], err);
    if (ok && n_sockets == 0)
        ok = open_doors(h, listen, err);
    if (ok)
        return h;
    httpd_free(h);
    return NULL;
}

void httpd_take_posts(struct httpd *h, size_t max)
{
    h->body_max = max;
}

void httpd_free(struct httpd *h)
{
    if (!h)
        return;
    for (size_t i = 0; i < h->listen.n; i++)
        listen_remove_file(h->listen.items[i]);
    strv_done(&h->listen);
    for (size_t i = 0; i < h->n_doors; i++) {
        io_free(h->doors[i].io);
        if (h->doors[i].ours)
            close(h->doors[i].fd);
    }
    free(take(h->doors));
    h->n_doors = 0;
    timer_free(take(h->pause));
    h->freed = true;
    if (!h->busy)
        httpd_end(h);
}

bool httpd_listen_check(const char *listen, struct err **err)
{
    return listen_check(listen, err);
}

size_t httpd_activated(const char *name, int *ret_sockets, size_t max)
{
    char **names = NULL;
    int passed = sd_listen_fds_with_names(0, &names);
    size_t n = 0;

    for (int i = 0; i < passed && names; i++) {
        if (n < max && strcmp(names[i], name) == 0)
            ret_sockets[n++] = SD_LISTEN_FDS_START + i;
        free(names[i]);
    }
    free(names);
    return n;
}

size_t httpd_activated_at(const struct strv *listen, int *ret_sockets, size_t max)
{
    int passed = sd_listen_fds(0);
    size_t n = 0;

    for (int i = 0; i < passed; i++) {
        bool wanted = false;

        for (size_t at = 0; at < listen->n && !wanted; at++)
            wanted = listen_is_at(listen->items[at], SD_LISTEN_FDS_START + i);
        if (wanted && n < max)
            ret_sockets[n++] = SD_LISTEN_FDS_START + i;
    }
    return n;
}
