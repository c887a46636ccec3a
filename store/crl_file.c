#include "store/crl_file.h"

#include <string.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/json.h"
#include "pki/digest.h"
#include "store/state_private.h"

#define FOLDER   "crl"
#define META_MAX (64 * 1024)

/* What the worker has. Owned by the save; the job reads the result when it is over. */
struct task {
    char *url, *name; /* the digest, hex */
    struct cert *issuer;
    void *body;
    size_t body_len;
    char *etag, *last_modified;
    struct strv serials;
    struct crl_query *found;
    time_t this_update, next_update, fetched_at;
};

struct crl_job {
    struct save *save;
    struct task *task;
    crl_result_fn *fn;
    void *userdata;
    bool called;
};

static void task_free(void *data)
{
    struct task *t = data;

    free(t->url);
    free(t->name);
    cert_free(t->issuer);
    free(t->body);
    free(t->etag);
    free(t->last_modified);
    strv_done(&t->serials);
    free(t->found);
    free(t);
}

static bool read_disk(struct state *s, int fd, struct task *t, struct buf *ret, struct err **err)
{
    auto_free char *list = xasprintf("%s.crl", t->name);
    auto_free char *meta = xasprintf("%s.json", t->name);
    auto_buf struct buf text = {0};

    buf_init(ret, CRL_MAX);
    buf_init(&text, META_MAX);
    if (fd < 0 || !state_read(s, fd, list, CRL_MAX, ret, err))
        return false;
    if (!state_read(s, fd, meta, META_MAX, &text, NULL))
        return true;
    auto_json json_t *j = json_parse(text.data, text.len, NULL);
    if (!j || t->fetched_at != 0)
        return true;
    t->etag = xstrdup(json_str(j, "etag"));
    t->last_modified = xstrdup(json_str(j, "last_modified"));
    t->fetched_at = json_time(j, "fetched_at");
    return true;
}

/* The list first: with the old description it is at worst fetched once more. */
static bool write_disk(struct state *s, int fd, struct task *t, struct err **err)
{
    struct file_mode mode = state_file_mode(s, STATE_PRIVATE);
    auto_free char *list = xasprintf("%s.crl", t->name);
    auto_free char *meta = xasprintf("%s.json", t->name);
    auto_json json_t *j = json_object();

    json_put_int(j, "version", 1);
    json_put_str(j, "url", t->url);
    json_put_str(j, "etag", t->etag);
    json_put_str(j, "last_modified", t->last_modified);
    json_put_time(j, "fetched_at", t->fetched_at);
    auto_free char *text = json_text(j);
    return file_write(fd, list, t->body, t->body_len, mode, err) &&
           file_write(fd, meta, text, strlen(text), mode, err);
}

static bool is_older(struct state *s, int fd, struct task *t, const struct crl *new)
{
    auto_buf struct buf disk = {0};
    auto_crl struct crl *old =
        read_disk(s, fd, t, &disk, NULL) ? crl_parse(disk.data, disk.len, NULL) : NULL;

    return old && crl_this_update(old) > crl_this_update(new) &&
           crl_check(old, t->issuer, t->url, clock_now(), NULL);
}

static void look_up(struct task *t, const struct crl *c)
{
    t->found = xcalloc(t->serials.n + 1, sizeof *t->found);
    for (size_t i = 0; i < t->serials.n; i++)
        t->found[i].serial_hex = t->serials.items[i];
    crl_look_up(c, t->found, t->serials.n);
    t->this_update = crl_this_update(c);
    t->next_update = crl_next_update(c);
}

static bool run(struct state *s, void *data, struct err **err)
{
    struct task *t = data;
    bool fetched = t->body != NULL;
    auto_buf struct buf disk = {0};
    auto_close int fd = state_folder(s, s->dirfd, FOLDER, STATE_PRIVATE, fetched, err);

    if (fd < 0 || (!fetched && !read_disk(s, fd, t, &disk, err)))
        return false;
    auto_crl struct crl *c =
        fetched ? crl_parse(t->body, t->body_len, err) : crl_parse(disk.data, disk.len, err);
    if (!c || !crl_check(c, t->issuer, t->url, clock_now(), err))
        return err_wrap(err, "%s", t->url);
    if (fetched && is_older(s, fd, t, c))
        return err_set(err, ERR_REFUSED, "%s: the CRL is older than the one held", t->url);
    look_up(t, c);
    return !fetched || write_disk(s, fd, t, err) || err_wrap(err, "%s", t->url);
}

static void on_done(const struct err *e, void *userdata)
{
    struct crl_job *j = userdata;
    const struct task *t = j->task;
    struct crl_result r = {
        .this_update = t->this_update,
        .next_update = t->next_update,
        .fetched_at = t->fetched_at,
        .etag = t->etag,
        .last_modified = t->last_modified,
        .found = t->found,
        .n = t->serials.n,
    };

    j->save = NULL;
    j->called = true;
    j->fn(e ? NULL : &r, e, j->userdata);
    free(j);
}

struct crl_job *crl_examine(struct state *s, const struct crl_question *q, crl_result_fn *fn,
                            void *userdata)
{
    unsigned char digest[32];
    struct task *t = xcalloc(1, sizeof *t);
    struct crl_job *j = xcalloc(1, sizeof *j);

    sha256(q->url, strlen(q->url), digest);
    t->url = xstrdup(q->url);
    t->name = enc_hex(digest, 16);
    t->issuer = cert_from_der(q->issuer->der, q->issuer->der_len, NULL);
    t->body = q->body;
    t->body_len = q->body_len;
    if (q->body) {
        t->fetched_at = clock_now();
        t->etag = xstrdup(q->etag);
        t->last_modified = xstrdup(q->last_modified);
    }
    strv_copy(&t->serials, q->serials);
    auto_free char *lane = xasprintf(FOLDER "/%s", t->name);
    struct save_task task = {.run = run, .free = task_free, .data = t};
    *j = (struct crl_job){.task = t, .fn = fn, .userdata = userdata};
    j->save = save_start(s, lane, task, on_done, j);
    return j;
}

void crl_job_free(struct crl_job *j)
{
    if (!j || j->called)
        return;
    save_free(j->save);
    free(j);
}
