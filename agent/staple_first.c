#include "agent/staple_private.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/staple.h"

struct staple_first {
    const struct services *services;
    char *certificate;
    struct generation *generation;
    struct staple_facts facts;
    struct ocsp_fetch *fetch;
    struct save *save;
    struct timer *turn;
    staple_first_fn *fn;
    void *userdata;
};

void staple_first_free(struct staple_first *f)
{
    if (!f)
        return;
    ocsp_fetch_free(f->fetch);
    save_free(f->save);
    timer_free(f->turn);
    staple_facts_done(&f->facts);
    generation_unref(f->generation);
    free(f->certificate);
    free(f);
}

static void finish(struct staple_first *f, const struct err *e)
{
    staple_first_fn *fn = f->fn;
    void *userdata = f->userdata;
    bool revoked = f->facts.status == OCSP_STATUS_REVOKED;
    auto_err struct err *copy = err_copy(e);

    staple_first_free(f);
    fn(revoked, copy, userdata);
}

static void on_saved(const struct err *e, void *userdata)
{
    struct staple_first *f = userdata;

    f->save = NULL;
    f->facts.held = e == NULL;
    staple_facts_save(f->services->state, f->certificate, generation_sha256(f->generation),
                      &f->facts);
    finish(f, e);
}

/* What an earlier life of the generation left must not go live again. */
static void on_removed(const struct err *e, void *userdata)
{
    struct staple_first *f = userdata;

    (void)e; /* it is found again when the generation is live */
    f->save = NULL;
    finish(f, f->facts.error);
}

static void finish_without(struct staple_first *f)
{
    auto_buf struct buf left = {0};
    struct state *state = f->services->state;

    staple_facts_save(state, f->certificate, generation_sha256(f->generation), &f->facts);
    if (staple_load(state, f->certificate, f->generation->number, &left, NULL))
        f->save = staple_save(state, f->certificate, f->generation->number, NULL, 0, on_removed, f);
    else
        finish(f, f->facts.error);
}

static void on_fetched(const struct ocsp_fetched *heard, const struct err *e, void *userdata)
{
    struct staple_first *f = userdata;
    time_t now = clock_now();
    struct staple_facts *facts = &f->facts;

    f->fetch = NULL;
    if (staple_facts_hear(facts, heard, e, now, now)) {
        f->save = staple_save(f->services->state, f->certificate, f->generation->number, heard->der,
                              heard->der_len, on_saved, f);
        return;
    }
    if (facts->status == OCSP_STATUS_REVOKED)
        err_set(&facts->error, ERR_REFUSED, "the OCSP responder %s says: revoked (%s)", heard->url,
                facts->reason);
    else if (!facts->error)
        err_set(&facts->error, ERR_TRANSIENT, "the OCSP response is nearly over");
    err_step(&facts->error, "staple");
    finish_without(f);
}

static void on_nothing(void *userdata)
{
    struct staple_first *f = userdata;

    if (!f->facts.held) {
        finish_without(f);
        return;
    }
    staple_facts_save(f->services->state, f->certificate, generation_sha256(f->generation),
                      &f->facts);
    finish(f, NULL);
}

struct staple_first *staple_first_start(const struct services *services,
                                        const struct config_certificate *c, struct generation *g,
                                        staple_first_fn *fn, void *userdata)
{
    struct staple_first *f = xcalloc(1, sizeof *f);
    auto_strv struct strv urls = {0};

    f->services = services;
    f->certificate = xstrdup(c->name);
    f->generation = generation_ref(g);
    f->fn = fn;
    f->userdata = userdata;
    staple_facts_read(services->state, c, g, &f->facts);
    staple_responders(c, &f->facts.ocsp_urls, &urls);
    f->facts.held = f->facts.held && urls.n > 0 && staple_is_lasting(&f->facts, clock_now());
    if (f->facts.held || urls.n == 0 || g->chain->n < 2) {
        f->turn = timer_after(services->loop, 0, on_nothing, f);
        return f;
    }
    struct ocsp_question q = {.leaf = g->chain->items[0],
                              .issuer = g->chain->items[1],
                              .urls = &urls,
                              .hash = c->ocsp_hash};
    f->fetch = ocsp_fetch_start(services, &q, on_fetched, f);
    return f;
}
