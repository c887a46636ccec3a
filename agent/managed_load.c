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

/* Notes why a generation cannot be used. False: it could not be looked at. */
static bool note_damage(struct managed *m, struct err **damage, struct err **err)
{
    if (!is_damage(*damage))
        return err_move(err, damage);
    log_failure(LOG_LEVEL_ERROR, *damage, "generation unusable", "certificate", m->name);
    return true;
}

static void copy_facts(struct generation_facts *to, const struct generation_facts *from)
{
    *to = *from;
    to->sha256 = xstrdup(from->sha256);
    to->serial = xstrdup(from->serial);
    to->issuer_cn = xstrdup(from->issuer_cn);
    to->key_type = xstrdup(from->key_type);
    to->issuer = xstrdup(from->issuer);
    to->directory = xstrdup(from->directory);
    to->account = xstrdup(from->account);
    to->ari_id = xstrdup(from->ari_id);
    to->names = (struct strv){0};
    strv_copy(&to->names, &from->names);
}

/* The newest one that can be used; newer ones that cannot make the certificate damaged. */
static bool find_newest(struct managed *m, const struct generation_list *list, struct err **err)
{
    for (size_t i = list->n; i > 0; i--) {
        int64_t number = list->numbers[i - 1];
        auto_err struct err *damage = NULL;
        if (number == m->live.number) {
            copy_facts(&m->newest, &m->live);
            return true;
        }
        bool bad = number == list->live; /* told already */
        if (!bad && generation_facts(state_of(m), m->name, number, &m->newest, NULL, &damage))
            return true;
        if (damage && !note_damage(m, &damage, err))
            return false;
        m->damaged = true;
    }
    return true;
}

static bool load_generations(struct managed *m, struct err **err)
{
    struct generation_list list = {0};
    auto_err struct err *damage = NULL;

    if (!generation_survey(state_of(m), m->name, &list, &m->live, NULL, &damage, err))
        return false;
    bool good = (!damage || note_damage(m, &damage, err)) && find_newest(m, &list, err);
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
        m->ordering = issuance_is_pending(m->host->services, m->name, m->newest.number);
        managed_follow_staple(m);
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
        .account = xstrdup(json_str(g->info, "account")),
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
