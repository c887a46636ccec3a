/* A file that a server watches (Traefik's dynamic configuration, Envoy's SDS file): replaced by a
 * copy of itself. A new modification time alone would not do for those that wait for a rename. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/worker.h"
#include "hooks/job.h"

#define FILE_MAX (16 * 1024 * 1024)

struct touch {
    char *path;
};

struct task {
    struct hook_job *job;
    struct worker *worker;
};

/* Belongs to the thread while it runs. */
struct rewrite {
    struct task *task; /* only looked at on the loop */
    char *path;
    struct err *err;
};

static const struct field fields[] = {
    {.name = "path",
     .type = FIELD_PATH,
     .offset = offsetof(struct touch, path),
     .required = true,
     .help = "the file, which is replaced by a copy of itself"},
    {0},
};

static bool rewrite(const char *path, struct err **err)
{
    char real[PATH_MAX];
    auto_buf struct buf text;
    struct stat st;

    buf_init(&text, FILE_MAX);
    /* The link stays what it is; the file behind it is what is watched. */
    if (!realpath(path, real) || stat(real, &st) != 0)
        return err_set_errno(err, errno, "looking at %s", path);
    if (!file_read(AT_FDCWD, real, FILE_MAX, false, &text, err))
        return false;
    bool ours = st.st_uid == geteuid();
    struct file_mode mode = {
        .mode = st.st_mode & 07777, .uid = ours ? FILE_KEEP_OWNER : st.st_uid, .gid = st.st_gid};
    auto_free char *folder = xstrndup(real, (size_t)(strrchr(real, '/') - real));
    auto_close int dir = open(*folder ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_set_errno(err, errno, "opening %s", folder);
    if (!file_write(dir, strrchr(real, '/') + 1, text.data, text.len, mode, err))
        return err_hint(err, "the agent's user must be able to write to its folder and, to keep "
                             "owner and group, own it or be root");
    return true;
}

static void rewrite_free(struct rewrite *r)
{
    free(r->path);
    err_free(r->err);
    free(r);
}

static void on_thread(void *userdata)
{
    struct rewrite *r = userdata;

    (void)rewrite(r->path, &r->err);
}

static void on_done(void *userdata)
{
    struct rewrite *r = userdata;

    hook_end(r->task->job, r->err ? RELOAD_FAILED : RELOAD_DONE, r->err);
    rewrite_free(r);
}

static void on_dropped(void *userdata)
{
    rewrite_free(userdata);
}

static void task_drop(void *userdata)
{
    struct task *t = userdata;

    worker_free(t->worker); /* waits for what it has begun: one small file */
    free(t);
}

static struct hook_job *touch_reload(const struct server *s, struct loop *l,
                                     const struct hook_event *event, reload_fn *fn, void *userdata)
{
    const struct touch *settings = s->settings;
    auto_err struct err *e = NULL;

    (void)event;
    struct worker *worker = worker_new(l, 1, &e);
    if (!worker)
        return hook_result(l, RELOAD_FAILED, e, fn, userdata);

    struct task *t = xcalloc(1, sizeof(*t));
    struct rewrite *r = xcalloc(1, sizeof(*r));
    t->worker = worker;
    t->job = hook_task(l, t, task_drop, fn, userdata);
    r->task = t;
    r->path = xstrdup(settings->path);
    job_start(worker, on_thread, on_done, on_dropped, r);
    return t->job;
}

extern const struct server_type server_type_touch;
const struct server_type server_type_touch = {
    .name = "touch",
    .help = "any server that watches a file",
    .settings_size = sizeof(struct touch),
    .fields = fields,
    .reload = touch_reload,
};
