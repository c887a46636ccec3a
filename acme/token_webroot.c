/* Strategy: a token file is one task that the pool first runs to write it and then to remove it.
 * Freeing the handle while the write is under way lets the write end; the removal follows. What the
 * pool drops at the end of the program is removed in drop, so that a clean stop leaves nothing. */
#include "acme/token_webroot.h"

#include "acme/token_dir.h"

struct token_webroot {
    struct worker *worker;
    char *path;
    char *self;
    struct cleaning *cleaning; /* under way, or NULL */
};

/* Cleaning ------------------------------------------------------------------------------------- */

struct cleaning {
    char *path, *self;             /* the task's own */
    struct token_webroot *webroot; /* for the loop's thread; NULL when that was freed */
    struct job *job;
};

/* Done, or dropped. */
static void on_cleaned(void *task)
{
    struct cleaning *c = task;

    if (c->webroot)
        c->webroot->cleaning = NULL;
    free(c->path);
    free(c->self);
    free(c);
}

static void run_cleaning(void *task)
{
    struct cleaning *c = task;

    token_dir_clean(c->path, c->self);
}

struct token_webroot *token_webroot_new(struct worker *w, const char *path)
{
    struct token_webroot *r = xcalloc(1, sizeof(*r));

    r->worker = w;
    r->path = xstrdup(path);
    r->self = token_dir_self();
    if (r->self) {
        struct cleaning *c = xcalloc(1, sizeof(*c));
        c->path = xstrdup(r->path);
        c->self = xstrdup(r->self);
        c->webroot = r;
        c->job = job_start(w, run_cleaning, on_cleaned, on_cleaned, c);
        r->cleaning = c;
    }
    return r;
}

void token_webroot_free(struct token_webroot *r)
{
    if (!r)
        return;
    if (r->cleaning) {
        r->cleaning->webroot = NULL;
        job_free(r->cleaning->job); /* drops it */
    }
    free(r->path);
    free(r->self);
    free(r);
}

/* Token files ---------------------------------------------------------------------------------- */

struct token_file {
    struct worker *worker;
    char *path, *self, *token, *text;
    token_file_fn *fn;
    void *userdata;
    bool writing; /* the job of the write is not over */
    bool written;
    bool unwanted; /* freed by its owner */
    struct err *err;
};

static void token_file_end(struct token_file *f)
{
    free(f->path);
    free(f->self);
    free(f->token);
    free(f->text);
    err_free(f->err);
    free(f);
}

static void run_write(void *task)
{
    struct token_file *f = task;

    f->written = token_dir_write(f->path, f->self, f->token, f->text, &f->err);
}

static void run_remove(void *task)
{
    struct token_file *f = task;

    token_dir_remove(f->path, f->token);
}

static void on_removed(void *task)
{
    token_file_end(task);
}

/* Only at the end of the program (worker_free): nobody frees these jobs. */
static void drop_file(void *task)
{
    struct token_file *f = task;

    if (f->written)
        token_dir_remove(f->path, f->token);
    f->writing = f->written = false;
    if (f->unwanted)
        token_file_end(f);
}

static void remove_file(struct token_file *f)
{
    if (f->written)
        (void)job_start(f->worker, run_remove, on_removed, drop_file, f);
    else
        token_file_end(f);
}

static void on_written(void *task)
{
    struct token_file *f = task;

    f->writing = false;
    if (f->unwanted)
        remove_file(f);
    else
        f->fn(f->err, f->userdata);
}

struct token_file *token_file_start(struct token_webroot *r, const char *token, const char *text,
                                    token_file_fn *fn, void *userdata)
{
    struct token_file *f = xcalloc(1, sizeof(*f));

    f->worker = r->worker;
    f->path = xstrdup(r->path);
    f->self = xstrdup(r->self);
    f->token = xstrdup(token);
    f->text = xstrdup(text);
    f->fn = fn;
    f->userdata = userdata;
    f->writing = true;
    (void)job_start(r->worker, run_write, on_written, drop_file, f);
    return f;
}

void token_file_free(struct token_file *f)
{
    if (!f || f->unwanted)
        return;
    f->unwanted = true;
    if (!f->writing)
        remove_file(f);
}
