#include "agent/config.h"

#include "agent/config_test_support.h"
#include "base/clock.h"
#include "pki/starttls.h"

#define ISSUER    "issuers: {letsencrypt: {contact: ops@example.org, terms_agreed: true}}\n"
#define WWW(more) ISSUER "certificates: {www: {names: [www.example.org]" more "}}\n"

static void the_smallest_file_means_all_the_rest(void **state)
{
    struct config *c = place_load_good(
        *state, "issuers:\n"
                "  letsencrypt: {contact: ops@example.org, terms_agreed: true}\n"
                "certificates:\n"
                "  www: {names: [www.example.org, example.org], servers: [nginx]}\n");
    const struct config_certificate *www = config_find(c, "www");
    const struct config_server *nginx = www->servers[0];

    assert_string_equal(c->issuers[0]->directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_string_equal(c->issuers[0]->contact.items[0], "mailto:ops@example.org");
    assert_ptr_equal(www->issuer, c->issuers[0]);
    assert_string_equal(www->solver->type->acme, "http-01");
    assert_int_equal(www->names.n, 2);
    assert_int_equal(www->key_type, KEY_ECDSA_P256);
    assert_false(www->renew_explicit);
    assert_int_equal(www->n_outputs, 0);
    assert_string_equal(nginx->server.type->name, "nginx");
    assert_string_equal(nginx->server.name, "nginx");
    assert_int_equal(nginx->server.timeout_s, 30);
    assert_true(nginx->prove_default);
    assert_string_equal(nginx->prove[0].connect, "127.0.0.1:443");
    assert_int_equal(nginx->prove[0].deadline_s, 30);
    assert_int_equal(nginx->prove[0].matches, 1);
    assert_string_equal(c->state_dir, "/var/lib/everleaf");
    assert_string_equal(c->control, "/run/everleaf/control.sock");
    assert_int_equal(c->listen.n, 1);
    assert_string_equal(c->listen.items[0], "127.0.0.1:9402");
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
    assert_int_equal(c->log_format, LOG_FORMAT_AUTO);
    assert_int_equal(c->concurrency, 16);
    assert_int_equal(c->http_timeout_s, 30);
    config_unref(c);
}

static void check_issuers(const struct config *c, const char *ca)
{
    const struct config_issuer *ca_issuer = c->issuers[0];

    assert_int_equal(c->n_issuers, 2);
    assert_string_equal(ca_issuer->directory, "https://ca.example.org:14000/dir");
    assert_string_equal(ca_issuer->contact.items[1], "mailto:b@example.org");
    assert_true(ca_issuer->terms_agreed);
    assert_string_equal(ca_issuer->profile, "shortlived");
    assert_true(ca_issuer->profile_required);
    assert_string_equal(ca_issuer->preferred_chain, "Some Root");
    assert_string_equal(ca_issuer->ca_file, ca);
    assert_string_equal(ca_issuer->eab_kid, "me");
    assert_int_equal(ca_issuer->eab_hmac->len, 13);
    assert_memory_equal(ca_issuer->eab_hmac->data, "secret-secret", 13);
    assert_int_equal(ca_issuer->limits.orders.count, 300);
    assert_int_equal(ca_issuer->limits.orders.period_s, 10800);
    assert_int_equal(ca_issuer->limits.requests.count, 20);
    assert_int_equal(ca_issuer->limits.certificates.period_s, 604800);
    assert_int_equal(c->issuers[1]->limits.orders.count, 0);
    assert_string_equal(c->issuers[1]->directory, "https://acme.zerossl.com/v2/DV90");
    assert_false(c->issuers[1]->terms_agreed);
}

static void check_servers(const struct config *c, const char *ca)
{
    const struct config_server *front = c->servers[0], *quiet = c->servers[1];

    assert_string_equal(front->server.check.items[1], "-v");
    assert_int_equal(front->server.timeout_s, 5);
    assert_int_equal(front->n_prove, 2);
    assert_false(front->prove_default);
    assert_string_equal(front->prove[0].sni.items[0], "a.example.org");
    assert_string_equal(front->prove[0].sni.items[1], "web");
    assert_int_equal(front->prove[0].matches, 2);
    assert_int_equal(front->prove[0].deadline_s, 60);
    assert_true(front->prove[0].addresses_any);
    assert_string_equal(front->prove[0].trust_file, ca);
    assert_true(front->prove[1].trust_system);
    assert_false(front->prove[1].addresses_any);
    assert_true(quiet->server.check_off);
    assert_true(quiet->prove_off);
    assert_int_equal(quiet->n_prove, 0);
}

static void check_certificates(const struct config *c)
{
    const struct config_certificate *www = config_find(c, "www");

    assert_string_equal(www->names.items[0], "xn--bcher-kva.example");
    assert_string_equal(www->names.items[1], "2001:db8::1");
    assert_string_equal(www->names.items[2], "www.example.org");
    assert_int_equal(www->key_type, KEY_RSA_3072);
    assert_true(www->key_reuse);
    assert_true(www->renew_explicit);
    assert_true(www->renew_share > 0.399 && www->renew_share < 0.401);
    assert_true(www->must_staple);
    assert_int_equal(www->n_outputs, 2);
    assert_string_equal(www->outputs[0].path, "/srv/tls/www");
    assert_string_equal(www->outputs[1].path, "/srv/tls/www.pem");
    assert_int_equal(www->n_servers, 2);
    assert_ptr_equal(www->servers[1], c->servers[1]);
    assert_non_null(strstr(www->where, "everleaf.yaml:33:3"));
    assert_int_equal(config_find(c, "short")->renew_before_s, 36 * 3600);
    assert_null(config_find(c, "absent"));
}

static void reads_every_key(void **state)
{
    struct place *p = *state;
    auto_free char *ca = place_write(p, "ca.pem", "-----BEGIN CERTIFICATE-----\n");
    auto_free char *mac = place_write(p, "mac", "c2VjcmV0LXNlY3JldA\n");
    auto_free char *text =
        xasprintf("agent:\n"
                  "  state_dir: /srv/everleaf/\n"
                  "  listen: [\"127.0.0.1:9402\", \"unix:/run/x.sock\"]\n"
                  "  control: /run/c.sock\n"
                  "  log: {level: debug, format: json}\n"
                  "  concurrency: 4\n"
                  "  http_timeout: 1m30s\n"
                  "issuers:\n"
                  "  ca:\n"
                  "    directory: https://ca.example.org:14000/dir\n"
                  "    contact: [mailto:a@example.org, b@example.org]\n"
                  "    terms_agreed: true\n"
                  "    profile: shortlived\n"
                  "    profile_required: true\n"
                  "    preferred_chain: Some Root\n"
                  "    ca_file: %s\n"
                  "    eab: {kid: me, hmac: {file: %s}}\n"
                  "    limits: {orders: 300/3h, requests: 20/s, certificates: 50/7d}\n"
                  "  zerossl: {}\n"
                  "challenges:\n"
                  "  web: {type: http-01, listen: \":5002\"}\n"
                  "servers:\n"
                  "  front:\n"
                  "    type: nginx\n"
                  "    check: [/bin/check, -v]\n"
                  "    timeout: 5s\n"
                  "    prove:\n"
                  "      - {connect: \"[::1]:8443\", certificates: [www], sni: [A.example.org, "
                  "web], matches: 2,\n"
                  "         deadline: 1m, addresses: any, trust: {file: %s}}\n"
                  "      - {connect: unix:/run/tls.sock, trust: system}\n"
                  "  quiet: {type: exec, reload: [/bin/reload, now], check: off, prove: off}\n"
                  "certificates:\n"
                  "  www:\n"
                  "    names: [\"*.B\xc3\xbc"
                  "cher.example\", 2001:DB8::1, Www.Example.org]\n"
                  "    issuer: ca\n"
                  "    challenge: web\n"
                  "    key: {type: rsa-3072, reuse: true}\n"
                  "    renew: {before: 2/5}\n"
                  "    ocsp: {must_staple: true}\n"
                  "    outputs:\n"
                  "      - {type: files, dir: /srv/tls/www}\n"
                  "      - {type: combined, path: /srv/tls/www.pem}\n"
                  "    servers: [front, quiet]\n"
                  "  short: {names: short.example.org, issuer: zerossl, renew: {before: 36h}}\n",
                  ca, mac, ca);

    chmod(mac, 0600);
    /* The wildcard is for what a DNS challenge can do. */
    assert_null(place_load(p, text));
    assert_int_equal(p->problems.errors, 1);
    assert_non_null(place_problem(p, 34, "*.xn--bcher-kva.example is a wildcard"));

    char *star = strstr(text, "*.B");
    memmove(star, star + 2, strlen(star + 2) + 1);
    struct config *c = place_load_good(p, text);

    assert_string_equal(c->state_dir, "/srv/everleaf");
    assert_string_equal(c->control, "/run/c.sock");
    assert_int_equal(c->listen.n, 2);
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->log_format, LOG_FORMAT_JSON);
    assert_int_equal(c->concurrency, 4);
    assert_int_equal(c->http_timeout_s, 90);
    check_issuers(c, ca);
    check_servers(c, ca);
    check_certificates(c);
    config_unref(c);
}

static void systemd_says_where_to_keep_things(void **state)
{
    setenv("STATE_DIRECTORY", "/srv/state:/srv/more", 1);
    setenv("RUNTIME_DIRECTORY", "/run/mine", 1);
    struct config *c = place_load_good(*state, "");
    assert_string_equal(c->state_dir, "/srv/state");
    assert_string_equal(c->control, "/run/mine/control.sock");
    config_unref(c);
    c = place_load_good(*state, "agent: {state_dir: /a, control: /b}\n");
    assert_string_equal(c->state_dir, "/a");
    assert_string_equal(c->control, "/b");
    config_unref(c);
}

static void works_without_certificates(void **state)
{
    struct config *c = place_load_good(*state, ISSUER "agent: {listen: off}\nservers:\n");

    assert_int_equal(c->n_certificates, 0);
    assert_int_equal(c->listen.n, 0);
    config_unref(c);
}

static void is_shared_by_references(void **state)
{
    struct config *c = place_load_good(*state, ISSUER);

    assert_ptr_equal(config_ref(c), c);
    config_unref(c);
    assert_string_equal(c->issuers[0]->name, "letsencrypt");
    config_unref(c);
    config_unref(NULL);
}

static void chooses_challenges(void **state)
{
    struct config *c = place_load_good(*state, WWW("") "challenges: {x: {type: http-01, listen: "
                                                       "\":81\"}}\n");

    assert_string_equal(config_find(c, "www")->solver->name, "x");
    config_unref(c);
    /* Several: none of them is meant. */
    c = place_load_good(*state, WWW("") "challenges: {x: {type: http-01, listen: \":81\"}, "
                                        "http-01: {listen: \":82\"}}\n");
    assert_null(config_find(c, "www")->solver->where);
    assert_int_equal(c->n_solvers, 3);
    config_unref(c);
}

static void one_implied_server_serves_all(void **state)
{
    struct config *c = place_load_good(
        *state, ISSUER "certificates:\n  a: {names: a.example.org, servers: nginx}\n"
                       "  b: {names: b.example.org, servers: [nginx]}\n");

    assert_int_equal(c->n_servers, 1);
    assert_int_equal(c->n_solvers, 1);
    assert_ptr_equal(config_find(c, "a")->servers[0], config_find(c, "b")->servers[0]);
    config_unref(c);
}

static void endpoints_know_what_is_spoken_before_tls(void **state)
{
    struct config *c = place_load_good(
        *state, ISSUER "servers:\n  nginx: {}\n  postfix: {}\n  postgresql: {}\n"
                       "  mail: {type: postfix, prove: [{connect: \"a:25\", starttls: smtp}, "
                       "{connect: \"a:465\"}]}\n");
    static const struct {
        size_t server, endpoint;
        const char *connect;
        enum starttls starttls;
    } expected[] = {
        {0, 0, "127.0.0.1:443", STARTTLS_OFF},
        {1, 0, "127.0.0.1:25", STARTTLS_SMTP},
        {2, 0, "127.0.0.1:5432", STARTTLS_POSTGRES},
        {3, 0, "a:25", STARTTLS_SMTP},
        {3, 1, "a:465", STARTTLS_OFF},
    };

    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        const struct config_endpoint *e =
            &c->servers[expected[i].server]->prove[expected[i].endpoint];

        assert_string_equal(e->connect, expected[i].connect);
        assert_int_equal(e->starttls, expected[i].starttls);
    }
    config_unref(c);
    for (size_t i = 0; server_type_all[i]; i++) {
        const char *name = server_type_all[i]->default_starttls;
        enum starttls starttls;

        assert_true(!name ||
                    (server_type_all[i]->default_prove && starttls_parse(name, &starttls)));
    }
}

static void endpoints_ask_for_the_right_name(void **state)
{
    static const char *const cases[][2] = {
        {"[b.example.org, a.example.org]", "b.example.org"},
        {"[192.0.2.7, a.example.org]", "a.example.org"},
        {"[192.0.2.7, '2001:db8::7']", ""},
    };
    struct config_endpoint e = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *text = xasprintf(ISSUER "certificates: {www: {names: %s}}\n", cases[i][0]);
        struct config *c = place_load_good(*state, text);
        auto_strv struct strv sni = {0};

        config_endpoint_sni(&e, c->certificates[0], &sni);
        assert_int_equal(sni.n, 1);
        assert_string_equal(sni.items[0], cases[i][1]);
        config_unref(c);
    }
    struct config_certificate wildcard = {0};
    auto_strv struct strv sni = {0};

    strv_add(&wildcard.names, "*.example.org");
    config_endpoint_sni(&e, &wildcard, &sni);
    assert_string_equal(sni.items[0], "everleaf-probe.example.org");
    strv_add(&e.sni, "one");
    strv_add(&e.sni, "two");
    config_endpoint_sni(&e, &wildcard, &sni);
    assert_int_equal(sni.n, 2);
    assert_string_equal(sni.items[1], "two");
    strv_done(&e.sni);
    strv_done(&wildcard.names);
}

static const struct {
    const char *text;
    int line;
    const char *part, *suggestion;
} bad[] = {
    {"- a\n", 1, "expected a map of sections", NULL},
    {"nonsense\n", 1, "expected a map of sections", NULL},
    {"certificate: {}\n", 1, "unknown section", "certificates"},
    {"issuers: [a]\n", 1, "expected a map {NAME", NULL},
    {"agent: [a]\n", 1, "expected a map", NULL},
    {"agent: {ocsp_listen: nowhere}\n", 1, "nowhere", NULL},
    {"agent: {listen: nonsense}\n", 1, "nonsense", NULL},
    {"agent: {listen: [\":99999\"]}\n", 1, "99999", NULL},
    {"agent: {listen: {}}\n", 1, "this is a map", NULL},
    {"agent: {state_dir: var/lib}\n", 1, "absolute path", NULL},
    {"agent: {log: {level: loud}}\n", 1, "debug, info, warning or error", NULL},
    {"agent: {http_timeout: 0s}\n", 1, "from 1s", NULL},
    {"issuers: {x: {}}\n", 1, "\"directory\" is missing", NULL},
    {"issuers: {letsencript: {}}\n", 1, "\"directory\" is missing", "letsencrypt"},
    {"issuers: {x: {directory: letsencrypt-stagin}}\n", 1, "short name", "letsencrypt-staging"},
    {"issuers: {x: {directory: \"http://a/d\"}}\n", 1, "must be an https URL", NULL},
    {"issuers: {x: {directory: \"ftp://a/d\"}}\n", 1, "must be an https URL", NULL},
    {"issuers: {x: {directory: \"https://\"}}\n", 1, "directory", NULL},
    {"issuers: {x: {directory: \"https://u:p@a/d\"}}\n", 1, "directory", NULL},
    {"issuers: {zerossl: {contact: nobody}}\n", 1, "e-mail", NULL},
    {"issuers: {zerossl: {contact: [\"a@b?subject=x\"]}}\n", 1, "e-mail", NULL},
    {"issuers: {zerossl: {profile_required: true}}\n", 1, "needs \"profile\"", NULL},
    {"issuers: {zerossl: {ca_file: /nonexistent/ca.pem}}\n", 1, "/nonexistent/ca.pem", NULL},
    {"issuers: {zerossl: {ca_file: /etc/hostname}}\n", 1, "no certificate (PEM)", NULL},
    {"issuers: {zerossl: {proxy: proxy.example.org}}\n", 1, "no URL of a proxy", NULL},
    {"issuers: {zerossl: {proxy: \"http://u:p@proxy\"}}\n", 1, "password", NULL},
    {"issuers: {zerossl: {eab: {kid: a}}}\n", 1, "\"hmac\" is missing", NULL},
    {"issuers: {zerossl: {limits: {orders: 300}}}\n", 1, "such as 300/3h", NULL},
    {"issuers: {zerossl: {limits: {orders: 0/3h}}}\n", 1, "such as 300/3h", NULL},
    {"issuers: {zerossl: {limits: {order: 1/h}}}\n", 1, "unknown key", "orders"},
    {"issuers: {zerossl: {limits: 300/3h}}\n", 1, "expected a map", NULL},
    {"issuers: {zerossl: {fallback: [a]}}\n", 1, "unknown key", NULL},
    {"issuers: {\"a/b\": {directory: zerossl}}\n", 1, "the name of an issuer", NULL},
    {"challenges: {x: {}}\n", 1, "\"type\" is missing", NULL},
    {"challenges: {x: {type: [a]}}\n", 1, "expected the name of a type", NULL},
    {"challenges: {x: {type: http-1}}\n", 1, "no challenge type", "http-01"},
    {"challenges: {x: http-01}\n", 1, "expected a map", NULL},
    {"servers: {x: {type: ngnix}}\n", 1, "no server type", "nginx"},
    {"servers: {x: {type: exec}}\n", 1, "\"reload\" is missing", NULL},
    {"servers: {nginx: {prove: []}}\n", 1, "expected a list of endpoints", NULL},
    {"servers: {nginx: {prove: [\"127.0.0.1:443\"]}}\n", 1, "expected a map", NULL},
    {"servers: {nginx: {prove: [{}]}}\n", 1, "\"connect\" is missing", NULL},
    {"servers: {nginx: {prove: [{connect: \"a\"}]}}\n", 1, "port", NULL},
    {"servers: {nginx: {prove: [{connect: \"a:1\", starttls: smtps}]}}\n", 1, "off, smtp", "smtp"},
    {"servers: {nginx: {prove: [{connect: \"a:1\", matches: 0}]}}\n", 1, "from 1 to 100", NULL},
    {"servers: {nginx: {prove: [{connect: \"a:1\", addresses: every}]}}\n", 1, "all or any", NULL},
    {"servers: {nginx: {prove: [{connect: \"a:1\", trust: on}]}}\n", 1, "system or {file", NULL},
    {"servers: {nginx: {prove: [{connect: \"a:1\", trust: {file: /x}}]}}\n", 1, "/x", NULL},
    {"servers: {nginx: {prove: [{connect: \"a:1\", sni: 192.0.2.1}]}}\n", 1, "address", NULL},
    {"servers: {nginx: {prove: [{connect: \"a:1\", sni: \"a b.c\"}]}}\n", 1, "host name", NULL},
    {"servers: {nginx: {prove: [{connect: \"a:1\", certificates: [x]}]}}\n", 1,
     "no certificate \"x\"", NULL},
    {"servers: {nginx: {check: nginx -t}}\n", 1, "expected a list", "[nginx, -t]"},
    {"certificates: {www: {names: [a.example.org]}}\n", 1, "no section `issuers`", NULL},
    {WWW(", issuer: letsencrpt"), 2, "no issuer \"letsencrpt\"", "letsencrypt"},
    {WWW(", challenge: web"), 2, "no challenge \"web\"", NULL},
    {WWW(", servers: [ngnix]"), 2, "no server \"ngnix\"", "nginx"},
    {WWW(", servers: [exec]"), 2, "must be defined", NULL},
    {WWW(", servers: [nginx, nginx]"), 2, "twice", NULL},
    {WWW(", servers: [{}]"), 2, "name of a server", NULL},
    {WWW(", key: {type: [rsa-2048]}"), 2, "ecdsa-p256", NULL},
    {WWW(", key: {type: rsa-1024}"), 2, "rsa-2048", NULL},
    {WWW(", renew: {before: 3/2}"), 2, "between 0 and 1", NULL},
    {WWW(", renew: {before: 0/3}"), 2, "between 0 and 1", NULL},
    {WWW(", renew: {before: 1/}"), 2, "between 0 and 1", NULL},
    {WWW(", renew: {before: 1/-3}"), 2, "between 0 and 1", NULL},
    {WWW(", renew: {before: 1/3/2}"), 2, "between 0 and 1", NULL},
    {WWW(", renew: {before: 99999999999999999999/3}"), 2, "between 0 and 1", NULL},
    {WWW(", renew: {before: 30}"), 2, "expected a duration", "30s"},
    {WWW(", renew: {before: 2000d}"), 2, "expected a duration", NULL},
    {WWW(", ocsp: {hash: md5}"), 2, "md5", NULL},
    {WWW(", watch: {}"), 2, "unknown key", NULL},
    {WWW(", outputs: {}"), 2, "expected a list", NULL},
    {WWW(", outputs: [a]"), 2, "expected a map", NULL},
    {WWW(", outputs: [{dir: /x}]"), 2, "\"type\" is missing", NULL},
    {WWW(", outputs: [{type: filez, dir: /x}]"), 2, "no output type", "files"},
    {WWW(", outputs: [{type: files, dir: /x, key_mode: 4644}]"), 2, "permission bits", NULL},
    {WWW(", outputs: [{type: files, dir: /var/lib/everleaf/live/www}]"), 2, "keeps its state",
     NULL},
    {WWW(", outputs: [{type: files, dir: /var/lib/everleaf}]"), 2, "keeps its state", NULL},
    {WWW(", outputs: [{type: files, dir: /x}, {type: files, dir: /x}]"), 2, "/x is written by",
     NULL},
    {ISSUER "certificates: {\"../x\": {names: a.example.org}}\n", 2, "the name of a certificate",
     NULL},
    {ISSUER "certificates: {\"\": {names: a.example.org}}\n", 2, "the name of a certificate", NULL},
    {ISSUER "certificates: {www: }\n", 2, "\"names\" is missing", NULL},
    {ISSUER "certificates: {www: {names: []}}\n", 2, "1 to 1000 names", NULL},
    {ISSUER "certificates: {www: {names: {}}}\n", 2, "expected a name", NULL},
    {ISSUER "certificates: {www: {names: [a.example.org, A.example.org.]}}\n", 2, "twice", NULL},
    {ISSUER "certificates: {www: {names: [a..example.org]}}\n", 2, "empty label", NULL},
    {ISSUER "certificates: {www: {names: [\"*.example.org\"]}}\n", 2, "is a wildcard", NULL},
    {ISSUER "certificates: {www: {names: [*.example.org]}}\n", 2, "in quotes", "'*.example.org'"},
    {ISSUER "monitor: {}\n", 2, "unknown section", NULL},
};

static void refuses_with_place_and_suggestion(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const struct problem *p = place_refuses(*state, bad[i].text, bad[i].line, bad[i].part);

        assert_true(p->column > 0);
        assert_non_null(p->source);
        if (bad[i].suggestion && (!p->suggestion || strcmp(bad[i].suggestion, p->suggestion) != 0))
            fail_msg("%s: suggests %s", bad[i].text, p->suggestion);
    }
}

static void two_issuers_have_no_default(void **state)
{
    place_refuses(*state,
                  "issuers: {zerossl: {}, google: {}}\n"
                  "certificates: {www: {names: a.example.org}}\n",
                  2, "\"issuer\" is missing");
}

static void reports_all_errors_in_one_run(void **state)
{
    struct place *p = *state;

    assert_null(place_load(p, "agent: {concurrency: none}\n"
                              "issuers: {x: {directory: y}}\n"
                              "challenges: {x: {type: y}}\n"
                              "servers: {x: {type: y}}\n"
                              "certificates:\n"
                              "  a: {names: [a], issuer: y, challenge: y, servers: [y]}\n"
                              "  b: {names: [b.example.org], colour: red}\n"));
    for (int line = 1; line <= 7; line++) {
        if (line != 5 && !place_problem(p, line, ""))
            fail_msg("nothing about line %d", line);
    }
    assert_int_equal(p->problems.errors, 9);
    for (size_t i = 1; i < p->problems.n; i++)
        assert_true(p->problems.items[i - 1].line <= p->problems.items[i].line);
}

static void two_certificates_must_not_write_one_place(void **state)
{
    struct place *p = *state;
    auto_free char *text =
        xstrdup(ISSUER "certificates:\n"
                       "  a: {names: a.example.org, outputs: [{type: files, dir: /t/x}]}\n"
                       "  b: {names: b.example.org, outputs: [{type: files, dir: /t//./x/}]}\n"
                       "  c: {names: c.example.org, outputs: &o [{type: combined, path: "
                       "/t/x/privkey.pem}]}\n"
                       "  d: {names: d.example.org, outputs: *o}\n");

    assert_null(place_load(p, text));
    assert_int_equal(p->problems.errors, 3);
    assert_non_null(place_problem(p, 4, "/t/x is written by certificate \"a\""));
    assert_non_null(place_problem(p, 4, "everleaf.yaml:3:"));
    assert_non_null(place_problem(p, 5, "/t/x/privkey.pem is written by certificate \"a\""));
}

static void a_certificate_that_is_never_looked_for_is_a_warning(void **state)
{
    struct place *p = *state;
    struct config *c = place_load(
        p, WWW("") "servers: {nginx: {prove: [{connect: \"a:1\", certificates: [www]}]}}\n");

    assert_non_null(c);
    assert_int_equal(p->problems.n, 1);
    assert_true(p->problems.items[0].warning);
    config_unref(c);
}

static void refuses_files_that_others_can_change(void **state)
{
    struct place *p = *state;
    auto_free char *file = place_write(p, "everleaf.yaml", ISSUER);

    assert_int_equal(chmod(file, 0666), 0);
    assert_null(config_load(file, &p->problems));
    assert_non_null(place_problem(p, 0, "chmod o-w"));
    if (geteuid() != 0)
        return; /* only root can give files away */
    problems_done(&p->problems);
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(chown(file, 12345, 0), 0);
    assert_null(config_load(file, &p->problems));
    assert_non_null(place_problem(p, 0, "belongs to user 12345"));
}

static void refuses_what_is_no_file(void **state)
{
    struct place *p = *state;

    assert_null(config_load("/nonexistent/x.yaml", &p->problems));
    assert_null(config_load(p->folder, &p->problems));
    assert_null(config_load("/dev/zero", &p->problems));
    assert_int_equal(p->problems.errors, 3);
}

static void loads_ten_thousand_certificates_quickly(void **state)
{
    auto_buf struct buf text;

    buf_init(&text, 4 << 20);
    buf_add_str(&text, ISSUER "certificates:\n");
    for (int i = 0; i < 10000; i++)
        buf_addf(&text,
                 "  c%d: {names: [c%d.example.org], servers: [nginx], outputs: [{type: combined, "
                 "path: /t/%d.pem}]}\n",
                 i, i, i);

    int64_t start = clock_boot_ms();
    struct config *c = place_load_good(*state, text.data);

    /* 0.2 s without a sanitizer; what is quadratic takes minutes. */
    assert_true(clock_boot_ms() - start < 10000);
    assert_int_equal(c->n_certificates, 10000);
    assert_string_equal(config_find(c, "c9999")->names.items[0], "c9999.example.org");
    config_unref(c);
}

/* Whatever a file holds, there is a configuration or an error. */
static void survives_damaged_files(void **state)
{
    static const char good[] = "include: x*.yaml\nagent: {log: {level: info}, listen: off}\n"
                               "issuers: {zerossl: {eab: {kid: a, hmac: {env: HOME}}}}\n"
                               "challenges: {http-01: {listen: ':80'}}\n"
                               "servers: {nginx: {prove: [{connect: 'a:1', trust: off}]}}\n"
                               "certificates: {a: {names: [b.example.org], renew: {before: 1/3},\n"
                               " outputs: [{type: files, dir: /t}], servers: [nginx]}}\n";
    static const char octets[] = "[{}]:,'\"*&\n#/ x";
    struct place *p = *state;

    for (size_t i = 0; i + 1 < sizeof(good); i++) {
        for (size_t o = 0; o + 1 < sizeof(octets); o += 3) {
            auto_free char *text = xstrdup(good);

            text[i] = octets[(o + i) % (sizeof(octets) - 1)];
            struct config *c = place_load(p, text);
            assert_true((c != NULL) == (p->problems.errors == 0));
            config_unref(c);
        }
    }
}

static void finds_the_file(void **state)
{
    (void)state;
    setenv("EVERLEAF_CONFIG", "/a/b.yaml", 1);
    auto_free char *given = config_path("/c.yaml"), *variable = config_path(NULL);
    assert_string_equal(given, "/c.yaml");
    assert_string_equal(variable, "/a/b.yaml");
    unsetenv("EVERLEAF_CONFIG");
    unsetenv("EVERLEAF_NAMES");
    auto_free char *preset = config_path(NULL);
    assert_string_equal(preset, "/etc/everleaf/everleaf.yaml");
    if (access(preset, F_OK) == 0)
        return; /* installed here */
    setenv("EVERLEAF_NAMES", "a.example.org", 1);
    assert_null(config_path(NULL));
    unsetenv("EVERLEAF_NAMES");
}

static void the_reference_has_every_table(void **state)
{
    static const char *const parts[] = {
        "`agent`",      "`http_timeout`", "`preferred_chain`", "`type: http-01`", "`type: nginx`",
        "`type: exec`", "`type: signal`", "`connect`",         "`must_staple`",   "`before`",
        "ecdsa-p256",   "`type: files`",  "`type: combined`",  "`hmac`",          "`agent.log`",
    };
    auto_free char *text = config_reference();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!strstr(text, parts[i]))
            fail_msg("%s is not in the reference", parts[i]);
    }
}

int main(void)
{
#define PLACE_TEST(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        PLACE_TEST(the_smallest_file_means_all_the_rest),
        PLACE_TEST(reads_every_key),
        PLACE_TEST(systemd_says_where_to_keep_things),
        PLACE_TEST(works_without_certificates),
        PLACE_TEST(is_shared_by_references),
        PLACE_TEST(chooses_challenges),
        PLACE_TEST(one_implied_server_serves_all),
        PLACE_TEST(endpoints_know_what_is_spoken_before_tls),
        PLACE_TEST(endpoints_ask_for_the_right_name),
        PLACE_TEST(refuses_with_place_and_suggestion),
        PLACE_TEST(two_issuers_have_no_default),
        PLACE_TEST(reports_all_errors_in_one_run),
        PLACE_TEST(two_certificates_must_not_write_one_place),
        PLACE_TEST(a_certificate_that_is_never_looked_for_is_a_warning),
        PLACE_TEST(refuses_files_that_others_can_change),
        PLACE_TEST(refuses_what_is_no_file),
        PLACE_TEST(loads_ten_thousand_certificates_quickly),
        PLACE_TEST(survives_damaged_files),
        cmocka_unit_test(finds_the_file),
        cmocka_unit_test(the_reference_has_every_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
