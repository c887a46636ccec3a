#include "agent/proof.h"

#include <stdio.h>
#include <string.h>

#include "agent/metrics.h"
#include "base/clock.h"
#include "pki/ocsp.h"
#include "pki/probe.h"
#include "store/staple.h"

#define PROBE_TIMEOUT_MS    5000
#define STARTTLS_TIMEOUT_MS 10000 /* mail servers keep their greeting back to try out spammers */
#define PAUSE_FIRST_MS      20
#define PAUSE_MAX_MS        1000

/* One row being looked at, or (row < 0) one endpoint whose name is being resolved. */
struct target {
    struct proof *proof;
    const struct config_endpoint *endpoint;
    size_t row;
    struct address address;
    struct resolve *resolve;
    struct probe *probe;
    struct timer *pause;
    int64_t pause_ms;
    int64_t deadline_ms; /* boot clock */
    int64_t matches;
};

struct proof {
    struct proof_settings settings;
    char *live_sha256;
    struct buf staple; /* ours; empty: none */
    bool survey;
    struct target **targets;
    size_t n_targets;
    size_t open;           /* targets not settled */
    struct timer *nothing; /* ends a proof without targets on a later turn */
    proof_fn *fn;
    void *userdata;
};

static struct endpoint_row *target_row(const struct target *t)
{
    return &t->proof->settings.row->endpoints[t->row];
}

static struct target *target_new(struct proof *p, const struct config_endpoint *endpoint)
{
    struct target *t = xcalloc(1, sizeof *t);
    t->proof = p;
    t->endpoint = endpoint;
    t->pause_ms = PAUSE_FIRST_MS;
    p->targets = xreallocarray(p->targets, p->n_targets + 1, sizeof(struct target *));
    p->targets[p->n_targets++] = t;
    p->open++;
    return t;
}

static void target_free(struct target *t)
{
    resolve_free(t->resolve);
    probe_free(t->probe);
    timer_free(t->pause);
    free(t);
}

void proof_free(struct proof *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n_targets; i++)
        target_free(p->targets[i]);
    free(p->targets);
    timer_free(p->nothing);
    free(p->live_sha256);
    buf_done(&p->staple);
    free(p);
}

/* The last thing a callback does: the proof may be gone afterwards. */
static void target_settle(struct target *t)
{
    struct proof *p = t->proof;

    if (--p->open > 0)
        return;
    proof_fn *fn = p->fn;
    void *userdata = p->userdata;
    proof_free(p);
    fn(userdata);
}

static void row_set_error(struct endpoint_row *row, const struct err *e)
{
    struct err *copy = err_copy(e);
    err_free(row->error);
    row->error = copy;
}

/* Does what was served satisfy `trust:`? Without trust equality of the leaf is all that counts. */
static bool is_trusted(const struct target *t, const struct probe_result *result, struct err **err)
{
    struct endpoint_row *row = target_row(t);

    if (!t->endpoint->trust_system && !t->endpoint->trust_file)
        return true;
    auto_free char *text = NULL;
    const char *sni = row->sni;
    const char *trust = chain_trust(result->chain, t->endpoint->trust_file,
                                    sni && *sni ? sni : NULL, clock_now(), &text);
    snprintf(row->trust, sizeof row->trust, "%s", trust);
    if (strcmp(trust, "ok") == 0)
        return true;
    return err_set(err, ERR_REFUSED,
                   "%s serves the new certificate, but its chain is not trusted: %s", row->address,
                   text ? text : trust);
}

/* What another staple than ours is worth to a client: its signature is the client's business, its
 * status and end are what servers get wrong. */
static enum staple_seen judge_other(const struct buf *ours, const struct probe_result *result,
                                    struct err **err)
{
    const struct cert *leaf = result->chain->items[0];
    struct ocsp_answer a, held;

    if (!ocsp_peek(result->staple, result->staple_len, leaf, &a, err))
        return STAPLE_WRONG;
    if (a.status != OCSP_STATUS_GOOD || (a.next_update != 0 && a.next_update <= clock_now())) {
        err_set(err, ERR_REFUSED, "its OCSP staple is %s",
                a.status == OCSP_STATUS_GOOD ? "over" : ocsp_status_name(a.status));
        return STAPLE_WRONG;
    }
    bool older = ours->len > 0 && ocsp_peek(ours->data, ours->len, leaf, &held, NULL) &&
                 a.this_update < held.this_update;
    return older ? STAPLE_OLDER : STAPLE_OTHER;
}

static enum staple_seen judge_staple(const struct proof *p, const struct probe_result *result,
                                     struct err **err)
{
    const struct buf *ours = &p->staple;

    if (result->staple && ours->len > 0 && result->staple_len == ours->len &&
        memcmp(result->staple, ours->data, ours->len) == 0)
        return STAPLE_OURS;
    if (result->staple)
        return judge_other(ours, result, err);
    if (result->chain->items[0]->must_staple) {
        err_set(err, ERR_REFUSED, "no OCSP staple although the certificate is must-staple");
        return STAPLE_WRONG;
    }
    return ours->len > 0 ? STAPLE_ABSENT : STAPLE_UNKNOWN;
}

/* Notes what an endpoint showed. True when it is the expected leaf. */
static bool row_note(const struct target *t, const struct probe_result *result)
{
    struct endpoint_row *row = target_row(t);
    const struct cert *leaf = result->chain->items[0];
    const char *wanted = t->proof->live_sha256;
    auto_err struct err *e = NULL;

    row->answered = true;
    row->checked_at = clock_now();
    row->handshake_ms = result->handshake_ms;
    metrics_observe(t->proof->settings.services->metrics, METRIC_ENDPOINT_HANDSHAKE, NULL,
                    result->handshake_ms);
    row->not_after = leaf->not_after;
    memcpy(row->version, result->version, sizeof row->version);
    memcpy(row->cipher, result->cipher, sizeof row->cipher);
    set_string(&row->sha256, xstrdup(leaf->sha256_hex));
    row->trust[0] = '\0';
    row->serves_live = wanted && strcmp(wanted, leaf->sha256_hex) == 0;
    if (row->serves_live)
        row->serves_live = is_trusted(t, result, &e);
    else if (wanted)
        err_set(&e, ERR_SYSTEM, "%s serves another certificate (serial %s, issued by %s)",
                row->address, leaf->serial_hex, leaf->issuer_cn);
    row->staple = STAPLE_UNKNOWN;
    if (row->serves_live && !t->endpoint->staple_off) {
        auto_err struct err *why = NULL;
        row->staple = judge_staple(t->proof, result, &why);
        if (row->staple == STAPLE_WRONG && !e)
            err_set(&e, ERR_SYSTEM, "%s serves the certificate, but: %s", row->address, why->text);
    }
    row_set_error(row, t->proof->survey ? NULL : e);
    return row->serves_live;
}

static void row_note_silence(const struct target *t, const struct err *e)
{
    struct endpoint_row *row = target_row(t);
    row->answered = false;
    row->serves_live = false;
    row->checked_at = clock_now();
    row->handshake_ms = 0;
    row->not_after = 0;
    set_string(&row->sha256, NULL);
    row_set_error(row, e);
}

static void probe_again(void *userdata);

/* Another look after a pause, unless the deadline passed. */
static void target_retry(struct target *t)
{
    int64_t left = t->deadline_ms - clock_boot_ms();

    if (t->proof->settings.one_look || left <= 0) {
        if (t->matches < t->endpoint->matches)
            target_row(t)->serves_live = false; /* it flips: not enough looks in a row agreed */
        target_settle(t);
        return;
    }
    int64_t pause = t->pause_ms < left ? t->pause_ms : left;
    t->pause_ms = t->pause_ms * 2 < PAUSE_MAX_MS ? t->pause_ms * 2 : PAUSE_MAX_MS;
    timer_free(t->pause);
    t->pause = timer_after(t->proof->settings.services->loop, pause, probe_again, t);
}

static void on_surveyed(const struct probe_result *result, const struct err *e, void *userdata)
{
    struct target *t = userdata;
    struct endpoint_row *row = target_row(t);

    t->probe = NULL;
    if (result) {
        bool live = row_note(t, result);
        row->baseline = live ? BASELINE_OLD : BASELINE_OTHER;
        row->stapled = result->staple != NULL;
    } else {
        row_note_silence(t, e);
        row->baseline = BASELINE_SILENT;
    }
    target_settle(t);
}

/* It showed what it should. That counts when it does so often enough, and after the reload has come
 * to its end: while old processes still accept, the next client may get the old certificate. */
static void target_matched(struct target *t)
{
    const struct proof_settings *s = &t->proof->settings;
    int64_t overlap_ms = s->overlap_until_ms - clock_boot_ms();

    if (s->one_look || (t->matches >= t->endpoint->matches && overlap_ms <= 0)) {
        target_settle(t);
    } else if (t->matches >= t->endpoint->matches) {
        timer_free(t->pause);
        t->pause = timer_after(s->services->loop, overlap_ms, probe_again, t);
    } else {
        t->pause_ms = PAUSE_FIRST_MS;
        target_retry(t);
    }
}

/* Whether it is worth waiting for another staple. One that never stapled is not configured to. */
static bool is_staple_coming(const struct target *t)
{
    const struct endpoint_row *row = target_row(t);

    return row->staple == STAPLE_WRONG || row->staple == STAPLE_OLDER ||
           (row->staple == STAPLE_ABSENT && row->stapled);
}

/* The leaf is right: a staple that does not come is told, but no reason to go back. */
static void await_staple(struct target *t)
{
    int64_t left = t->deadline_ms - clock_boot_ms();

    if (t->proof->settings.one_look || left <= 0) {
        target_settle(t);
        return;
    }
    int64_t pause = t->pause_ms < left ? t->pause_ms : left;
    t->pause_ms = t->pause_ms * 2 < PAUSE_MAX_MS ? t->pause_ms * 2 : PAUSE_MAX_MS;
    timer_free(t->pause);
    t->pause = timer_after(t->proof->settings.services->loop, pause, probe_again, t);
}

static void on_probed(const struct probe_result *result, const struct err *e, void *userdata)
{
    struct target *t = userdata;

    t->probe = NULL;
    if (!result) {
        row_note_silence(t, e);
        t->matches = 0;
        target_retry(t);
    } else if (!row_note(t, result)) {
        t->matches = 0;
        target_retry(t);
    } else if (is_staple_coming(t)) {
        await_staple(t);
    } else {
        t->matches++;
        target_matched(t);
    }
}

static void probe_now(struct target *t)
{
    struct proof *p = t->proof;
    const char *sni = target_row(t)->sni;
    struct probe_spec spec = {.sni = sni && *sni ? sni : NULL,
                              .starttls = (enum starttls)t->endpoint->starttls,
                              .timeout_ms = PROBE_TIMEOUT_MS};

    if (spec.starttls != STARTTLS_OFF)
        spec.timeout_ms = STARTTLS_TIMEOUT_MS;
    t->probe = probe_start(p->settings.services->loop, &t->address, &spec,
                           p->survey ? on_surveyed : on_probed, t);
}

static void probe_again(void *userdata)
{
    probe_now(userdata);
}

/* Survey: a name became addresses; each address and SNI is a row of its own. */
static void on_survey_resolved(const struct address *addresses, size_t n, const struct err *e,
                               void *userdata)
{
    struct target *t = userdata;
    struct proof *p = t->proof;
    auto_strv struct strv sni = {0};

    t->resolve = NULL;
    config_endpoint_sni(t->endpoint, p->settings.certificate, &sni);
    for (size_t i = 0; i < (e ? 1 : n); i++) {
        for (size_t s = 0; s < sni.n; s++) {
            struct endpoint_row *row = server_row_add_endpoint(p->settings.row);
            row->connect = xstrdup(t->endpoint->connect);
            row->address = e ? NULL : xstrdup(addresses[i].text);
            row->sni = xstrdup(sni.items[s]);
            row->baseline = BASELINE_SILENT;
            if (e) {
                row_set_error(row, e);
                continue;
            }
            struct target *look = target_new(p, t->endpoint);
            look->row = p->settings.row->n_endpoints - 1;
            look->address = addresses[i];
            probe_now(look);
        }
    }
    target_settle(t);
}

static void on_row_resolved(const struct address *addresses, size_t n, const struct err *e,
                            void *userdata)
{
    struct target *t = userdata;
    struct endpoint_row *row = target_row(t);

    t->resolve = NULL;
    if (e || n == 0) {
        row_note_silence(t, e);
        target_settle(t);
        return;
    }
    if (!row->address)
        row->address = xstrdup(addresses[0].text);
    t->address = addresses[0];
    probe_now(t);
}

static void resolve_text(struct target *t, const char *text, resolve_fn *fn)
{
    struct endpoint endpoint = {0};
    auto_err struct err *e = NULL;

    /* The configuration was checked: a text that does not parse can only come from a damaged
     * record, and then resolving an empty endpoint fails in the ordinary way. */
    if (!endpoint_parse(text, &endpoint, &e))
        endpoint = (struct endpoint){.host = xstrdup("invalid."), .port = xstrdup("0")};
    t->resolve = resolve_start(t->proof->settings.services->worker, &endpoint, fn, t);
    endpoint_done(&endpoint);
}

static void on_nothing(void *userdata)
{
    struct proof *p = userdata;
    proof_fn *fn = p->fn;
    void *data = p->userdata;
    proof_free(p);
    fn(data);
}

bool proof_concerns(const struct config_endpoint *e, const char *certificate)
{
    return e->certificates.n == 0 || strv_has(&e->certificates, certificate);
}

static struct proof *proof_new(const struct proof_settings *settings, bool survey, proof_fn *fn,
                               void *userdata)
{
    struct proof *p = xcalloc(1, sizeof *p);
    p->settings = *settings;
    p->live_sha256 = xstrdup(settings->live_sha256);
    if (settings->generation > 0)
        (void)!staple_load(settings->services->state, settings->certificate->name,
                           settings->generation, &p->staple, NULL);
    p->survey = survey;
    p->fn = fn;
    p->userdata = userdata;
    return p;
}

static struct proof *proof_begin(struct proof *p)
{
    if (p->open == 0)
        p->nothing = timer_after(p->settings.services->loop, 0, on_nothing, p);
    return p;
}

struct proof *survey_start(const struct proof_settings *settings, proof_fn *fn, void *userdata)
{
    struct proof *p = proof_new(settings, true, fn, userdata);
    const struct config_server *server = settings->server;

    server_row_clear_endpoints(settings->row);
    for (size_t i = 0; !server->prove_off && i < server->n_prove; i++) {
        if (!proof_concerns(&server->prove[i], settings->certificate->name))
            continue;
        struct target *t = target_new(p, &server->prove[i]);
        resolve_text(t, t->endpoint->connect, on_survey_resolved);
    }
    return proof_begin(p);
}

static const struct config_endpoint *row_endpoint(const struct config_server *server,
                                                  const struct endpoint_row *row)
{
    for (size_t i = 0; !server->prove_off && i < server->n_prove; i++) {
        if (strcmp(server->prove[i].connect, row->connect) == 0)
            return &server->prove[i];
    }
    return NULL;
}

struct proof *proof_start(const struct proof_settings *settings, proof_fn *fn, void *userdata)
{
    struct proof *p = proof_new(settings, false, fn, userdata);

    for (size_t i = 0; i < settings->row->n_endpoints; i++) {
        struct endpoint_row *row = &settings->row->endpoints[i];
        const struct config_endpoint *endpoint = row_endpoint(settings->server, row);
        if (!endpoint) /* the configuration lost it since the baseline */
            continue;
        struct target *t = target_new(p, endpoint);
        int64_t patience = endpoint->deadline_s * 1000;
        if (settings->only_old && row->baseline != BASELINE_OLD)
            patience = 0;
        else if (row->baseline == BASELINE_SILENT && patience > PROOF_PATIENCE_MS)
            patience = PROOF_PATIENCE_MS;
        t->row = i;
        t->deadline_ms = clock_boot_ms() + patience;
        resolve_text(t, row->address ? row->address : row->connect, on_row_resolved);
    }
    return proof_begin(p);
}

bool proof_row_is_settled(const struct config_server *server, const struct server_row *row,
                          const struct endpoint_row *e)
{
    const struct config_endpoint *endpoint = row_endpoint(server, e);

    if (!endpoint || (e->serves_live && e->staple != STAPLE_WRONG))
        return true;
    /* Of the addresses of a name only those that answered at the baseline count ("localhost" has
     * two, and few servers listen on both). */
    bool optional = endpoint->addresses_any || (e->baseline == BASELINE_SILENT && !e->answered);
    for (size_t i = 0; optional && i < row->n_endpoints; i++) {
        const struct endpoint_row *sibling = &row->endpoints[i];
        if (sibling->serves_live && strcmp(sibling->connect, e->connect) == 0 &&
            strcmp(sibling->sni ? sibling->sni : "", e->sni ? e->sni : "") == 0)
            return true;
    }
    return false;
}
