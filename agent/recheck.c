#include "agent/recheck.h"

#include <string.h>

#include "agent/proof.h"
#include "agent/verdict.h"

#define PAUSE_FIRST_MS 1000
#define PAUSE_MAX_MS   60000

/* One server being looked at. */
struct look {
    struct recheck *recheck;
    struct proof *proof; /* NULL: over */
};

struct recheck {
    struct recheck_settings settings;
    char *live_sha256;
    int64_t pause_ms;
    struct timer *pause;
    struct look *looks;
    size_t n_looks, open;
    recheck_fn *fn;
    void *userdata;
};

static void look_again(void *userdata);

static bool has_unsettled(const struct config_server *server, const struct server_row *row)
{
    for (size_t i = 0; i < row->n_endpoints; i++) {
        if (!proof_row_is_settled(server, row, &row->endpoints[i]))
            return true;
    }
    return false;
}

bool recheck_is_wanted(const struct deploy_record *r, const struct config_certificate *c)
{
    if (r->stage != DEPLOY_IDLE || (r->outcome != OUTCOME_DEPLOYED && r->outcome != OUTCOME_PROVEN))
        return false;
    for (size_t s = 0; s < c->n_servers; s++) {
        if (!verdict_knows_server(r, c->servers[s], c->name))
            return true;
        for (size_t i = 0; i < r->n_servers; i++) {
            if (strcmp(r->servers[i].name, c->servers[s]->server.name) == 0 &&
                has_unsettled(c->servers[s], &r->servers[i]))
                return true;
        }
    }
    return false;
}

static void wait_for_next(struct recheck *r)
{
    timer_free(r->pause);
    r->pause = timer_after(r->settings.services->loop, r->pause_ms, look_again, r);
    r->pause_ms = r->pause_ms * 2 < PAUSE_MAX_MS ? r->pause_ms * 2 : PAUSE_MAX_MS;
}

static void judge(struct recheck *r)
{
    struct deploy_record *record = r->settings.record;
    struct err *guilty = NULL;
    struct err *alarm = NULL;
    enum deploy_outcome outcome = verdict_proof(record, r->settings.certificate, &guilty, &alarm);

    err_free(record->error);
    record->error = alarm ? take(alarm) : take(guilty);
    err_free(guilty);
    record->outcome = outcome;
    if (outcome != OUTCOME_PROVEN) {
        wait_for_next(r);
        return;
    }
    recheck_fn *fn = r->fn;
    void *userdata = r->userdata;
    recheck_free(r);
    fn(userdata);
}

static void on_looked(void *userdata)
{
    struct look *look = userdata;

    look->proof = NULL;
    if (--look->recheck->open == 0)
        judge(look->recheck);
}

static void look_again(void *userdata)
{
    struct recheck *r = userdata;
    const struct config_certificate *c = r->settings.certificate;

    timer_free(r->pause);
    r->pause = NULL;
    r->open = r->n_looks;
    for (size_t i = 0; i < r->n_looks; i++) {
        struct proof_settings settings = {
            .services = r->settings.services,
            .certificate = c,
            .server = c->servers[i],
            .row = deploy_record_server(r->settings.record, c->servers[i]->server.name),
            .live_sha256 = r->live_sha256,
            .generation = r->settings.generation,
            .one_look = true,
        };
        bool known = verdict_knows_server(r->settings.record, c->servers[i], c->name);
        r->looks[i].proof = known ? proof_start(&settings, on_looked, &r->looks[i])
                                  : survey_start(&settings, on_looked, &r->looks[i]);
    }
}

struct recheck *recheck_start(const struct recheck_settings *settings, recheck_fn *fn,
                              void *userdata)
{
    struct recheck *r = xcalloc(1, sizeof *r);

    r->settings = *settings;
    r->live_sha256 = xstrdup(settings->live_sha256);
    r->pause_ms = PAUSE_FIRST_MS;
    r->n_looks = settings->certificate->n_servers;
    r->looks = xcalloc(r->n_looks + 1, sizeof *r->looks);
    for (size_t i = 0; i < r->n_looks; i++) {
        r->looks[i].recheck = r;
        /* Made before any pointer to a row is taken. */
        (void)deploy_record_server(settings->record,
                                   settings->certificate->servers[i]->server.name);
    }
    r->fn = fn;
    r->userdata = userdata;
    wait_for_next(r);
    return r;
}

void recheck_free(struct recheck *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_looks; i++)
        proof_free(r->looks[i].proof);
    free(r->looks);
    timer_free(r->pause);
    free(r->live_sha256);
    free(r);
}
