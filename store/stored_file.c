#include "store/stored_file.h"

#include <errno.h>
#include <string.h>

/* What a save does; its own copies, for the caller's are gone when it runs. */
struct task {
    char *folder, *owner, *name;
    struct secret *content; /* NULL: remove */
};

static void task_free(void *data)
{
    struct task *t = data;

    secret_free(t->content);
    free(t->folder);
    free(t->owner);
    free(t->name);
    free(t);
}

static void task_merge(void *data, void *newer)
{
    struct task *t = data, *n = newer;

    secret_free(t->content);
    t->content = take(n->content);
}

static enum state_reader reader_of(const char *folder)
{
    return strcmp(folder, "accounts") == 0 ? STATE_PRIVATE : STATE_SHARED;
}

static int open_folder(const struct state *s, const char *folder, const char *owner, bool create,
                       struct err **err)
{
    auto_close int fd = state_folder(s, s->dirfd, folder, reader_of(folder), create, err);

    return fd < 0 ? -1 : state_folder(s, fd, owner, reader_of(folder), create, err);
}

static bool task_run(struct state *s, void *data, struct err **err)
{
    struct task *t = data;
    auto_err struct err *e = NULL;
    auto_close int fd = open_folder(s, t->folder, t->owner, t->content != NULL, &e);
    bool good;

    if (fd < 0)
        good = !t->content && err_is_absent(e);
    else if (t->content)
        good = file_write(fd, t->name, t->content->data, t->content->len,
                          state_file_mode(s, STATE_PRIVATE), &e);
    else
        good = file_remove(fd, t->name, &e) && file_sync_dir(fd, &e);
    if (good)
        return true;
    err_wrap(&e, "%s %s/%s/%s/%s", t->content ? "saving" : "removing", s->path, t->folder, t->owner,
             t->name);
    return err_move(err, &e);
}

static char *lane_of(const struct stored_file *f)
{
    return xasprintf("%s/%s/%s", f->folder, f->owner, f->name);
}

struct save *stored_file_save(struct state *s, const struct stored_file *f, struct secret *content,
                              save_fn *fn, void *userdata)
{
    auto_free char *lane = lane_of(f);
    struct task *t = xcalloc(1, sizeof *t);

    t->folder = xstrdup(f->folder);
    t->owner = xstrdup(f->owner);
    t->name = xstrdup(f->name);
    t->content = content;
    struct save_task task = {.run = task_run, .free = task_free, .merge = task_merge, .data = t};
    return save_start(s, lane, task, fn, userdata);
}

enum stored_result stored_file_load(struct state *s, const struct stored_file *f, struct buf *ret,
                                    struct err **err)
{
    auto_free char *lane = lane_of(f);
    auto_err struct err *e = NULL;
    const struct task *waiting = save_latest(s, lane);

    buf_init(ret, STORED_FILE_MAX);
    ret->wipe = true;
    if (waiting && !waiting->content)
        return STORED_ABSENT;
    if (waiting) {
        buf_add(ret, waiting->content->data, waiting->content->len);
        return STORED_FOUND;
    }
    auto_close int fd = open_folder(s, f->folder, f->owner, false, &e);
    if (fd >= 0 && state_read(s, fd, f->name, STORED_FILE_MAX, ret, &e))
        return STORED_FOUND;
    if (err_is_absent(e))
        return STORED_ABSENT;
    err_wrap(&e, "loading %s/%s", s->path, lane);
    err_move(err, &e);
    return STORED_FAILED;
}

void stored_file_set_aside(struct state *s, const struct stored_file *f, const struct err *why)
{
    auto_close int fd = open_folder(s, f->folder, f->owner, false, NULL);

    if (fd >= 0)
        state_set_aside(s, fd, f->name, why);
}
