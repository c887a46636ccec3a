#include "agent/audit.h"

#include "base/file.h"
#include "store/staple.h"

/* What the worker has; it outlives the handle when that is freed. */
struct reading {
    struct audit *audit;
    struct config *config;
    const struct config_certificate *certificate;
    struct bundle bundle; /* what they should hold */
    bool readable;        /* ... unless it could not be read */
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
    bundle_done(&r->bundle);
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
        if (r->readable && o->type->holds(o->settings, &r->bundle))
            continue;
        auto_free char *sha256 = o->type->current(o->settings, &e);
        r->result.absent += !sha256 && err_is_absent(e);
        r->result.wrong++;
    }
}

struct audit *audit_start(const struct services *services, struct config *config,
                          const struct config_certificate *certificate, int64_t generation,
                          audit_fn *fn, void *userdata)
{
    struct audit *a = xcalloc(1, sizeof *a);
    struct reading *r = xcalloc(1, sizeof *r);
    struct generation_facts facts;

    *r = (struct reading){.audit = a, .config = config_ref(config), .certificate = certificate};
    r->readable =
        generation_facts(services->state, certificate->name, generation, &facts, &r->bundle, NULL);
    if (r->readable) {
        generation_facts_done(&facts);
        (void)!staple_load(services->state, certificate->name, generation, &r->bundle.staple, NULL);
    }
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
