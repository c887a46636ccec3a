#include "hooks/dialogue.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/buf.h"

#define READ_MAX  16384
#define QUOTE_MAX 200

struct dialogue {
    struct loop *loop;
    char *address;
    int fd;
    struct io *io;
    struct timer *timer; /* the time-out, or to tell */
    bool connected;
    struct buf request;
    size_t sent;
    struct buf reply;
    bool (*is_whole)(const char *reply, size_t len, void *userdata);
    bool no_reply;
    struct err *err;
    bool called;
    dialogue_fn *fn;
    void *userdata;
};

/* The address ---------------------------------------------------------------------------------- */

union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in6 in6; /* the larger one */
    struct sockaddr_storage storage;
};

static bool parse_path(const char *path, union address *ret, socklen_t *ret_len, struct err **err)
{
    if (strlen(path) >= sizeof(ret->un.sun_path))
        return err_set(err, ERR_CONFIG, "the path of the socket %s is longer than %zu bytes", path,
                       sizeof(ret->un.sun_path) - 1);
    ret->un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->un.sun_path, path, strlen(path));
    *ret_len = (socklen_t)sizeof(ret->un);
    return true;
}

/* Numbers only: nothing here waits for a resolver. */
static bool parse_tcp(const char *text, union address *ret, socklen_t *ret_len, struct err **err)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(text, ':');
    struct addrinfo *found = NULL;

    if (!colon || colon == text || colon[1] == '\0')
        return err_set(err, ERR_CONFIG, "\"%s\" is neither a path nor ADDRESS:PORT", text);
    auto_free char *host = xstrndup(text, (size_t)(colon - text));
    size_t len = strlen(host);
    bool brackets = host[0] == '[' && host[len - 1] == ']';

    host[brackets ? len - 1 : len] = '\0';
    const char *number = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host + brackets;
    int r = getaddrinfo(number, colon + 1, &hints, &found);
    if (r != 0)
        return err_set(err, ERR_CONFIG, "\"%s\" is no address and port in numbers: %s", text,
                       gai_strerror(r));
    memcpy(&ret->storage, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool parse(const char *text, union address *ret, socklen_t *ret_len, struct err **err)
{
    static const char unix_prefix[] = "unix:";
    size_t len = strlen(unix_prefix);
    const char *path = strncmp(text, unix_prefix, len) == 0 ? text + len : text;

    if (path[0] == '/')
        return parse_path(path, ret, ret_len, err);
    if (path != text)
        return err_set(err, ERR_CONFIG, "the path of a socket is absolute, this is \"%s\"", path);
    return parse_tcp(text, ret, ret_len, err);
}

bool dialogue_check_address(const char *address, struct err **err)
{
    union address a;
    socklen_t len;

    return parse(address, &a, &len, err);
}

void dialogue_parse_address(const struct field_in *in)
{
    const char *text = schema_text(in, in->field->kind);
    auto_err struct err *e = NULL;

    if (text && !dialogue_check_address(text, &e))
        yaml_problem(in->problems, false, in->node, in->path, NULL, "%s", e->text);
    else
        *(char **)in->to = xstrdup(text);
}

void dialogue_done_address(void *member)
{
    set_string(member, NULL);
}

bool dialogue_is_absent(const struct err *e)
{
    return e && (e->code == ENOENT || e->code == ECONNREFUSED);
}

/* The end -------------------------------------------------------------------------------------- */

void dialogue_free(struct dialogue *x)
{
    if (!x || x->called)
        return;
    io_free(x->io);
    timer_free(x->timer);
    close_p(&x->fd);
    buf_done(&x->request);
    buf_done(&x->reply);
    err_free(x->err);
    free(x->address);
    free(x);
}

static void on_turn(void *userdata)
{
    struct dialogue *x = userdata;

    x->called = true;
    x->fn(x->err ? NULL : x->reply.data, x->err ? 0 : x->reply.len, x->err, x->userdata);
    x->called = false;
    dialogue_free(x);
}

static void tell(struct dialogue *x)
{
    io_free(x->io);
    x->io = NULL;
    timer_free(x->timer);
    x->timer = timer_after(x->loop, 0, on_turn, x);
}

static void fail(struct dialogue *x, int errnum, const char *doing)
{
    err_set_errno(&x->err, errnum, "%s %s", doing, x->address);
    if (errnum == EACCES || errnum == EPERM)
        err_hint(&x->err, "the agent's user needs read and write access to that socket");
    tell(x);
}

static void on_timeout(void *userdata)
{
    struct dialogue *x = userdata;
    int quoted = x->reply.len < QUOTE_MAX ? (int)x->reply.len : QUOTE_MAX;

    if (!x->connected || x->reply.len == 0)
        err_set(&x->err, ERR_TRANSIENT, "%s did not answer in time", x->address);
    else
        err_set(&x->err, ERR_TRANSIENT, "%s did not end its answer in time: \"%.*s\"", x->address,
                quoted, x->reply.data);
    tell(x);
}

static void on_closed(struct dialogue *x)
{
    int quoted = x->reply.len < QUOTE_MAX ? (int)x->reply.len : QUOTE_MAX;

    if (x->is_whole)
        err_set(&x->err, ERR_REFUSED, "%s closed the connection after \"%.*s\"", x->address, quoted,
                x->reply.data);
    tell(x);
}

/* Bytes ---------------------------------------------------------------------------------------- */

static void receive(struct dialogue *x)
{
    char data[READ_MAX];

    ssize_t n = recv(x->fd, data, sizeof(data), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        fail(x, errno, "reading from");
    } else if (n == 0) {
        on_closed(x);
    } else if (!buf_add(&x->reply, data, (size_t)n)) {
        err_set(&x->err, ERR_REFUSED, "%s answered more than %zu bytes", x->address, x->reply.max);
        tell(x);
    } else if (x->is_whole && x->is_whole(x->reply.data, x->reply.len, x->userdata)) {
        tell(x);
    }
}

/* A peer may answer and close before it has read everything; its answer says more than EPIPE. */
static void send_more(struct dialogue *x)
{
    ssize_t n = send(x->fd, x->request.data + x->sent, x->request.len - x->sent, MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0 && (x->no_reply || errno != EPIPE)) {
        fail(x, errno, "writing to");
        return;
    }
    x->sent = n < 0 ? x->request.len : x->sent + (size_t)n;
    if (x->sent < x->request.len)
        return;
    if (x->no_reply)
        tell(x);
    else
        io_set(x->io, EPOLLIN);
}

static bool is_connected(struct dialogue *x)
{
    int errnum = 0;
    socklen_t len = sizeof(errnum);

    if (getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0)
        errnum = errno;
    if (errnum != 0)
        fail(x, errnum, "connecting to");
    return errnum == 0;
}

static void on_io(struct io *io, uint32_t events, void *userdata)
{
    struct dialogue *x = userdata;

    (void)io;
    if (!x->connected && !is_connected(x))
        return;
    x->connected = true;
    if (x->sent < x->request.len && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
        send_more(x);
    if (x->io && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        receive(x);
}

static bool dial(struct dialogue *x, struct err **err)
{
    union address a;
    socklen_t len;

    if (!parse(x->address, &a, &len, err))
        return false;
    x->fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (x->fd < 0)
        return err_set_errno(err, errno, "making a socket");
    if (connect(x->fd, &a.any, len) != 0 && errno != EINPROGRESS) {
        int errnum = errno;
        err_set_errno(err, errnum, "connecting to %s", x->address);
        if (errnum == EACCES)
            err_hint(err, "the agent's user needs read and write access to that socket");
        return false;
    }
    x->io = io_new(x->loop, x->fd, EPOLLIN | EPOLLOUT, on_io, x, err);
    return x->io;
}

struct dialogue *dialogue_start(struct loop *l, const struct dialogue_spec *spec, dialogue_fn *fn,
                                void *userdata)
{
    struct dialogue *x = xcalloc(1, sizeof(*x));

    *x = (struct dialogue){.loop = l,
                           .address = xstrdup(spec->address),
                           .fd = -1,
                           .is_whole = spec->is_whole,
                           .no_reply = spec->no_reply,
                           .fn = fn,
                           .userdata = userdata};
    buf_init(&x->request, spec->request_len);
    x->request.wipe = true;
    (void)buf_add(&x->request, spec->request, spec->request_len);
    buf_init(&x->reply, spec->reply_max);
    if (dial(x, &x->err))
        x->timer = timer_after(l, spec->timeout_ms, on_timeout, x);
    else
        tell(x);
    return x;
}
