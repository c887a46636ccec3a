#include "acme/problem.h"

#include <string.h>

#include "acme/request.h"
#include "base/clock.h"

#define SUBPROBLEMS_MAX 100
#define PROBLEM_MAX     100 /* characters of a type that are kept */
#define RETRY_AFTER_MAX (7 * 24 * 3600)
#define TEXT_MAX        4096

/* What the operator can do. Types that are not here explain themselves, or nothing can be done. */
static const struct advice {
    const char *type;
    const char *hint;
} advices[] = {
    {"accountDoesNotExist", "the CA does not know our account any more"},
    {"alreadyReplaced", "the predecessor was replaced by another order already"},
    {"badCSR", "the CA does not like the key type or the names; try another `key.type`"},
    {"badPublicKey", "the CA does not take keys of this type; choose another `key.type`"},
    {"caa", "allow this CA in the CAA record of the name, or remove the record"},
    {"connection",
     "the CA could not reach the name: do its A and AAAA records point here, is port 80 "
     "open to the internet?"},
    {"dns", "the CA could not resolve the name: check its records and name servers from outside"},
    {"externalAccountRequired",
     "get a key id and an HMAC key from the CA and set `eab: {kid, hmac}`"},
    {"incorrectResponse",
     "something else answered for the name: another server, a proxy, or a redirect "
     "that loses the path"},
    {"invalidContact", "correct `contact` of the issuer"},
    {"invalidProfile", "set `profile` to one that the CA offers for these names"},
    {"rateLimited", "the CA limits us; nothing is gained by asking earlier"},
    {"rejectedIdentifier", "the CA does not issue for this name; remove it or use another issuer"},
    {"tls", "the CA met a TLS error at the name; check what answers on port 443"},
    {"unsupportedContact", "use a mailto: address in `contact`"},
    {"unsupportedIdentifier", "the CA does not issue for this kind of name"},
    {"userActionRequired", "the account's owner must act, e.g. agree to new terms"},
};

bool media_type_is_json(const char *content_type)
{
    const char *plus = strrchr(content_type, '+');

    return strcmp(content_type, "application/json") == 0 || (plus && strcmp(plus, "+json") == 0);
}

bool err_is_problem(const struct err *e, const char *type)
{
    return e && e->problem && strcmp(e->problem, type) == 0;
}

/* The type as we keep it; "" for none. Bounded copy; caller frees. */
static char *short_type(const json_t *problem)
{
    const char *type = json_str(problem, "type");

    if (!type || strcmp(type, "about:blank") == 0)
        type = "";
    if (strncmp(type, ACME_ERROR_URN, sizeof(ACME_ERROR_URN) - 1) == 0)
        type += sizeof(ACME_ERROR_URN) - 1;
    return xstrndup(type, PROBLEM_MAX);
}

/* "www.example.org: the detail (dns)" */
static void add_subproblem(struct buf *text, const json_t *problem)
{
    auto_free char *type = short_type(problem);
    const char *name = json_str(json_get(problem, "identifier"), "value");
    const char *detail = json_str(problem, "detail");

    buf_addf(text, "; %s%s%s", name ? name : "", name ? ": " : "", detail ? detail : "no detail");
    if (*type)
        buf_addf(text, " (%s)", type);
}

static void add_subproblems(struct buf *text, const json_t *problem)
{
    const json_t *list = json_get(problem, "subproblems");
    size_t n = json_array_size(list);

    for (size_t i = 0; i < n && i < SUBPROBLEMS_MAX; i++) {
        const json_t *item = json_array_get(list, i);
        if (json_is_object(item))
            add_subproblem(text, item);
    }
    if (n > SUBPROBLEMS_MAX)
        buf_addf(text, "; and %zu more", n - SUBPROBLEMS_MAX);
}

/* RFC 8555 6.2: badSignatureAlgorithm says which ones would be good. */
static void add_algorithms(struct buf *text, const json_t *problem)
{
    auto_strv struct strv names = {0};

    json_read_strv(problem, "algorithms", &names);
    if (names.n > 0) {
        auto_free char *list = strv_join(&names, ", ");
        buf_addf(text, "; the CA takes %.200s", list);
    }
}

static char *problem_describe(const json_t *problem)
{
    auto_buf struct buf text; /* buf_take leaves an empty one */
    const char *detail = json_str(problem, "detail");
    const char *title = json_str(problem, "title");

    buf_init(&text, TEXT_MAX);
    buf_add_str(&text, detail ? detail : title ? title : "no detail given");
    add_algorithms(&text, problem);
    add_subproblems(&text, problem);
    return buf_take(&text);
}

static void set_details(struct err *e, const char *type, const json_t *problem)
{
    const char *instance = json_str(problem, "instance");

    if (*type) /* foreign text, shown by status and logs as it is */
        set_string(&e->problem, text_escape(type, strlen(type)));
    for (size_t i = 0; i < ARRAY_LEN(advices); i++) {
        if (strcmp(advices[i].type, type) == 0)
            err_hint(&e, "%s", advices[i].hint);
    }
    if (instance && strcmp(type, "userActionRequired") == 0)
        err_hint(&e, "%s: see %.500s", e->hint, instance);
}

static enum err_kind kind_of(int status, const char *type, const char *retry_after)
{
    if (strcmp(type, "rateLimited") == 0 || status == 429 || (status == 503 && retry_after))
        return ERR_LIMITED;
    if (strcmp(type, "serverInternal") == 0 || strcmp(type, "badNonce") == 0 || status >= 500 ||
        status == 408)
        return ERR_TRANSIENT;
    return ERR_REFUSED;
}

/* A body that is no problem document is not repeated: it may be anything, e.g. the answer of an
 * inner host that must not be shown to who reads our status. */
static void set_without_problem(struct err **err, enum err_kind kind, int status,
                                const char *content_type)
{
    if (status >= 300 && status < 400)
        err_set(err, kind, "HTTP %d: a redirect, which is not followed", status);
    else
        err_set(err, kind, "HTTP %d with %s instead of a problem document", status,
                *content_type ? content_type : "no content type");
}

void err_from_problem(struct err **err, int status, const char *content_type, const char *body,
                      size_t len, const char *retry_after, time_t now)
{
    auto_json json_t *problem =
        media_type_is_json(content_type) ? json_parse(body, len, NULL) : NULL;
    auto_free char *type = short_type(problem);
    enum err_kind kind = kind_of(status, type, retry_after);
    auto_err struct err *e = NULL;

    if (json_is_object(problem)) {
        auto_free char *text = problem_describe(problem);
        if (*type)
            err_set(&e, kind, "%s (%s, HTTP %d)", text, type, status);
        else
            err_set(&e, kind, "%s (HTTP %d)", text, status);
    } else {
        set_without_problem(&e, kind, status, content_type);
    }
    set_details(e, type, problem);
    e->code = status;
    if (kind != ERR_REFUSED &&
        !clock_parse_retry_after(retry_after, now, 1, RETRY_AFTER_MAX, &e->retry_at))
        e->retry_at = 0;
    err_move(err, &e);
}

bool err_from_problem_object(struct err **err, const json_t *problem)
{
    if (!json_is_object(problem))
        return false;

    auto_free char *type = short_type(problem);
    auto_free char *text = problem_describe(problem);
    auto_err struct err *e = NULL;

    if (*type)
        err_set(&e, ERR_REFUSED, "%s (%s)", text, type);
    else
        err_set(&e, ERR_REFUSED, "%s", text);
    set_details(e, type, problem);
    err_move(err, &e);
    return true;
}
