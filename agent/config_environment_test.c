
#include "agent/config_test_support.h"

extern char **environ;

static int clear(void **state)
{
    if (place_make(state) != 0)
        return -1;
    for (;;) {
        char **v = environ;

        while (*v && strncmp(*v, "EVERLEAF_", 9) != 0)
            v++;
        if (!*v)
            return 0;
        auto_free char *name = xstrndup(*v, strcspn(*v, "="));
        unsetenv(name);
    }
}

static void set(const char *name, const char *value)
{
    auto_free char *whole = xasprintf("EVERLEAF_%s", name);

    setenv(whole, value, 1);
}

static struct config *read_good(struct place *p)
{
    problems_done(&p->problems);
    struct config *c = config_from_environment(&p->problems);

    place_show(p);
    assert_non_null(c);
    assert_int_equal(p->problems.n, 0);
    return c;
}

static void names_are_enough(void **state)
{
    set("NAMES", " www.example.org , example.org,,");
    struct config *c = read_good(*state);
    const struct config_certificate *www = config_find(c, "www.example.org");

    assert_string_equal(c->file, "environment");
    assert_non_null(www);
    assert_int_equal(www->names.n, 2);
    assert_string_equal(www->names.items[1], "example.org");
    assert_string_equal(www->issuer->directory, "https://acme-v02.api.letsencrypt.org/directory");
    assert_false(www->issuer->terms_agreed);
    assert_string_equal(www->solver->type->acme, "http-01");
    assert_int_equal(www->n_outputs, 0);
    assert_int_equal(www->n_servers, 0);
    assert_string_equal(c->state_dir, "/var/lib/everleaf");
    config_unref(c);
}

static void every_variable_counts(void **state)
{
    struct place *p = *state;
    auto_free char *ca = place_write(p, "ca.pem", "-----BEGIN CERTIFICATE-----\n");
    auto_free char *mac = place_write(p, "mac", "c2VjcmV0\n");

    chmod(mac, 0600);
    set("NAMES", "a.example.org");
    set("NAME", "mine");
    set("DIRECTORY", "https://ca.example.org/d");
    set("CA_FILE", ca);
    set("CONTACT", "a@example.org,b@example.org");
    set("TERMS_AGREED", "Yes");
    set("PROFILE", "short \"lived\"");
    set("KEY_TYPE", "rsa-2048");
    set("EAB_KID", "k");
    set("EAB_HMAC_FILE", mac);
    set("CHALLENGE", "http-01");
    set("HTTP_LISTEN", "127.0.0.1:5002,[::1]:5002");
    set("OUTPUT_DIR", "/out");
    set("STATE_DIR", "/state");
    set("RELOAD", "/bin/kill  -HUP\t1");
    set("PROVE", "127.0.0.1:443,[::1]:443");
    set("LISTEN", "off");
    struct config *c = read_good(p);
    const struct config_certificate *mine = config_find(c, "mine");
    const struct config_server *server = mine->servers[0];

    assert_string_equal(mine->issuer->directory, "https://ca.example.org/d");
    assert_string_equal(mine->issuer->ca_file, ca);
    assert_int_equal(mine->issuer->contact.n, 2);
    assert_true(mine->issuer->terms_agreed);
    assert_string_equal(mine->issuer->profile, "short \"lived\"");
    assert_string_equal(mine->issuer->eab_kid, "k");
    assert_memory_equal(mine->issuer->eab_hmac->data, "secret", 6);
    assert_int_equal(mine->key_type, KEY_RSA_2048);
    assert_string_equal(mine->outputs[0].path, "/out");
    assert_string_equal(c->state_dir, "/state");
    assert_int_equal(c->listen.n, 0);
    assert_string_equal(server->server.type->name, "exec");
    assert_int_equal(server->n_prove, 2);
    assert_string_equal(server->prove[1].connect, "[::1]:443");
    config_unref(c);
}

static void a_reload_may_be_a_kind_of_server(void **state)
{
    set("NAMES", "a.example.org");
    set("RELOAD", "nginx");
    struct config *c = read_good(*state);
    assert_string_equal(c->servers[0]->server.type->name, "nginx");
    assert_true(c->servers[0]->prove_default);
    config_unref(c);

    set("RELOAD", "nginx -s reload");
    c = read_good(*state);
    assert_string_equal(c->servers[0]->server.type->name, "exec");
    config_unref(c);
}

static void a_server_may_only_be_looked_at(void **state)
{
    set("NAMES", "a.example.org");
    set("PROVE", "web:443");
    struct config *c = read_good(*state);

    assert_string_equal(c->servers[0]->server.type->name, "exec");
    assert_string_equal(c->servers[0]->prove[0].connect, "web:443");
    config_unref(c);
}

static void empty_variables_are_not_set(void **state)
{
    set("NAMES", "a.example.org");
    set("OUTPUT_DIR", "");
    set("RELOAD", "");
    set("DIRECTORY", "");
    struct config *c = read_good(*state);

    assert_int_equal(c->certificates[0]->n_outputs, 0);
    assert_int_equal(c->n_servers, 0);
    config_unref(c);
}

static void the_certificate_is_called_like_its_first_name(void **state)
{
    static const char *const cases[][2] = {
        {"B\xc3\xbc"
         "cher.example",
         "xn--bcher-kva.example"},
        {"2001:DB8::1", "2001-db8--1"},
        {"192.0.2.1,a.example.org", "192.0.2.1"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set("NAMES", cases[i][0]);
        struct config *c = read_good(*state);
        assert_string_equal(c->certificates[0]->name, cases[i][1]);
        config_unref(c);
    }
}

static void problems_name_the_variable(void **state)
{
    static const char *const cases[][3] = {
        {"NAMES", "a..example.org", "empty label"},
        {"NAMES", ",", "names"},
        {"NAMES", "\xff", "UTF-8"},
        {"NAME", "a/b", "name of a certificate"},
        {"DIRECTORY", "http://a", "https"},
        {"CONTACT", "nobody", "e-mail"},
        {"TERMS_AGREED", "perhaps", "true or false"},
        {"KEY_TYPE", "dsa", "ecdsa-p256"},
        {"CHALLENGE", "dns", "no challenge type"},
        {"EAB_KID", "k", "\"hmac\" is missing"},
        {"CA_FILE", "/nonexistent", "/nonexistent"},
        {"OUTPUT_DIR", "out", "absolute path"},
        {"STATE_DIR", "\"}], x: {", "absolute path"},
        {"PROVE", "web", "port"},
        {"LISTEN", "web", "web"},
        {"RELOAD", "sh -c 'kill -HUP 1'", "without a shell"},
    };
    struct place *p = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *variable = xasprintf("EVERLEAF_%s", cases[i][0]);

        set("NAMES", "a.example.org");
        set(cases[i][0], cases[i][1]);
        problems_done(&p->problems);
        if (config_from_environment(&p->problems))
            fail_msg("%s=%s is taken", variable, cases[i][1]);
        const struct problem *problem = place_problem(p, 0, cases[i][2]);
        if (!problem || !strstr(problem->message, variable)) {
            place_show(p);
            fail_msg("%s=%s", variable, cases[i][1]);
        }
        assert_int_equal(problem->line, 0);
        assert_string_equal(problem->file, "environment");
        unsetenv(variable);
    }
}

static void warns_of_misspelt_variables(void **state)
{
    struct place *p = *state;

    set("NAMES", "a.example.org");
    set("OUTPUT_DIRS", "/x");
    set("SERVICE_HOST", "10.0.0.1"); /* Kubernetes makes this one for a service called everleaf */
    set("HOOK_DIR", "/x");
    struct config *c = config_from_environment(&p->problems);

    assert_non_null(c);
    assert_int_equal(p->problems.n, 1);
    assert_true(p->problems.items[0].warning);
    assert_string_equal(p->problems.items[0].suggestion, "EVERLEAF_OUTPUT_DIR");
    config_unref(c);
    unsetenv("EVERLEAF_OUTPUT_DIRS");
}

int main(void)
{
#define CLEAR_TEST(f) cmocka_unit_test_setup_teardown(f, clear, place_remove)
    const struct CMUnitTest tests[] = {
        CLEAR_TEST(names_are_enough),
        CLEAR_TEST(every_variable_counts),
        CLEAR_TEST(a_reload_may_be_a_kind_of_server),
        CLEAR_TEST(a_server_may_only_be_looked_at),
        CLEAR_TEST(empty_variables_are_not_set),
        CLEAR_TEST(the_certificate_is_called_like_its_first_name),
        CLEAR_TEST(problems_name_the_variable),
        CLEAR_TEST(warns_of_misspelt_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
