#include "agent/renew_errand.h"

#include <stdio.h>
#include <string.h>

#include "agent/textfile.h"
#include "base/clock.h"
#include "base/log.h"

/* Results -------------------------------------------------------------------------------------- */

static void print_error(const json_t *result)
{
    auto_err struct err *e = err_from_json(json_get(result, "error"));

    if (e)
        printf(": %s\n", e->text);
    else
        printf("\n");
    if (e && e->hint)
        printf("  hint: %s\n", e->hint);
}

/* What is live now, after what was asked for went well. */
static void print_live(const char *what, const json_t *result)
{
    const json_t *cert = json_get(result, "new");
    char end[CLOCK_TEXT_MAX];

    printf("%s, valid until %s, serial %s, %s", what,
           clock_rfc3339(json_time(cert, "not_after"), end),
           json_str(cert, "serial") ? json_str(cert, "serial") : "?",
           json_bool(result, "proven") ? "proven" : "not proven");
    print_error(result);
}

static void print_result(const json_t *result, enum ticket_action action)
{
    static const char *const done[] = {
        [TICKET_RENEW] = "renewed",
        [TICKET_DEPLOY] = "deployed",
        [TICKET_ROLLBACK] = "rolled back and held",
        [TICKET_REVOKE] = "revoked and replaced",
    };
    const char *what = json_str(result, "result");
    time_t next = json_time(result, "next_try");
    char at[CLOCK_TEXT_MAX] = "";

    if (next > 0)
        clock_rfc3339(next, at);
    printf("%s: ", json_str(result, "name"));
    if (json_str(json_get(result, "new"), "sha256")) {
        print_live(done[action], result);
    } else if (strcmp(what, "not-due") == 0) {
        printf("not due before %s", at);
        print_error(result);
    } else if (strcmp(what, "backoff") == 0) {
        printf("failed before, next try %s", at);
        print_error(result);
    } else if (strcmp(what, "failed") == 0 || strcmp(what, "rolled-back") == 0) {
        printf("%s", strcmp(what, "failed") == 0 ? "failed" : "rolled back");
        print_error(result);
        if (action == TICKET_REVOKE)
            printf("  the old certificate is %srevoked\n",
                   json_bool(json_get(result, "old"), "revoked") ? "" : "not ");
        if (*at)
            printf("  next try: %s\n", at);
    } else {
        printf("%s\n", what);
    }
}

static void print_results(const json_t *document, void *userdata)
{
    const struct renew_errand *r = userdata;
    const json_t *results = json_get(document, "results");

    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *result = json_array_get(results, i);
        if (json_str(result, "name") && json_str(result, "result"))
            print_result(result, r->wanted.action);
    }
    if (json_array_size(results) == 0 && !json_get(document, "error"))
        fprintf(stderr, "everleaf: no certificates are configured\n");
}

static const char *const methods[] = {
    [TICKET_RENEW] = "renew",
    [TICKET_DEPLOY] = "deploy",
    [TICKET_ROLLBACK] = "rollback",
    [TICKET_REVOKE] = "revoke",
};

/* The errand ----------------------------------------------------------------------------------- */

static bool check_names(const struct config *config, void *userdata, struct err **err)
{
    const struct renew_errand *r = userdata;

    for (size_t i = 0; i < r->wanted.names.n; i++) {
        if (!config_find(config, r->wanted.names.items[i]))
            return cmd_unknown_certificate(config, r->wanted.names.items[i], err);
    }
    return true;
}

static json_t *make_request(void *userdata)
{
    const struct renew_errand *r = userdata;
    json_t *request = json_object();

    json_put_str(request, "method", methods[r->wanted.action]);
    json_put_strv(request, "names", &r->wanted.names);
    json_put_bool(request, "force", r->wanted.force);
    json_put_bool(request, "due_only", r->wanted.due_only);
    json_put_int(request, "generation", r->wanted.generation);
    json_put_str(request, "reason", revoke_reason_name(r->wanted.reason));
    json_put_bool(request, "now", r->wanted.now);
    json_put_bool(request, "wait", !r->wanted.no_wait);
    return request;
}

static void on_done(const json_t *document, void *userdata)
{
    struct renew_errand *r = userdata;

    r->renew = NULL;
    errand_answer(r->errand, document);
}

static bool begin(struct errand *e, struct manager *m, void *userdata, struct err **err)
{
    struct renew_errand *r = userdata;

    r->errand = e;
    r->wanted.by = "self";
    r->wanted.no_wait = false; /* nobody else would do it */
    r->renew = renew_start(m, &r->wanted, on_done, r, err);
    return r->renew;
}

static json_t *so_far(const struct err *why, void *userdata)
{
    const struct renew_errand *r = userdata;

    return renew_document(r->renew, why);
}

static void stop(void *userdata)
{
    struct renew_errand *r = userdata;

    renew_free(r->renew);
    r->renew = NULL;
}

/* The renewals are done, whether or not somebody can watch them. */
static void write_metrics(const struct manager *m, void *userdata)
{
    const struct renew_errand *r = userdata;
    const char *path = r->metrics_file ? r->metrics_file : manager_config(m)->metrics_file;
    auto_err struct err *e = NULL;

    if (path && !textfile_write(m, path, &e))
        log_failure(LOG_LEVEL_WARNING, e, "metrics not written");
}

static const struct errand_type type = {
    .check = check_names,
    .request = make_request,
    .begin = begin,
    .so_far = so_far,
    .stop = stop,
    .failure = renew_failure,
    .print = print_results,
    .after = write_metrics,
};

int renew_errand_run(const struct cmd_options *options, struct renew_errand *e)
{
    return errand_run(options, &type, e);
}

int renew_errand_refuse(const struct cmd_options *options, struct renew_errand *e,
                        const struct err *why)
{
    return errand_refuse(options, &type, e, why);
}

void renew_errand_done(struct renew_errand *e)
{
    strv_done(&e->wanted.names);
}
