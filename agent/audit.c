#include "agent/audit.h"

#include <string.h>

#include "base/file.h"

/* What the worker has; it outlives the handle when that is freed. */
struct reading {
    struct audit *audit;
    struct config *config;
    const struct config_certificate *certificate;
    char *sha256;
    struct audit_result result;
};

struct audit {
    struct job *job;
    audit_fn *fn;
    void *userdata;
};

static void reading_free(struct reading *r)
{
    config_unref(r->config);
    free(r->sha256);
    free(r);
}

static void on_read(void *task)
{
    struct reading *r = task;
    struct audit *a = r->audit;

    a->fn(&r->result, a->userdata);
    free(a);
    reading_free(r);
}

static void on_dropped(void *task)
{
    reading_free(task);
}

static void read_outputs(void *task)
{
    struct reading *r = task;

    for (size_t i = 0; i < r->certificate->n_outputs; i++) {
        const struct output *o = &r->certificate->outputs[i];
        auto_err struct err *e = NULL;
        auto_free char *sha256 = o->type->current(o->settings, &e);
        r->result.absent += !sha256 && err_is_absent(e);
        r->result.wrong += !sha256 || strcmp(sha256, r->sha256) != 0;
    }
}

struct audit *audit_start(const struct services *services, struct config *config,
                          const struct config_certificate *certificate, const char *sha256,
                          audit_fn *fn, void *userdata)
{
    struct audit *a = xcalloc(1, sizeof *a);
    struct reading *r = xcalloc(1, sizeof *r);

    *r = (struct reading){.audit = a,
                          .config = config_ref(config),
                          .certificate = certificate,
                          .sha256 = xstrdup(sha256)};
    *a = (struct audit){.fn = fn, .userdata = userdata};
    a->job = job_start(services->worker, read_outputs, on_read, on_dropped, r);
    return a;
}

void audit_free(struct audit *a)
{
    if (!a)
        return;
    job_free(a->job);
    free(a);
}
