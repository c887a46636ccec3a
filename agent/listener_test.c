#include "agent/listener.h"

#include <errno.h>
#include <string.h>

#include "agent/manager_fake.h"
#include "base/httpd.h"

/* Takes the place of base/httpd: no sockets, requests are calls. */
struct httpd {
    struct strv listen;
    httpd_fn *fn;
    void *userdata;
};

static struct httpd *servers[4];
static size_t n_servers;
static const char *busy; /* an address that is taken */
static unsigned refused;
static struct loop *loop;

struct httpd *httpd_new(struct loop *l, const struct strv *listen, const int *sockets,
                        size_t n_sockets, unsigned connections_max, httpd_fn *fn, void *userdata,
                        struct err **err)
{
    (void)sockets;
    assert_ptr_equal(l, loop);
    assert_int_equal(n_sockets, 0);
    assert_in_range(connections_max, 1, 100);
    if (busy && strv_has(listen, busy)) {
        err_set_errno(err, EADDRINUSE, "%s", busy);
        if (++refused == 2)
            loop_exit(loop, 0);
        return NULL;
    }
    struct httpd *h = xcalloc(1, sizeof *h);
    strv_copy(&h->listen, listen);
    h->fn = fn;
    h->userdata = userdata;
    servers[n_servers++] = h;
    return h;
}

void httpd_free(struct httpd *h)
{
    if (!h)
        return;
    strv_done(&h->listen);
    free(h);
}

bool httpd_listen_check(const char *listen, struct err **err)
{
    (void)listen;
    (void)err;
    return true;
}

size_t httpd_activated(const char *name, int *ret_sockets, size_t max)
{
    (void)name;
    (void)ret_sockets;
    (void)max;
    return 0;
}

size_t httpd_activated_at(const struct strv *listen, int *ret_sockets, size_t max)
{
    (void)listen;
    (void)ret_sockets;
    (void)max;
    return 0;
}

static int start(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    return loop ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static struct listener *listen_at(struct manager *m, const char *first, const char *second)
{
    n_servers = refused = 0;
    m->services.loop = loop;
    strv_add(&m->config.listen, first);
    if (second)
        strv_add(&m->config.listen, second);
    return listener_new(m);
}

static void end(struct listener *l, struct manager *m)
{
    listener_free(l);
    strv_done(&m->config.listen);
    fake_manager_done(m);
}

/* The status; the body goes to *ret_body, the type must be as expected. */
static unsigned get(const char *path, const char *accept, const char *type, char **ret_body)
{
    struct httpd_request request = {.path = path, .accept = accept};
    struct httpd_reply reply = {0};

    servers[0]->fn(&request, &reply, servers[0]->userdata);
    assert_string_equal(reply.type, type);
    assert_int_equal(reply.body_len, strlen(reply.body));
    set_string(ret_body, reply.body);
    return reply.status;
}

#define PLAIN "text/plain; charset=utf-8"

static void answers_exactly_its_paths(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",        "/status/", "/statusx", "/metrics/x", "/../status",    "/STATUS",
        "/page/0", "/page/2",  "/page/x",  "*",          "/certificate/", "/certificate/no"};
    struct manager m;
    auto_free char *body = NULL;

    fake_manager_init(&m, 1);
    struct listener *l = listen_at(&m, "127.0.0.1:9402", NULL);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(get(others[i], NULL, PLAIN, &body), 404);
    assert_int_equal(get("/healthz", NULL, PLAIN, &body), 200);
    assert_int_equal(get("/", NULL, "text/html; charset=utf-8", &body), 200);
    assert_int_equal(get("/certificate/c0", NULL, "text/html; charset=utf-8", &body), 200);
    assert_int_equal(get("/status", NULL, "application/json", &body), 200);
    auto_json json_t *j = json_parse(body, strlen(body), NULL);
    assert_string_equal(json_str(j, "schema"), "everleaf.status/1");
    assert_true(json_bool(json_get(j, "agent"), "running"));
    end(l, &m);
}

static void speaks_both_formats_of_metrics(void **state)
{
    (void)state;
    struct manager m;
    auto_free char *body = NULL;

    fake_manager_init(&m, 1);
    struct listener *l = listen_at(&m, "127.0.0.1:9402", NULL);
    assert_int_equal(get("/metrics", "*/*", "text/plain; version=0.0.4; charset=utf-8", &body),
                     200);
    assert_null(strstr(body, "# EOF"));
    assert_int_equal(get("/metrics", "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
                         "application/openmetrics-text; version=1.0.0; charset=utf-8", &body),
                     200);
    assert_non_null(strstr(body, "\n# EOF\n"));
    end(l, &m);
}

static void is_ready_once_every_certificate_is_live(void **state)
{
    (void)state;
    struct manager m;
    struct test_pki pki;
    auto_free char *body = NULL;

    test_pki_make(&pki);
    auto_chain struct chain *chain = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    fake_manager_init(&m, 3);
    struct listener *l = listen_at(&m, "127.0.0.1:9402", NULL);
    fake_manager_live(&m.certificates[1], 1, chain);
    assert_int_equal(get("/readyz", NULL, PLAIN, &body), 503);
    assert_string_equal(body, "no live certificate: c0 c2\n");
    fake_manager_live(&m.certificates[0], 1, chain);
    fake_manager_live(&m.certificates[2], 1, chain);
    assert_int_equal(get("/readyz", NULL, PLAIN, &body), 200);
    end(l, &m);
    test_pki_done(&pki);
}

static void a_taken_address_is_tried_again_and_keeps_no_other_away(void **state)
{
    (void)state;
    struct manager m;

    fake_manager_init(&m, 0);
    busy = "127.0.0.1:1";
    struct listener *l = listen_at(&m, busy, "127.0.0.1:2");
    assert_int_equal(n_servers, 1);
    assert_string_equal(servers[0]->listen.items[0], "127.0.0.1:2");
    assert_int_equal(loop_run(loop), 0); /* until it is refused again */
    assert_int_equal(refused, 2);
    busy = NULL;
    end(l, &m);
}

static void without_addresses_it_is_off(void **state)
{
    (void)state;
    struct manager m;

    n_servers = 0;
    fake_manager_init(&m, 0);
    struct listener *l = listener_new(&m);
    assert_int_equal(n_servers, 0);
    end(l, &m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_exactly_its_paths),
        cmocka_unit_test(speaks_both_formats_of_metrics),
        cmocka_unit_test(is_ready_once_every_certificate_is_live),
        cmocka_unit_test(a_taken_address_is_tried_again_and_keeps_no_other_away),
        cmocka_unit_test(without_addresses_it_is_off),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
