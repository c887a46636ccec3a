#include "store/output.h"

#include <assert.h>
#include <string.h>

const struct output_type *output_type_find(const char *name)
{
    for (size_t i = 0; output_type_all[i]; i++) {
        if (strcmp(output_type_all[i]->name, name) == 0)
            return output_type_all[i];
    }
    return NULL;
}

void output_done(struct output *o)
{
    if (o->settings)
        schema_done(o->type->fields, o->settings);
    free(o->settings);
    free(o->path);
    free(o->where);
    *o = (struct output){0};
}

static void copy_member(const struct field *f, void *to)
{
    struct strv list = {0};
    struct secret **secret;
    char **text;

    switch (f->type) {
    case FIELD_STRING:
    case FIELD_PATH:
        text = to;
        *text = xstrdup(*text);
        return;
    case FIELD_STRINGS:
    case FIELD_ARGV:
        strv_copy(&list, to);
        *(struct strv *)to = list;
        return;
    case FIELD_SECRET:
        secret = to;
        *secret = *secret ? secret_new((*secret)->data, (*secret)->len) : NULL;
        return;
    case FIELD_CUSTOM:
        assert(!f->done);
        return;
    case FIELD_BOOL:
    case FIELD_INT:
    case FIELD_DURATION:
    case FIELD_FILE_MODE:
    case FIELD_CHOICE:
    case FIELD_END:
        return;
    }
}

static void *copy_settings(const struct output_type *type, const void *from)
{
    char *copy = xmemdup(from, type->settings_size);

    for (const struct field *f = type->fields; f->type != FIELD_END; f++)
        copy_member(f, copy + f->offset);
    return copy;
}

/* The configuration may be gone before a write on a slow disk is over. */
struct output_job {
    struct job *job;
    const struct output_type *type;
    void *settings;
    struct bundle bundle;
    struct err *err;
    save_fn *fn;
    void *userdata;
    bool called;
};

static void run(void *task)
{
    struct output_job *j = task;

    if (!j->type->write(j->settings, &j->bundle, &j->err))
        assert(j->err);
}

static void drop(void *task)
{
    struct output_job *j = task;

    schema_done(j->type->fields, j->settings);
    free(j->settings);
    bundle_done(&j->bundle);
    err_free(j->err);
    free(j);
}

static void done(void *task)
{
    struct output_job *j = task;

    j->called = true;
    j->fn(j->err, j->userdata);
    drop(j);
}

struct output_job *output_write(struct worker *w, const struct output *o, struct generation *g,
                                const struct buf *staple, save_fn *fn, void *userdata)
{
    struct output_job *j = xcalloc(1, sizeof *j);

    j->type = o->type;
    j->settings = copy_settings(o->type, o->settings);
    bundle_make(&j->bundle, g->chain, g->key_pem);
    if (staple)
        buf_add(&j->bundle.staple, staple->data, staple->len);
    j->fn = fn;
    j->userdata = userdata;
    j->job = job_start(w, run, done, drop, j);
    return j;
}

void output_job_free(struct output_job *j)
{
    if (j && !j->called)
        job_free(j->job);
}
