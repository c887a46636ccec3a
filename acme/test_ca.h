/* For tests: a scripted CA behind acme/test_http.h, well-behaved unless told otherwise. */
#pragma once

#include "acme/test_http.h"
#include "base/clock.h"
#include "base/map.h"
#include "pki/test_ca.h"

#define CA_BASE       "https://ca.example"
#define CA_ORDERS_MAX 8
#define CA_NAMES_MAX  32

struct ca_order {
    struct strv names;
    char status[16];               /* of a finalized order; else it follows the authz */
    char authz[CA_NAMES_MAX][16];  /* status of each */
    int authz_polls[CA_NAMES_MAX]; /* reads since the answer */
    bool answered[CA_NAMES_MAX];
    int polls; /* since finalize */
};

/* What a test may set before, and look at afterwards. */
static struct {
    struct test_pki pki;
    struct key *leaf_key; /* of the certificates it issues */
    struct ca_order orders[CA_ORDERS_MAX];
    int n_orders;
    unsigned nonces;

    int reject_percent; /* of the nonces */
    unsigned random;
    int authz_polls;      /* reads until an answered one is valid */
    int order_polls;      /* until a finalized one is valid */
    bool reuse;           /* authorizations are valid from the start */
    const char *bad_name; /* its validation fails */
    const char *bad_name_2;
    const char *meta; /* of the directory, JSON */
    bool ari;
    const char *leaf_names; /* instead of those of the order */
    const char *type;       /* content type of certificates */
    const char *lose_once;  /* the first reply to this operation is lost, after it did its work */
    /* Takes a query over: true when it answered. */
    bool (*override)(const char *operation, const struct test_query *q, struct test_answer *a);

    unsigned accounts, lookups, new_orders, answers, finalizes, reads, downloads, deactivated;
    unsigned order_reads;
    bool account_known;
    json_t *last_order, *last_account; /* payloads */
    bool saved; /* set by the test's save event: answers before that are an error */
} ca;

static inline void ca_set(char status[16], const char *text)
{
    snprintf(status, 16, "%s", text);
}

static inline char *ca_url(const char *what, int order, int name)
{
    return xasprintf(CA_BASE "/%s/%d/%d", what, order, name);
}

static inline const char *ca_order_status(const struct ca_order *o)
{
    if (o->status[0])
        return o->status;
    bool all = true;
    for (size_t i = 0; i < o->names.n; i++) {
        if (strcmp(o->authz[i], "invalid") == 0)
            return "invalid";
        all = all && strcmp(o->authz[i], "valid") == 0;
    }
    return all ? "ready" : "pending";
}

static inline void ca_say_order(struct test_answer *a, int status, int id)
{
    struct ca_order *o = &ca.orders[id];
    json_t *j = json_object();
    json_t *authz = json_array();
    auto_free char *finalize = ca_url("finalize", id, 0);
    auto_free char *certificate = ca_url("certificate", id, 0);

    if (strcmp(o->status, "processing") == 0 && o->polls++ >= ca.order_polls)
        ca_set(o->status, "valid");
    for (size_t i = o->names.n; i > 0; i--) { /* not in the order asked for */
        auto_free char *url = ca_url("authz", id, (int)i - 1);
        json_array_append_new(authz, json_string(url));
    }
    json_put_str(j, "status", ca_order_status(o));
    json_put(j, "authorizations", authz);
    json_put_str(j, "finalize", finalize);
    json_put_str(j, "certificate", strcmp(o->status, "valid") == 0 ? certificate : NULL);
    json_put_str(j, "unknown", "member");
    answer_json(a, status, j);
}

static inline void ca_say_authz(struct test_answer *a, int id, int name)
{
    struct ca_order *o = &ca.orders[id];
    const char *value = o->names.items[name];
    auto_free char *url = ca_url("challenge", id, name);
    auto_free char *token = xasprintf("token-%d-%d", id, name);
    json_t *challenge;

    if (o->answered[name] && strcmp(o->authz[name], "pending") == 0 &&
        o->authz_polls[name]++ >= ca.authz_polls) {
        bool bad = (ca.bad_name && strcmp(value, ca.bad_name) == 0) ||
                   (ca.bad_name_2 && strcmp(value, ca.bad_name_2) == 0);
        ca_set(o->authz[name], bad ? "invalid" : "valid");
    }
    challenge = json_pack("{s:s,s:s,s:s,s:s}", "type", "test-01", "status", o->authz[name], "url",
                          url, "token", token);
    if (strcmp(o->authz[name], "invalid") == 0)
        json_put(
            challenge, "error",
            json_pack("{s:s,s:s}", "type", ACME_ERROR_URN "connection", "detail", "no answer"));
    answer_json(a, 200,
                json_pack("{s:s,s:{s:s,s:s},s:[{s:s},o]}", "status", o->authz[name], "identifier",
                          "type", "dns", "value", value, "challenges", "type", "persist-01",
                          challenge));
}

static inline void ca_new_order(const struct test_query *q, struct test_answer *a)
{
    int id = ca.n_orders++;
    struct ca_order *o = &ca.orders[id];
    const json_t *identifiers = json_get(q->json, "identifiers");
    auto_free char *url = ca_url("order", id, 0);

    assert_true(ca.n_orders <= CA_ORDERS_MAX);
    json_decref(ca.last_order);
    ca.last_order = json_incref(q->json);
    for (size_t i = 0; i < json_array_size(identifiers); i++) {
        strv_add(&o->names, json_str(json_array_get(identifiers, i), "value"));
        ca_set(o->authz[i], ca.reuse ? "valid" : "pending");
    }
    ca_say_order(a, 201, id);
    answer_header(a, "location", url);
}

static inline void ca_say_certificate(struct test_answer *a, const struct ca_order *o)
{
    auto_free char *names = strv_join(&o->names, ",DNS:");
    auto_free char *san = xasprintf("DNS:%s", names);
    struct cert *leaf = test_leaf(&ca.pki, (struct test_spec){
                                               .names = ca.leaf_names ? ca.leaf_names : san,
                                               .key = ca.leaf_key,
                                           });
    auto_chain struct chain *chain = test_chain(&ca.pki, leaf);
    auto_free char *pem = chain_to_pem(chain, 0);

    answer_text(a, 200, ca.type ? ca.type : "application/pem-certificate-chain", pem);
}

static inline void ca_account(const struct test_query *q, struct test_answer *a)
{
    bool lookup = json_bool(q->json, "onlyReturnExisting");

    assert_non_null(json_get(q->header, "jwk"));
    ca.accounts += !lookup;
    ca.lookups += lookup;
    if (lookup && !ca.account_known) {
        answer_problem(a, 400, "accountDoesNotExist", "who?");
        return;
    }
    json_decref(ca.last_account);
    ca.last_account = json_incref(q->json);
    answer_json(a, ca.account_known ? 200 : 201, json_pack("{s:s}", "status", "valid"));
    answer_header(a, "location", CA_BASE "/account/1");
    ca.account_known = true;
}

static inline void ca_serve_order(const char *operation, const struct test_query *q,
                                  struct test_answer *a, int id, int name)
{
    struct ca_order *o = &ca.orders[id];

    if (strcmp(operation, "order") == 0) {
        ca.order_reads++;
        ca_say_order(a, 200, id);
    } else if (strcmp(operation, "authz") == 0 && *q->payload) {
        assert_string_equal(q->payload, "{\"status\":\"deactivated\"}");
        ca_set(o->authz[name], "deactivated");
        ca.deactivated++;
        ca_say_authz(a, id, name);
    } else if (strcmp(operation, "authz") == 0) {
        ca.reads++;
        ca_say_authz(a, id, name);
    } else if (strcmp(operation, "challenge") == 0) {
        assert_string_equal(q->payload, "{}");
        assert_true(ca.saved);
        ca.answers++;
        o->answered[name] = true;
        answer_json(a, 200, json_pack("{s:s}", "status", "processing"));
    } else if (strcmp(operation, "finalize") == 0 && strcmp(ca_order_status(o), "ready") != 0) {
        answer_problem(a, 403, "orderNotReady", "not yet");
    } else if (strcmp(operation, "finalize") == 0) {
        ca.finalizes++;
        ca_set(o->status, "processing");
        o->polls = 0;
        ca_say_order(a, 200, id);
    } else {
        assert_string_equal(operation, "certificate");
        assert_string_equal(q->accept, "application/pem-certificate-chain");
        ca.downloads++;
        ca_say_certificate(a, o);
    }
}

/* "https://ca.example/authz/1/2" -> "authz", 1, 2 */
static inline void ca_parse(const char *url, char *operation, int *id, int *name)
{
    int n = sscanf(url, CA_BASE "/%31[a-z-]/%d/%d", operation, id, name);

    assert_true(n == 1 || n == 3);
    assert_true(n == 1 || (*id >= 0 && *id < ca.n_orders && *name >= 0));
}

static inline void ca_add_nonce(struct test_answer *a)
{
    auto_free char *nonce = xasprintf("nonce-%u", ++ca.nonces);

    answer_header(a, "replay-nonce", nonce);
}

static inline bool ca_rejects_nonce(void)
{
    ca.random = ca.random * 1103515245u + 12345u;
    return (int)((ca.random >> 16) % 100) < ca.reject_percent;
}

static inline void ca_say_directory(struct test_answer *a)
{
    json_t *j = json_pack("{s:s,s:s,s:s}", "newNonce", CA_BASE "/nonce", "newAccount",
                          CA_BASE "/new-account", "newOrder", CA_BASE "/new-order");

    if (ca.ari)
        json_put_str(j, "renewalInfo", CA_BASE "/ari");
    if (ca.meta)
        json_put(j, "meta", json_parse(ca.meta, strlen(ca.meta), NULL));
    answer_json(a, 200, j);
}

static inline void ca_on_query(const struct test_query *q, struct test_answer *a, void *userdata)
{
    char operation[32] = "";
    int id = 0, name = 0;

    (void)userdata;
    ca_parse(q->url, operation, &id, &name);
    if (q->header && ca_rejects_nonce()) {
        answer_problem(a, 400, "badNonce", "stale");
    } else if (ca.override && ca.override(operation, q, a)) {
        /* done */
    } else if (strcmp(operation, "directory") == 0) {
        ca_say_directory(a);
    } else if (strcmp(operation, "nonce") == 0) {
        a->status = 200;
    } else if (strcmp(operation, "new-account") == 0) {
        ca_account(q, a);
    } else if (!ca.account_known) {
        answer_problem(a, 400, "accountDoesNotExist", "who?");
    } else if (strcmp(operation, "new-order") == 0) {
        ca.new_orders++;
        ca_new_order(q, a);
    } else {
        ca_serve_order(operation, q, a, id, name);
    }
    if (strcmp(operation, "directory") != 0)
        ca_add_nonce(a);
    if (ca.lose_once && strcmp(ca.lose_once, operation) == 0) {
        ca.lose_once = NULL;
        a->lost = true;
    }
}

static inline void ca_start(struct loop *loop)
{
    memset(&ca, 0, sizeof(ca));
    test_pki_make(&ca.pki);
    ca.leaf_key = test_key();
    ca.account_known = true;
    ca.random = 42;
    test_http.loop = loop;
    test_http.fn = ca_on_query;
}

static inline void ca_stop(void)
{
    for (int i = 0; i < ca.n_orders; i++)
        strv_done(&ca.orders[i].names);
    json_decref(ca.last_order);
    json_decref(ca.last_account);
    key_unref(ca.leaf_key);
    test_pki_done(&ca.pki);
}
