#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/control.h"
#include "agent/control_private.h"
#include "base/buf.h"

#define ANSWER_MAX (64 * 1024 * 1024)

static int connect_to(const char *path, struct err **err)
{
    struct control_address address;

    if (!control_address(path, &address, err))
        return -1;
    auto_close int fd = control_socket(0, err);
    int failed = 0;
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address.addr, address.len) != 0)
        failed = errno;
    control_address_done(&address);
    if (failed) {
        err_set_errno(err, failed, "control socket %s", path);
        if (failed == EACCES)
            err_hint(err, "the agent answers root and the members of its group");
        return -1;
    }
    int connected = fd;
    fd = -1;
    return connected;
}

static bool send_request(int fd, const json_t *request, struct err **err)
{
    auto_free char *text = json_compact(request);
    size_t len = strlen(text);

    text[len] = '\n'; /* in place of the NUL */
    for (size_t sent = 0; sent < len + 1;) {
        ssize_t n = send(fd, text + sent, len + 1 - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return err_set_errno(err, errno, "asking the agent");
        if (n > 0)
            sent += (size_t)n;
    }
    return true;
}

/* Waits for input, or for ^C. */
static bool wait_for(int fd, int signals, struct err **err)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        int n = poll(fds, ARRAY_LEN(fds), CONTROL_SILENCE_MS);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "waiting for the agent");
        if (n == 0)
            return err_set_errno(err, ETIMEDOUT, "the agent does not answer");
        if (fds[1].revents)
            return err_set_errno(err, EINTR, "interrupted; the agent goes on");
        return true;
    }
}

/* True when the line was the last one. */
static bool take_line(const char *line, size_t len, control_activity_fn *activity, void *userdata,
                      json_t **ret_result, struct err **err)
{
    auto_json json_t *j = json_parse(line, len, err);

    if (!j)
        return true;
    if (json_get(j, "error")) {
        struct err *e = err_from_json(json_get(j, "error"));
        if (!e)
            err_set(&e, ERR_BUG, "the agent reports an error without saying which");
        if (e->code == ENOENT || e->code == ECONNREFUSED)
            e->code = 0; /* these say that no agent is there, and this one is */
        err_move(err, &e);
        return true;
    }
    if (json_object_get(j, "result")) {
        *ret_result = json_incref(json_object_get(j, "result"));
        return true;
    }
    if (activity && json_str(j, "certificate"))
        activity(json_str(j, "certificate"), json_str(j, "activity"), userdata);
    return false;
}

static json_t *read_answer(int fd, int signals, control_activity_fn *activity, void *userdata,
                           struct err **err)
{
    auto_buf struct buf in = {0};
    json_t *result = NULL;
    size_t searched = 0;

    buf_init(&in, ANSWER_MAX);
    while (wait_for(fd, signals, err)) {
        char text[16384];
        ssize_t n = read(fd, text, sizeof text);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            err_set_errno(err, n < 0 ? errno : ECONNRESET, "the agent ended the conversation");
            return NULL;
        }
        if (!buf_add(&in, text, (size_t)n)) {
            err_set(err, ERR_SYSTEM, "the agent's answer is too large");
            return NULL;
        }
        char *newline;
        while ((newline = memchr(in.data + searched, '\n', in.len - searched))) {
            size_t len = (size_t)(newline - in.data);
            if (take_line(in.data, len, activity, userdata, &result, err))
                return result;
            in.len -= len + 1;
            memmove(in.data, newline + 1, in.len + 1);
            searched = 0;
        }
        searched = in.len;
    }
    return NULL;
}

bool control_is_there(const char *path)
{
    auto_close int fd = connect_to(path, NULL);

    return fd >= 0;
}

json_t *control_call(const char *path, const json_t *request, control_activity_fn *activity,
                     void *userdata, struct err **err)
{
    sigset_t set, old;
    auto_close int fd = connect_to(path, err);

    if (fd < 0 || !send_request(fd, request, err))
        return NULL;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &old);
    int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    json_t *result = read_answer(fd, signals, activity, userdata, err);
    if (signals >= 0) {
        struct signalfd_siginfo taken;
        while (read(signals, &taken, sizeof taken) > 0)
            ; /* answered by the error: it must not kill us when it is unblocked */
        close(signals);
    }
    sigprocmask(SIG_SETMASK, &old, NULL);
    return result;
}
