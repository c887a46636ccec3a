/* What is on disk about a certificate, and what is kept there. */
#include <errno.h>
#include <string.h>

#include "agent/managed_private.h"
#include "base/file.h"
#include "base/log.h"

static struct state *state_of(const struct managed *m)
{
    return m->host->services->state;
}

/* Whether a generation itself is bad; else it could not be looked at (no permission, no
 * descriptors, I/O errors): no reason to get a new certificate. */
static bool is_damage(const struct err *e)
{
    return e->code == 0 || e->code == ENOENT || e->code == ENOTDIR || e->code == ELOOP;
}

static bool load_documents(struct managed *m, struct err **err)
{
    auto_err struct err *e = NULL;
    auto_json json_t *schedule = state_load(state_of(m), m->name, "schedule", &e);
    auto_json json_t *deploy = e ? NULL : state_load(state_of(m), m->name, "deploy", &e);

    if (e)
        return err_move(err, &e);
    schedule_read(&m->schedule, schedule);
    deploy_record_read(&m->record, deploy);
    return true;
}

/* False: it is there, but could not be looked at. A damaged one leaves *ret empty. */
static bool load_facts(struct managed *m, int64_t number, struct generation_facts *ret,
                       struct err **err)
{
    auto_err struct err *e = NULL;

    if (generation_facts(state_of(m), m->name, number, ret, NULL, &e))
        return true;
    if (!is_damage(e))
        return err_move(err, &e);
    log_failure(LOG_LEVEL_ERROR, e, "generation unusable", "certificate", m->name);
    m->damaged = m->damaged || m->newest.number == 0;
    return true;
}

static bool load_listed(struct managed *m, const struct generation_list *list, struct err **err)
{
    for (size_t i = list->n; i > 0 && m->newest.number == 0; i--) {
        if (!load_facts(m, list->numbers[i - 1], &m->newest, err))
            return false;
    }
    /* A live generation older than the newest one may be bad without being missed. */
    bool damaged = m->damaged;
    bool good = list->live == 0 || load_facts(m, list->live, &m->live, err);
    m->damaged = damaged;
    return good;
}

static bool load_generations(struct managed *m, struct err **err)
{
    struct generation_list list = {0};

    if (!generation_list(state_of(m), m->name, &list, err))
        return false;
    bool good = load_listed(m, &list, err);
    generation_list_done(&list);
    return good;
}

void managed_forget(struct managed *m)
{
    schedule_done(&m->schedule);
    deploy_record_done(&m->record);
    generation_facts_done(&m->live);
    generation_facts_done(&m->newest);
    m->damaged = m->unreadable = m->ordering = false;
    m->audited = m->outputs_wrong = false;
}

bool managed_load(struct managed *m)
{
    auto_err struct err *e = NULL;

    managed_forget(m);
    if (load_documents(m, &e) && load_generations(m, &e)) {
        m->ordering = issuance_is_pending(m->host->services, m->name);
        return true;
    }
    err_wrap(&e, "the state of %s could not be read", m->name);
    err_step(&e, "load");
    log_failure(LOG_LEVEL_ERROR, e, "state unreadable", "certificate", m->name);
    managed_forget(m);
    m->unreadable = true;
    m->schedule.error = take(e);
    return false;
}

void managed_take_facts(struct generation_facts *to, const struct generation *g)
{
    const struct cert *leaf = g->chain->items[0];

    generation_facts_done(to);
    *to = (struct generation_facts){
        .number = g->number,
        .sha256 = xstrdup(leaf->sha256_hex),
        .serial = xstrdup(leaf->serial_hex),
        .issuer_cn = xstrdup(leaf->issuer_cn),
        .key_type = xstrdup(leaf->key_type_name),
        .not_before = leaf->not_before,
        .not_after = leaf->not_after,
        .created_at = json_time(g->info, "created_at"),
        .issuer = xstrdup(json_str(g->info, "issuer")),
        .directory = xstrdup(json_str(g->info, "directory")),
        .ari_id = xstrdup(json_str(g->info, "ari_id")),
    };
    strv_copy(&to->names, &leaf->names);
}

static void on_saved(const struct err *e, void *userdata)
{
    struct managed *m = userdata;

    m->save = NULL;
    if (e)
        log_failure(LOG_LEVEL_WARNING, e, "state not saved", "certificate", m->name);
}

void managed_save_schedule(struct managed *m)
{
    m->schedule.renew_at = managed_renew_at(m);
    auto_json json_t *j = schedule_to_json(&m->schedule);

    save_free(m->save);
    m->save = state_save(state_of(m), m->name, "schedule", j, on_saved, m);
}

void managed_save_record(struct managed *m)
{
    auto_json json_t *j = deploy_record_to_json(&m->record);

    save_free(m->save);
    m->save = state_save(state_of(m), m->name, "deploy", j, on_saved, m);
}
