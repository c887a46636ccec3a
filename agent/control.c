/* One client is one state: reading a request, waiting for a renewal, or writing. A request is
 * answered before the next one of the same client is read. */
#include "agent/control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/control_private.h"
#include "agent/control_server.h"
#include "base/log.h"

#define CLIENTS_MAX     32
#define REQUEST_MAX     (64 * 1024)
#define ANSWER_MAX      (64 * 1024 * 1024)
#define ACTIVITY_MAX    (64 * 1024) /* a client that reads more slowly misses some */
#define REQUEST_MS      10000       /* for a request to arrive, or for an answer to be taken */
#define ACCEPT_AGAIN_MS 1000

struct control {
    struct control_settings settings;
    char *path;
    struct control_address address;
    int fd;
    struct io *io;
    struct timer *accept_again;
    ino_t inode; /* of the socket: it is removed only while it is ours */
    struct client *clients;
    size_t n_clients;
};

static struct loop *loop_of(const struct control *c)
{
    return manager_services(c->settings.manager)->loop;
}

/* Clients -------------------------------------------------------------------------------------- */

static void client_free(struct client *c)
{
    struct client **at = &c->control->clients;

    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->control->n_clients--;
    renew_free(c->renew);
    account_request_free(c->account);
    timer_free(c->timer);
    io_free(c->io);
    close(c->fd);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

static void on_late(void *userdata)
{
    client_free(userdata);
}

static void client_deadline(struct client *c)
{
    timer_free(c->timer);
    c->timer = timer_after(loop_of(c->control), REQUEST_MS, on_late, c);
}

static void put_line(struct client *c, const json_t *line)
{
    auto_free char *text = json_compact(line);

    buf_add_str(&c->out, text);
    buf_add(&c->out, "\n", 1);
}

static bool is_waiting(const struct client *c)
{
    return c->renew || c->account;
}

static void on_quiet(void *userdata)
{
    struct client *c = userdata;

    client_wait(c);
    if (c->out.len == 0)
        buf_add_str(&c->out, "{}\n");
    client_continue(c);
}

void client_answer(struct client *c, json_t *result, const struct err *e)
{
    auto_json json_t *j = json_object();

    if (e)
        json_put(j, "error", err_to_json(e));
    else
        json_put(j, "result", result);
    put_line(c, j);
    client_deadline(c);
}

void client_wait(struct client *c)
{
    timer_free(c->timer);
    c->timer = timer_after(loop_of(c->control), CONTROL_KEEPALIVE_MS, on_quiet, c);
}

struct manager *client_manager(const struct client *c)
{
    return c->control->settings.manager;
}

const struct control_settings *client_settings(const struct client *c)
{
    return &c->control->settings;
}

/* Input and output ----------------------------------------------------------------------------- */

/* False: the client is gone. */
static bool client_write(struct client *c)
{
    while (c->sent < c->out.len) {
        ssize_t n =
            send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0 || c->out.overflow) {
            client_free(c);
            return false;
        }
        c->sent += (size_t)n;
        if (!is_waiting(c))
            client_deadline(c); /* it does take it */
    }
    buf_clear(&c->out);
    c->sent = 0;
    return true;
}

/* Carries out the requests that are there; each must be answered before the next. */
static void client_requests(struct client *c)
{
    while (!is_waiting(c) && c->out.len == 0) {
        char *newline = memchr(c->in.data, '\n', c->in.len);
        if (!newline)
            return;
        size_t len = (size_t)(newline - c->in.data);
        client_ask(c, c->in.data, len);
        c->in.len -= len + 1;
        memmove(c->in.data, newline + 1, c->in.len + 1);
    }
}

void client_continue(struct client *c)
{
    do {
        client_requests(c);
        if (!client_write(c))
            return;
    } while (!is_waiting(c) && c->out.len == 0 && memchr(c->in.data, '\n', c->in.len));

    /* While it waits only its end matters. EPOLLPRI stands for no event at all: EPOLLHUP comes
     * with any, EPOLLRDHUP would come for one that closed only its sending half. */
    uint32_t reads = is_waiting(c) ? EPOLLPRI : EPOLLIN;
    io_set(c->io, c->out.len > 0 ? EPOLLOUT : reads);
}

/* False: the client is gone. */
static bool client_read(struct client *c)
{
    char text[4096];
    ssize_t n = recv(c->fd, text, sizeof text, MSG_DONTWAIT);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n > 0 && buf_add(&c->in, text, (size_t)n))
        return true;
    client_free(c);
    return false;
}

static void on_client(struct io *io, uint32_t events, void *userdata)
{
    struct client *c = userdata;

    (void)io;
    if ((events & EPOLLIN) && !client_read(c))
        return;
    if ((events & (EPOLLHUP | EPOLLERR)) && !(events & EPOLLIN)) {
        client_free(c);
        return;
    }
    client_continue(c);
}

/* Accepting ------------------------------------------------------------------------------------ */

static void client_new(struct control *control, int fd, bool may_change)
{
    struct client *c = xcalloc(1, sizeof *c);
    auto_err struct err *e = NULL;

    c->control = control;
    c->fd = fd;
    c->may_change = may_change;
    buf_init(&c->in, REQUEST_MAX);
    buf_init(&c->out, ANSWER_MAX);
    c->next = control->clients;
    control->clients = c;
    control->n_clients++;
    c->io = io_new(loop_of(control), fd, EPOLLIN, on_client, c, &e);
    if (!c->io) {
        log_failure(LOG_LEVEL_WARNING, e, "control socket");
        client_free(c);
        return;
    }
    client_deadline(c);
}

static bool may_change(int fd)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == 0 || peer.uid == geteuid());
}

static void on_accept_again(void *userdata)
{
    struct control *c = userdata;

    timer_free(c->accept_again);
    c->accept_again = NULL;
    io_set(c->io, EPOLLIN);
}

static void on_connection(struct io *io, uint32_t events, void *userdata)
{
    struct control *c = userdata;
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (fd >= 0 && c->n_clients < CLIENTS_MAX) {
        client_new(c, fd, may_change(fd));
    } else if (fd >= 0) {
        close(fd);
    } else if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) {
        io_set(io, 0); /* no descriptors left: those that wait would wake us without end */
        c->accept_again = timer_after(loop_of(c), ACCEPT_AGAIN_MS, on_accept_again, c);
    }
}

/* Life ----------------------------------------------------------------------------------------- */

/* Removes the socket of an agent that was killed. */
static bool make_room(const struct control *c, struct err **err)
{
    struct stat st;
    const struct control_address *a = &c->address;
    auto_close int fd = control_socket(0, err);

    if (fd < 0)
        return false;
    if (fstatat(a->dirfd, a->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return true;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, ERR_CONFIG, "control socket %s: there is something else", c->path);
    if (connect(fd, (const struct sockaddr *)&a->addr, a->len) == 0)
        return err_set_errno(err, EADDRINUSE, "control socket %s: another agent answers there",
                             c->path);
    if (unlinkat(a->dirfd, a->name, 0) != 0)
        return err_set_errno(err, errno, "control socket %s", c->path);
    return true;
}

static bool open_socket(struct control *c, struct err **err)
{
    struct stat st;

    if (!control_address(c->path, &c->address, err) || !make_room(c, err))
        return false;
    c->fd = control_socket(SOCK_NONBLOCK, err);
    if (c->fd < 0)
        return false;
    if (bind(c->fd, (const struct sockaddr *)&c->address.addr, c->address.len) != 0 ||
        fchmodat(c->address.dirfd, c->address.name, 0660, 0) != 0 ||
        fstatat(c->address.dirfd, c->address.name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        listen(c->fd, CLIENTS_MAX) != 0)
        return err_set_errno(err, errno, "control socket %s", c->path);
    c->inode = st.st_ino;
    c->io = io_new(loop_of(c), c->fd, EPOLLIN, on_connection, c, err);
    return c->io;
}

/* Its folder, when only that is missing (systemd makes it for a service). */
static void make_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    auto_free char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : NULL;

    if (folder && *folder && mkdir(folder, 0755) == 0)
        (void)chmod(folder, 0755); /* the umask is for keys */
}

struct control *control_new(const struct control_settings *settings, struct err **err)
{
    struct control *c = xcalloc(1, sizeof *c);

    c->settings = *settings;
    c->path = xstrdup(settings->path);
    c->address.dirfd = c->fd = -1;
    make_folder(c->path);
    if (open_socket(c, err))
        return c;
    control_free(c);
    return NULL;
}

void control_free(struct control *c)
{
    struct stat st;

    if (!c)
        return;
    while (c->clients)
        client_free(c->clients);
    timer_free(c->accept_again);
    io_free(c->io);
    if (c->inode != 0 &&
        fstatat(c->address.dirfd, c->address.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_ino == c->inode)
        (void)unlinkat(c->address.dirfd, c->address.name, 0);
    if (c->fd >= 0)
        close(c->fd);
    control_address_done(&c->address);
    free(c->path);
    free(c);
}

void control_activity(struct control *control, const char *certificate, const char *text)
{
    struct client *next;

    for (struct client *c = control->clients; c; c = next) {
        next = c->next; /* writing may end it */
        if (!c->renew || c->out.len > ACTIVITY_MAX || !renew_concerns(c->renew, certificate))
            continue;
        auto_json json_t *j = json_object();
        json_put_str(j, "activity", text);
        json_put_str(j, "certificate", certificate);
        put_line(c, j);
        client_continue(c);
    }
}
