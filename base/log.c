/* A line is one write that cannot wait. Stderr may be shared with other programs, whose writes must
 * not become non-blocking: pipes and terminals are opened a second time, which makes the flag ours
 * alone. The journal is spoken to directly, because sd_journal_sendv() waits when journald does not
 * read, and says nothing when there is none. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/log_line.h"

/* All that the program has of mutable globals; atomic, because worker threads log, too. */
static atomic_int threshold = LOG_LEVEL_INFO;
static atomic_int target = LOG_FORMAT_TEXT; /* never AUTO */
static atomic_bool colored;
static atomic_int stream_fd = STDERR_FILENO;
static atomic_int journal_fd = -1;
static atomic_ulong dropped;
static atomic_bool torn; /* the last line was written in part: the next begins with a newline */
static struct sockaddr_un journal = {.sun_family = AF_UNIX,
                                     .sun_path = "/run/systemd/journal/socket"};

/* Targets -------------------------------------------------------------------------------------- */

/* Bytes that went out, or -1. The descriptor is non-blocking, or poll() is all the protection there
 * is: a pipe that polls as writable has room for PIPE_BUF bytes. */
static ssize_t write_some(int fd, const char *data, size_t len)
{
    ssize_t n = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && errno == ENOTSOCK) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};

        if (poll(&p, 1, 0) != 1 || p.revents != POLLOUT)
            return -1;
        n = write(fd, data, len);
    }
    return n;
}

static void write_line(struct buf *line)
{
    auto_buf struct buf repaired;
    const struct buf *out = line;
    bool was_torn = atomic_exchange(&torn, false);

    buf_init(&repaired, SIZE_MAX);
    if (was_torn) {
        buf_addf(&repaired, "\n%s", line->data);
        out = &repaired;
    }
    ssize_t n = write_some(atomic_load(&stream_fd), out->data, out->len);
    if (n == (ssize_t)out->len)
        return;
    atomic_fetch_add(&dropped, 1);
    if (n > 0 || was_torn)
        atomic_store(&torn, true);
}

static void send_entry(const struct buf *entry)
{
    /* To the name each time: after a restart of journald a connection would be dead. */
    ssize_t n =
        sendto(atomic_load(&journal_fd), entry->data, entry->len, MSG_DONTWAIT | MSG_NOSIGNAL,
               (const struct sockaddr *)&journal, sizeof(journal));

    if (n < 0)
        atomic_fetch_add(&dropped, 1);
}

static void emit(const struct log_line *l)
{
    auto_buf struct buf b;
    int format = atomic_load(&target);

    buf_init(&b, SIZE_MAX);
    if (format == LOG_FORMAT_JOURNAL) {
        log_line_journal(l, &b);
        send_entry(&b);
        return;
    }
    if (format == LOG_FORMAT_JSON)
        log_line_json(l, &b);
    else
        log_line_text(l, atomic_load(&colored), &b);
    write_line(&b);
}

/* Start ---------------------------------------------------------------------------------------- */

/* open() takes the lowest free number. */
static void occupy_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = open("/", O_PATH); /* a poor root directory; writing fails, and that is survived */
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

/* Once: a thread may be writing. */
static void open_stream(void)
{
    struct stat st;

    if (fstat(STDERR_FILENO, &st) != 0) {
        atomic_store(&stream_fd, -1);
        return;
    }
    /* Not files: a second opening would have its own position in them. Sockets cannot be opened. */
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
        return;
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_APPEND | O_CLOEXEC);
    if (fd >= 0)
        atomic_store(&stream_fd, fd);
}

/* systemd.exec(5): device and inode of the socket that systemd gave us as stderr */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) != 0)
        return false;
    auto_free char *ours = xasprintf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, ours) == 0;
}

static bool open_journal(void)
{
    if (access(journal.sun_path, W_OK) != 0)
        return false;
    if (atomic_load(&journal_fd) < 0)
        atomic_store(&journal_fd, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    return atomic_load(&journal_fd) >= 0;
}

void log_init(enum log_format format, enum log_level level)
{
    static atomic_bool started;

    if (!atomic_exchange(&started, true)) {
        occupy_standard_descriptors();
        sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
        open_stream();
    }
    if (format == LOG_FORMAT_AUTO)
        format = stderr_is_journal()     ? LOG_FORMAT_JOURNAL
                 : isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT
                                         : LOG_FORMAT_JSON;
    if (format == LOG_FORMAT_JOURNAL && !open_journal())
        format = LOG_FORMAT_JSON;
    atomic_store(&target, (int)format);
    atomic_store(&threshold, (int)level);
}

void log_set_color(bool color)
{
    atomic_store(&colored, color);
}

unsigned long log_dropped(void)
{
    return atomic_load(&dropped);
}

void log_set_journal_for_test(const char *path)
{
    snprintf(journal.sun_path, sizeof(journal.sun_path), "%s", path);
}

/* Events --------------------------------------------------------------------------------------- */

/* Name, value, name, value, NULL */
static void add_fields(struct log_line *l, va_list ap)
{
    const char *name;

    while ((name = va_arg(ap, const char *)))
        log_line_add(l, name, va_arg(ap, const char *));
}

void log_event(enum log_level level, const char *file, int line, const char *event, ...)
{
    auto_log_line struct log_line l = {0};
    int saved_errno = errno;
    va_list ap;

    if ((int)level < atomic_load(&threshold))
        return;
    log_line_init(&l, level, file, line, event);
    va_start(ap, event);
    add_fields(&l, ap);
    va_end(ap);
    emit(&l);
    errno = saved_errno;
}

void log_failure_at(enum log_level level, const char *file, int line, const struct err *e,
                    const char *event, ...)
{
    auto_log_line struct log_line l = {0};
    int saved_errno = errno;
    va_list ap;

    if ((int)level < atomic_load(&threshold))
        return;
    log_line_init(&l, level, file, line, event);
    va_start(ap, event);
    add_fields(&l, ap);
    va_end(ap);
    if (e) {
        log_line_add(&l, "error", e->text);
        log_line_add(&l, "kind", err_kind_name(e->kind));
        log_line_add(&l, "step", e->step);
        log_line_add(&l, "problem", e->problem);
        log_line_add(&l, "where", e->where);
        log_line_add(&l, "hint", e->hint);
    }
    emit(&l);
    errno = saved_errno;
}
