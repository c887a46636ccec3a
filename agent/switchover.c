#include "agent/switchover.h"

#include "base/log.h"
#include "store/output.h"
#include "store/staple.h"

struct write {
    struct switchover *switchover;
    const struct output *output;
    struct output_job *job;
};

struct switchover {
    const struct services *services;
    const struct config_certificate *certificate;
    struct deploy_record *record;
    struct generation *generation;
    struct save *live; /* the link being switched */
    struct write *writes;
    size_t n_writes, open;
    bool is_live, insist;
    struct err *error;
    switchover_fn *fn;
    void *userdata;
};

void switchover_free(struct switchover *s)
{
    if (!s)
        return;
    save_free(s->live);
    for (size_t i = 0; i < s->n_writes; i++)
        output_job_free(s->writes[i].job);
    free(s->writes);
    generation_unref(s->generation);
    err_free(s->error);
    free(s);
}

static void switchover_finish(struct switchover *s)
{
    switchover_fn *fn = s->fn;
    void *userdata = s->userdata;
    auto_err struct err *e = take(s->error);
    bool is_live = s->is_live;

    switchover_free(s);
    fn(is_live, e, userdata);
}

static void on_written(const struct err *e, void *userdata)
{
    struct write *w = userdata;
    struct switchover *s = w->switchover;
    struct output_row *row =
        deploy_record_output(s->record, w->output->type->name, w->output->path);

    w->job = NULL;
    err_free(row->error);
    row->error = err_copy(e);
    if (!e) {
        row->generation = s->generation->number;
    } else if (!s->error) {
        s->error = err_copy(e);
        err_wrap(&s->error, "output %s %s", w->output->type->name, w->output->path);
        err_step(&s->error, "write");
    }
    if (--s->open == 0)
        switchover_finish(s);
}

static void on_live(const struct err *e, void *userdata)
{
    struct switchover *s = userdata;
    const struct config_certificate *c = s->certificate;

    s->live = NULL;
    s->is_live = !e;
    if (e) {
        s->error = err_copy(e);
        err_wrap(&s->error, "making generation %lld live", (long long)s->generation->number);
        err_step(&s->error, "write");
    }
    if ((e && !s->insist) || c->n_outputs == 0) {
        switchover_finish(s);
        return;
    }
    auto_buf struct buf staple = {0};
    (void)!staple_load(s->services->state, c->name, s->generation->number, &staple, NULL);
    s->open = s->n_writes = c->n_outputs;
    s->writes = xcalloc(s->n_writes, sizeof *s->writes);
    for (size_t i = 0; i < s->n_writes; i++) {
        s->writes[i].switchover = s;
        s->writes[i].output = &c->outputs[i];
        s->writes[i].job = output_write(s->services->worker, &c->outputs[i], s->generation, &staple,
                                        on_written, &s->writes[i]);
    }
}

struct switchover *switchover_start(const struct services *services,
                                    const struct config_certificate *certificate,
                                    struct deploy_record *record, struct generation *generation,
                                    bool insist, switchover_fn *fn, void *userdata)
{
    struct switchover *s = xcalloc(1, sizeof *s);
    s->services = services;
    s->certificate = certificate;
    s->record = record;
    s->generation = generation_ref(generation);
    s->insist = insist;
    s->fn = fn;
    s->userdata = userdata;
    s->live = generation_switch(services->state, certificate->name, generation->number, on_live, s);
    return s;
}
