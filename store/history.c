/* Lines are appended with one write each. A line torn by a crash is ended by the next append and
 * skipped by readers; the cut replaces the file as a whole. */
#include "store/history.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/certificate_name.h"
#include "store/state_private.h"

#define FILE_NAME  "history.jsonl"
#define TEXT_MAX   1024 /* of one event */
#define READ_MAX   (1024 * 1024)
#define COUNT_FROM (64 * 1024) /* smaller files have not LINES_MAX lines: nobody counts them */
#define BYTES_MAX  (256 * 1024)
#define LINES_MAX  1000
#define LINES_KEPT 500
#define BYTES_KEPT (128 * 1024) /* so that long lines do not make every append a cut */

struct task {
    char *certificate;
    struct buf lines;
};

static void task_free(void *data)
{
    struct task *t = data;

    buf_done(&t->lines);
    free(t->certificate);
    free(t);
}

static void task_merge(void *data, void *newer)
{
    struct task *t = data, *n = newer;

    buf_add(&t->lines, n->lines.data, n->lines.len);
}

static bool ends_in_a_line(int fd, off_t size)
{
    char last = '\n';

    return size == 0 || (pread(fd, &last, 1, size - 1) == 1 && last == '\n');
}

static bool append(int fd, const struct buf *lines, struct err **err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set_errno(err, errno, FILE_NAME);
    if (!S_ISREG(st.st_mode) || st.st_nlink != 1) /* a second name may be somebody else's file */
        return err_set(err, ERR_SYSTEM, FILE_NAME " is no regular file of its own");
    if (!ends_in_a_line(fd, st.st_size) && write(fd, "\n", 1) != 1)
        return err_set_errno(err, errno, "ending a torn line of " FILE_NAME);
    for (size_t done = 0; done < lines->len;) {
        ssize_t n = write(fd, lines->data + done, lines->len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_set_errno(err, n < 0 ? errno : EIO, "appending to " FILE_NAME);
        done += (size_t)n;
    }
    return true;
}

/* Where the newest lines to keep begin; 0: nothing to cut. */
static size_t cut_at(const struct buf *text)
{
    size_t lines = 0, at = text->len, kept = 0;

    for (size_t i = 0; i < text->len; i++)
        lines += text->data[i] == '\n';
    if (lines <= LINES_MAX && text->len <= BYTES_MAX)
        return 0;
    for (size_t i = text->len; i > 0; i--) {
        if (i < text->len && text->data[i - 1] != '\n')
            continue;
        if (text->len - i > BYTES_KEPT || kept > LINES_KEPT)
            break;
        at = i;
        kept++;
    }
    return at;
}

static bool cut(const struct state *s, int dirfd, struct err **err)
{
    struct stat st;
    auto_buf struct buf text = {0};

    if (fstatat(dirfd, FILE_NAME, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size < COUNT_FROM)
        return true;
    if (st.st_size > READ_MAX) /* not written by us */
        return file_rename(dirfd, FILE_NAME, FILE_NAME ".old", err);
    buf_init(&text, READ_MAX);
    if (!state_read(s, dirfd, FILE_NAME, READ_MAX, &text, err))
        return false;
    size_t at = cut_at(&text);
    return at == 0 || file_write(dirfd, FILE_NAME, text.data + at, text.len - at,
                                 state_file_mode(s, STATE_PRIVATE), err);
}

static int open_file(const struct state *s, int dirfd, struct err **err)
{
    struct file_mode mode = state_file_mode(s, STATE_PRIVATE);
    int fd = openat(dirfd, FILE_NAME, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    /* Made whole first: its owner is right before it has its name. */
    if (fd < 0 && errno == ENOENT) {
        if (!file_write(dirfd, FILE_NAME, "", 0, mode, err))
            return -1;
        fd = openat(dirfd, FILE_NAME, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    }
    if (fd < 0)
        err_set_errno(err, errno, "opening " FILE_NAME);
    return fd;
}

static bool task_run(struct state *s, void *data, struct err **err)
{
    struct task *t = data;
    auto_close int dirfd = state_certificate_dir(s, t->certificate, true, err);

    if (dirfd < 0)
        return false;
    auto_close int fd = open_file(s, dirfd, err);
    if (fd < 0 || !append(fd, &t->lines, err) || !cut(s, dirfd, err))
        return err_wrap(err, "history of %s", t->certificate);
    return true;
}

static char *short_text(const char *text)
{
    size_t len = text ? strnlen(text, TEXT_MAX) : 0;

    if (len == TEXT_MAX) {
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--; /* not in the middle of a character */
    }
    return text ? xstrndup(text, len) : NULL;
}

void state_history_add(struct state *s, const char *certificate, const char *event,
                       const char *attempt, const char *text)
{
    assert(certificate_name_is_valid(certificate));
    auto_free char *lane = xasprintf("certificates/%s/" FILE_NAME, certificate);
    auto_free char *cut_text = short_text(text);
    auto_json json_t *j = json_object();

    json_put_time(j, "at", clock_now());
    json_put_str(j, "event", event);
    json_put_str(j, "attempt", attempt);
    json_put_str(j, "text", cut_text);
    auto_free char *line = json_compact(j);

    struct task *t = xcalloc(1, sizeof *t);
    t->certificate = xstrdup(certificate);
    buf_init(&t->lines, READ_MAX);
    buf_addf(&t->lines, "%s\n", line);
    struct save_task task = {.run = task_run, .free = task_free, .merge = task_merge, .data = t};
    save_start(s, lane, task, NULL, NULL);
}

json_t *state_history(struct state *s, const char *certificate)
{
    json_t *list = json_array();
    auto_buf struct buf text = {0};
    auto_err struct err *e = NULL;
    auto_close int dirfd = state_certificate_dir(s, certificate, false, &e);

    buf_init(&text, READ_MAX);
    if (dirfd < 0 || !state_read(s, dirfd, FILE_NAME, READ_MAX, &text, &e)) {
        if (!err_is_absent(e))
            log_failure(LOG_LEVEL_WARNING, e, "history unreadable", "certificate", certificate);
        return list;
    }
    for (const char *at = text.data, *end = at + text.len; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = newline ? (size_t)(newline - at) : (size_t)(end - at);
        json_t *line = json_parse(at, len, NULL);
        if (json_is_object(line) && json_str(line, "event"))
            json_array_append_new(list, line);
        else
            json_decref(line);
        at += len + 1;
    }
    return list;
}
