/* Everything that changes the generations of a certificate, as tasks on one lane: they follow each
 * other in the order of their start and never meet.
 *
 *   write:  hidden folder, files, fsync -> rename to its number -> fsync of generations/
 *   switch: `live` by rename, fsync -> STATE_DIR/live/NAME where it is not there yet
 *   prune:  rename to a hidden name, fsync -> remove; what a kill leaves is hidden and swept */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/certificate_name.h"
#include "store/folder.h"
#include "store/generation_private.h"

struct task {
    char *certificate;
    struct generation *generation; /* write: becomes the new one */
    int64_t number;                /* switch: to this */
    size_t keep;                   /* prune */
    int64_t *in_use;
    size_t n_in_use;
};

static void task_free(void *data)
{
    struct task *t = data;

    generation_unref(t->generation);
    free(t->in_use);
    free(t->certificate);
    free(t);
}

static struct save *task_start(struct state *s, const char *certificate, struct task *t,
                               bool (*run)(struct state *, void *, struct err **), save_fn *fn,
                               void *userdata)
{
    assert(certificate_name_is_valid(certificate));
    auto_free char *lane = xasprintf("certificates/%s/generations", certificate);
    struct save_task task = {.run = run, .free = task_free, .data = t};

    t->certificate = xstrdup(certificate);
    return save_start(s, lane, task, fn, userdata);
}

/* Write --------------------------------------------------------------------------------------- */

/* The highest number that is or was visible: a damaged folder or a link to a lost one counts. */
static bool last_number(struct state *s, const char *certificate, int64_t *ret, struct err **err)
{
    struct generation_list list;
    auto_close int dirfd = state_certificate_dir(s, certificate, false, err);

    if (dirfd < 0 || !generation_numbers(s, certificate, &list, err))
        return false;
    int64_t live = generation_live_number(dirfd);
    int64_t newest = list.n > 0 ? list.numbers[list.n - 1] : 0;
    generation_list_done(&list);
    *ret = newest > live ? newest : live;
    return true;
}

static bool write_folder(struct state *s, int all, struct generation *g, const char *name,
                         struct err **err)
{
    struct folder_file files[BUNDLE_PARTS + 1];
    struct file_mode mode = state_file_mode(s, STATE_SHARED);
    auto_free char *temp = folder_random_name(".new-");
    auto_free char *info = json_text(g->info);
    auto_bundle struct bundle b;

    bundle_make(&b, g->chain, g->key_pem);
    for (size_t i = 0; i < BUNDLE_PARTS; i++)
        files[i] = (struct folder_file){bundle_names[i], b.parts[i].data, b.parts[i].len, mode};
    files[BUNDLE_PARTS] = (struct folder_file){GENERATION_INFO, info, strlen(info), mode};
    if (!folder_write(all, temp, files, ARRAY_LEN(files), state_folder_mode(s, STATE_SHARED), err))
        return false;
    /* A plain rename would take the place of an empty folder of that name, nothing else. */
    if (renameat(all, temp, all, name) == 0)
        return file_sync_dir(all, err);
    err_set_errno(err, errno, "giving the new generation its number %s", name);
    (void)!file_remove(all, temp, NULL);
    return false;
}

static bool write_run(struct state *s, void *data, struct err **err)
{
    struct task *t = data;
    struct generation *g = t->generation;
    int64_t last = 0;
    auto_close int all = generation_open_all(s, t->certificate, true, err);

    if (all < 0 || !last_number(s, t->certificate, &last, err))
        return err_wrap(err, "a new generation of %s", t->certificate);
    state_sweep(all);
    g->number = last + 1;
    json_put_int(g->info, "number", g->number);
    auto_free char *name = generation_folder_name(g->number);
    return write_folder(s, all, g, name, err) ||
           err_wrap(err, "generation %s of %s", name, t->certificate);
}

struct generation_job {
    struct save *save;
    struct generation *generation;
    generation_fn *fn;
    void *userdata;
    bool called;
};

static void on_written(const struct err *e, void *userdata)
{
    struct generation_job *j = userdata;

    j->save = NULL;
    j->called = true;
    j->fn(e ? NULL : generation_ref(j->generation), e, j->userdata);
    generation_unref(j->generation);
    free(j);
}

static struct chain *copy_chain(const struct chain *from)
{
    struct chain *c = xcalloc(1, sizeof *c);

    for (size_t i = 0; i < from->n; i++) {
        struct cert *cert = cert_from_der(from->items[i]->der, from->items[i]->der_len, NULL);
        assert(cert); /* it came out of there */
        chain_add(c, cert);
    }
    return c;
}

struct generation_job *generation_write(struct state *s, const char *certificate,
                                        const struct chain *chain, const struct key *key,
                                        const json_t *info, generation_fn *fn, void *userdata)
{
    struct generation *g = xcalloc(1, sizeof *g);
    struct generation_job *j = xcalloc(1, sizeof *j);
    struct task *t = xcalloc(1, sizeof *t);

    g->refs = 2; /* the task's and the job's */
    g->chain = copy_chain(chain);
    g->key = key_ref((struct key *)(uintptr_t)key);
    g->key_pem = key_to_pem(key);
    g->info = generation_info_make(info, g);
    t->generation = g;
    *j = (struct generation_job){.generation = g, .fn = fn, .userdata = userdata};
    j->save = task_start(s, certificate, t, write_run, on_written, j);
    return j;
}

void generation_job_free(struct generation_job *j)
{
    if (!j || j->called)
        return;
    save_free(j->save);
    generation_unref(j->generation);
    free(j);
}

/* Switch -------------------------------------------------------------------------------------- */

/* STATE_DIR/live/NAME. It never changes, so that only a missing or a foreign link is written. */
static bool make_path(struct state *s, const char *certificate, struct err **err)
{
    auto_free char *want = xasprintf("../certificates/%s/" GENERATION_LINK, certificate);
    auto_close int fd = state_folder(s, s->dirfd, "live", STATE_SHARED, true, err);
    auto_free char *have = fd < 0 ? NULL : file_readlink(fd, certificate, NULL);

    if (fd < 0)
        return false;
    if (have && strcmp(have, want) == 0)
        return true;
    return (folder_link(fd, want, certificate, state_folder_mode(s, STATE_SHARED), err) &&
            file_sync_dir(fd, err)) ||
           err_wrap(err, "%s/live/%s", s->path, certificate);
}

static bool switch_run(struct state *s, void *data, struct err **err)
{
    struct task *t = data;
    auto_free char *name = generation_folder_name(t->number);
    auto_free char *target = xasprintf("generations/%s", name);
    auto_close int dirfd = state_certificate_dir(s, t->certificate, false, err);
    auto_close int all =
        dirfd < 0 ? -1 : state_folder(s, dirfd, "generations", STATE_SHARED, false, err);
    auto_close int there = all < 0 ? -1 : state_folder(s, all, name, STATE_SHARED, false, err);

    if (there < 0) /* live never dangles */
        return false;
    if (generation_live_number(dirfd) != t->number &&
        !folder_link(dirfd, target, GENERATION_LINK, state_folder_mode(s, STATE_SHARED), err))
        return false;
    /* Also where it was right already: whoever switched it may have died before this. */
    return file_sync_dir(dirfd, err) && make_path(s, t->certificate, err);
}

struct save *generation_switch(struct state *s, const char *certificate, int64_t number,
                               save_fn *fn, void *userdata)
{
    struct task *t = xcalloc(1, sizeof *t);

    t->number = number;
    return task_start(s, certificate, t, switch_run, fn, userdata);
}

/* Prune --------------------------------------------------------------------------------------- */

static bool is_in_use(const struct task *t, int64_t number)
{
    for (size_t i = 0; i < t->n_in_use; i++) {
        if (t->in_use[i] == number)
            return true;
    }
    return false;
}

static bool hide(int all, int64_t number, struct err **err)
{
    auto_free char *name = generation_folder_name(number);
    auto_free char *hidden = folder_random_name(".old-");

    return renameat(all, name, all, hidden) == 0 ||
           err_set_errno(err, errno, "removing generation %s", name);
}

/* Readers see a generation whole or not at all, also after a power cut. */
static bool prune_run(struct state *s, void *data, struct err **err)
{
    struct task *t = data;
    struct generation_list list;
    bool good = true;
    size_t hidden = 0;
    auto_close int all = generation_open_all(s, t->certificate, false, err);

    if (all < 0 || !generation_numbers(s, t->certificate, &list, err))
        return false;
    for (size_t i = 0; good && i + t->keep < list.n; i++) {
        if (list.numbers[i] == list.live || is_in_use(t, list.numbers[i]))
            continue;
        good = hide(all, list.numbers[i], err);
        hidden++;
    }
    generation_list_done(&list);
    if (!good || hidden == 0)
        return good;
    if (!file_sync_dir(all, err))
        return false;
    state_sweep(all);
    return true;
}

struct save *generation_prune(struct state *s, const char *certificate, size_t keep,
                              const int64_t *in_use, size_t n_in_use, save_fn *fn, void *userdata)
{
    struct task *t = xcalloc(1, sizeof *t);

    t->keep = keep > 0 ? keep : 1; /* the newest holds the number */
    t->in_use = xmemdup(in_use, n_in_use * sizeof *in_use);
    t->n_in_use = n_in_use;
    return task_start(s, certificate, t, prune_run, fn, userdata);
}
