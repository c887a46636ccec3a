#include "store/staple.h"

#include <string.h>

#include "store/folder.h"
#include "store/generation_private.h"

struct task {
    char *certificate;
    int64_t number;
    struct secret *der; /* NULL: take away */
};

static void task_free(void *data)
{
    struct task *t = data;

    secret_free(t->der);
    free(t->certificate);
    free(t);
}

static int open_generation(struct state *s, const char *certificate, int64_t number,
                           struct err **err)
{
    auto_close int all = generation_open_all(s, certificate, false, err);
    auto_free char *name = generation_folder_name(number);

    return all < 0 ? -1 : state_folder(s, all, name, STATE_SHARED, false, err);
}

char *staple_nginx(const char *path)
{
    return xasprintf("ssl_stapling on;\nssl_stapling_file \"%s\";\n", path);
}

/* Unchanged files keep their mtime and inode. */
static bool put(struct state *s, int fd, const char *name, const void *data, size_t len,
                struct err **err)
{
    struct folder_file f = {name, data, len, state_file_mode(s, STATE_SHARED)};

    return folder_has(fd, &f) || file_write(fd, name, data, len, f.mode, err);
}

static bool run(struct state *s, void *data, struct err **err)
{
    struct task *t = data;
    auto_err struct err *e = NULL;
    const char *conf = bundle_names[BUNDLE_STAPLING];
    auto_close int fd = open_generation(s, t->certificate, t->number, &e);
    bool good;

    if (fd < 0)
        return err_is_absent(e) || err_move(err, &e);
    if (t->der) {
        auto_free char *path = xasprintf("%s/live/%s/" STAPLE_FILE, s->path, t->certificate);
        auto_free char *text = staple_nginx(path);
        good = put(s, fd, STAPLE_FILE, t->der->data, t->der->len, err) &&
               put(s, fd, conf, text, strlen(text), err);
    } else {
        good = put(s, fd, conf, "", 0, err) && file_remove(fd, STAPLE_FILE, err) &&
               file_sync_dir(fd, err);
    }
    return good || err_wrap(err, "the staple of %s", t->certificate);
}

struct save *staple_save(struct state *s, const char *certificate, int64_t number, const void *der,
                         size_t len, save_fn *fn, void *userdata)
{
    auto_free char *lane = xasprintf("certificates/%s/generations", certificate);
    struct task *t = xcalloc(1, sizeof *t);

    t->certificate = xstrdup(certificate);
    t->number = number;
    t->der = der ? secret_new(der, len) : NULL;
    struct save_task task = {.run = run, .free = task_free, .data = t};
    return save_start(s, lane, task, fn, userdata);
}

bool staple_load(struct state *s, const char *certificate, int64_t number, struct buf *ret,
                 struct err **err)
{
    buf_done(ret);
    buf_init(ret, STAPLE_MAX);
    auto_close int fd = open_generation(s, certificate, number, err);

    return fd >= 0 && state_read(s, fd, STAPLE_FILE, STAPLE_MAX, ret, err);
}
