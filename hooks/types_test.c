/* The types that talk to sockets and files, against scripted peers, and what all have in common. */
#include "hooks/test_peer.h"

static void reload(struct test_hooks *t, const char *type, const char *yaml)
{
    struct server s = test_server(type, yaml, NULL);

    s.timeout_s = 2;
    assert_non_null(server_reload(&s, t->loop, NULL, test_on_reload, t));
    test_wait(t);
    server_free(&s);
}

/* With "%s" in the YAML for the path. */
static void reload_at(struct test_hooks *t, const char *type, const char *before, const char *path,
                      const char *after)
{
    auto_free char *yaml = xasprintf("%s%s%s", before, path, after);

    reload(t, type, yaml);
}

static void no_type_starts_without_its_settings_checked(void **state)
{
    (void)state;
    for (size_t i = 0; server_type_all[i]; i++) {
        const struct server_type *type = server_type_all[i];
        assert_true(type->reload && type->help && type->fields && type->settings_size > 0);
        for (const struct field *f = type->fields; f->name; f++) {
            if (!f->help || !*f->help)
                fail_msg("%s.%s has no help", type->name, f->name);
            assert_true(f->offset < type->settings_size);
        }
    }
}

static void what_is_off_is_left_alone(void **state)
{
    static const char *const types[] = {"nginx",      "apache",  "haproxy", "lighttpd", "caddy",
                                        "hitch",      "h2o",     "redis",   "rabbitmq", "mosquitto",
                                        "postgresql", "postfix", "dovecot"};

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        reload(*state, types[i], "{reload: off}");
        assert_int_equal(((struct test_hooks *)*state)->result, RELOAD_NOTHING);
    }
}

static void a_daemon_without_pid_file_does_not_run(void **state)
{
    struct test_hooks *t = *state;
    static const char *const types[] = {"nginx", "apache",    "haproxy",    "lighttpd", "hitch",
                                        "h2o",   "mosquitto", "postgresql", "postfix",  "dovecot"};

    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1); /* likely, but not there */
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        reload_at(t, types[i], "{pid_file: ", test_path(t, "pid"), "}");
        if (t->result != RELOAD_NOT_RUNNING)
            fail_msg("%s: %s", types[i], t->error ? t->error->text : "no error");
        reload_at(t, types[i], "{reload: systemd, pid_file: ", test_path(t, "pid"), "}");
        assert_int_equal(t->result, RELOAD_FAILED);
        test_says(t->error, "D-Bus");
    }
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
}

static void postgresql_reads_the_first_line_of_its_pid_file(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *text = xasprintf("%ld\n/var/lib/postgresql/15/main\n1700000000\n5432\n",
                                     (long)test_child(t, 1, 0));

    test_put(test_path(t, "pid"), text, 0600);
    reload_at(t, "postgresql", "{pid_file: ", test_path(t, "pid"), "}");
    assert_int_equal(t->result, RELOAD_FAILED); /* it is no postgres */
    test_says(t->error, "instead of postgres");
    reload_at(t, "mosquitto", "{pid_file: ", test_path(t, "pid"), "}");
    test_says(t->error, "instead of a pid");
}

/* systemd -------------------------------------------------------------------------------------- */

static void systemd_wants_the_name_of_a_unit(void **state)
{
    (void)state;
    assert_true(test_problem("systemd", "{}", "unit"));
    assert_true(test_problem("systemd", "{unit: app}", "full name"));
    assert_true(test_problem("systemd", "{unit: /etc/app.service}", "full name"));
    assert_true(test_problem("systemd", "{unit: app.service, action: start}", "try-restart"));
    assert_false(test_problem("systemd", "{unit: app@1.service, action: try-restart}", ""));
}

static void systemd_that_is_not_there_is_an_error(void **state)
{
    struct test_hooks *t = *state;

    setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1);
    reload(t, "systemd", "{unit: app.service}");
    unsetenv("DBUS_SYSTEM_BUS_ADDRESS");
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "D-Bus");
}

/* unix-socket ---------------------------------------------------------------------------------- */

static void unix_socket_waits_for_the_word(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"reload\n", "working\nok\n", 0, true, false}};

    reload_at(t, "unix-socket",
              "{send: \"reload\\n\", expect: ok, path: ", test_peer(t, answers, 1), "}");
    assert_int_equal(t->result, RELOAD_DONE);
}

static void unix_socket_tells_what_came_instead(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"reload\n", "no such command\n", 0, false, false}};

    reload_at(t, "unix-socket",
              "{send: \"reload\\n\", expect: ok, path: ", test_peer(t, answers, 1), "}");
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "waiting for \"ok\"");
    test_says(t->error, "no such command");
}

static void unix_socket_without_a_word_is_done_when_it_was_sent(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\n", NULL, 0, false, false}};

    reload_at(t, "unix-socket", "{send: \"x\\n\", path: ", test_peer(t, answers, 1), "}");
    assert_int_equal(t->result, RELOAD_DONE);
    reload(t, "unix-socket", "{send: x, path: /nonexistent/sock}");
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
}

/* http ----------------------------------------------------------------------------------------- */

#define REPLY(status, body) "HTTP/1.1 " status "\r\nConnection: close\r\n\r\n" body

static void http_posts_its_body(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"BODY", REPLY("204 No Content", ""), 0, false, false},
                                          {"FILE", REPLY("200 OK", "done"), 0, false, false}};
    uint16_t port = test_peer_tcp(t, answers, 2);

    test_put(test_path(t, "body"), "FILE", 0600);
    test_put(test_path(t, "token"), "Bearer hunter2\n", 0600);
    auto_free char *inlined =
        xasprintf("{url: 'http://127.0.0.1:%u/load', body: BODY, headers: {X-One: a b, "
                  "Authorization: {file: %s/token}}}",
                  port, t->dir);
    auto_free char *filed =
        xasprintf("{method: PUT, url: 'http://127.0.0.1:%u/', body: {file: %s/body}, status: 200}",
                  port, t->dir);
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* is never asked */
    reload(t, "http", inlined);
    assert_int_equal(t->result, RELOAD_DONE);
    reload(t, "http", filed);
    unsetenv("http_proxy");
    assert_int_equal(t->result, RELOAD_DONE);
    auto_free char *requests = test_peer_requests(t);
    assert_non_null(strstr(requests, "POST /load HTTP/1.1\r\n"));
    assert_non_null(strstr(requests, "\r\nX-One: a b\r\n"));
    assert_non_null(strstr(requests, "\r\nAuthorization: Bearer hunter2\r\n"));
    assert_non_null(strstr(requests, "|PUT / HTTP/1.1\r\n"));
}

static void http_speaks_through_unix_sockets(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {{"\r\n\r\n", REPLY("200 OK", ""), 0, false, false}};

    reload_at(t, "http", "{method: GET, url: 'unix:", test_peer(t, answers, 1), ":/reload?now'}");
    assert_int_equal(t->result, RELOAD_DONE);
    auto_free char *requests = test_peer_requests(t);
    assert_non_null(strstr(requests, "GET /reload?now HTTP/1.1\r\n"));
    assert_non_null(strstr(requests, "\r\nHost:\r\n"));
}

static void http_tells_another_status_with_its_text(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {
        {"\r\n\r\n", REPLY("500 Oops", "bad \033[31mkey"), 0, false, false},
        {"\r\n\r\n", REPLY("200 OK", ""), 0, false, false}};
    uint16_t port = test_peer_tcp(t, answers, 2);
    auto_free char *any = xasprintf("{method: GET, url: 'http://127.0.0.1:%u/'}", port);
    auto_free char *other =
        xasprintf("{method: GET, url: 'http://127.0.0.1:%u/', status: 202}", port);

    reload(t, "http", any);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "500");
    test_says(t->error, "bad \\x1b[31mkey");
    reload(t, "http", other);
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "200");
}

static void http_without_a_listener_is_not_running(void **state)
{
    struct test_hooks *t = *state;

    reload(t, "http", "{url: 'unix:/nonexistent/sock:/'}");
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    reload(t, "http", "{url: 'http://127.0.0.1:1/'}");
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
    reload_at(t, "http", "{url: 'http://127.0.0.1:1/', body: {file: ", test_path(t, "none"), "}}");
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "the body");
}

static void http_settings_are_checked(void **state)
{
    (void)state;
    assert_true(test_problem("http", "{}", "url"));
    assert_true(test_problem("http", "{url: 'ftp://x/'}", "no URL"));
    assert_true(test_problem("http", "{url: 'unix:x:/'}", "no URL"));
    assert_true(test_problem("http", "{url: 'unix:/x:y'}", "comes the request's"));
    assert_true(test_problem("http", "{url: 'http://x/', status: 99}", ""));
    assert_true(test_problem("http", "{url: 'http://x/', headers: [a]}", "map"));
    assert_true(test_problem("http", "{url: 'http://x/', headers: {'a b': c}}", "header"));
    assert_true(
        test_problem("http", "{url: 'http://x/', headers: {a: \"b\\r\\nc: d\"}}", "header"));
    assert_true(test_problem("http", "{url: 'http://x/', body: {path: /x}}", ""));
    assert_true(test_problem("http", "{url: 'http://x/', method: DELETE}", "PUT"));
}

/* touch ---------------------------------------------------------------------------------------- */

static void touch_replaces_the_file_by_itself(void **state)
{
    struct test_hooks *t = *state;
    struct stat before, after, link;

    test_put(test_path(t, "real.yaml"), "tls: {}\n", 0640);
    assert_int_equal(symlink("real.yaml", test_path(t, "dynamic.yaml")), 0);
    assert_int_equal(stat(test_path(t, "real.yaml"), &before), 0);
    reload_at(t, "touch", "{path: ", test_path(t, "dynamic.yaml"), "}");
    if (t->error)
        fail_msg("%s", t->error->text);
    assert_int_equal(t->result, RELOAD_DONE);
    assert_int_equal(stat(test_path(t, "dynamic.yaml"), &after), 0);
    assert_int_equal(lstat(test_path(t, "dynamic.yaml"), &link), 0);
    assert_true(S_ISLNK(link.st_mode));
    assert_true(after.st_ino != before.st_ino);
    assert_int_equal(after.st_mode, before.st_mode);
    assert_int_equal(after.st_uid, before.st_uid);
    auto_free char *text = test_read(test_path(t, "real.yaml"));
    assert_string_equal(text, "tls: {}\n");
}

static void touch_of_what_is_no_file_fails(void **state)
{
    struct test_hooks *t = *state;

    reload_at(t, "touch", "{path: ", test_path(t, "none"), "}");
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "none");
    reload_at(t, "touch", "{path: ", t->dir, "}");
    assert_int_equal(t->result, RELOAD_FAILED);
}

static void touch_may_be_cancelled(void **state)
{
    struct test_hooks *t = *state;
    auto_free char *yaml = xasprintf("{path: %s}", test_path(t, "file"));
    struct server s = test_server("touch", yaml, NULL);

    test_put(test_path(t, "file"), "x", 0600);
    hook_job_free(server_reload(&s, t->loop, NULL, test_on_reload, t));
    server_free(&s);
    assert_int_equal(t->calls, 0);
}

/* redis ---------------------------------------------------------------------------------------- */

#define FILES "*4\r\n$13\r\ntls-cert-file\r\n$2\r\n/c\r\n$12\r\ntls-key-file\r\n$2\r\n/k\r\n"

static void redis_sets_both_files_at_once(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {
        {"tls-*-file\r\n", "+OK\r\n" FILES, 0, false, false},
        {"/k\r\n", "+OK\r\n+OK\r\n", 0, false, false},
    };

    test_put(test_path(t, "password"), "hunter2\n", 0600);
    auto_free char *yaml = xasprintf("{socket: %s, user: agent, password: {file: %s}}",
                                     test_peer(t, answers, 2), test_path(t, "password"));
    reload(t, "redis", yaml);
    if (t->error)
        fail_msg("%s", t->error->text);
    assert_int_equal(t->result, RELOAD_DONE);
    auto_free char *requests = test_peer_requests(t);
    assert_string_equal(requests,
                        "*3\r\n$4\r\nAUTH\r\n$5\r\nagent\r\n$7\r\nhunter2\r\n"
                        "*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$10\r\ntls-*-file\r\n|"
                        "*3\r\n$4\r\nAUTH\r\n$5\r\nagent\r\n$7\r\nhunter2\r\n"
                        "*6\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$13\r\ntls-cert-file\r\n$2\r\n/c\r\n"
                        "$12\r\ntls-key-file\r\n$2\r\n/k\r\n|");
}

static void redis_errors_are_told(void **state)
{
    static const struct {
        const char *first, *second, *says;
    } cases[] = {
        {"-NOAUTH Authentication required.\r\n", NULL, "give the password"},
        {"-NOPERM this user has no permissions\r\n", NULL, "+config|get"},
        {"*0\r\n", NULL, "has no tls-cert-file"},
        {"SSH-2.0-OpenSSH_9.2\r\n", NULL, "is no Redis"},
        {"+O", NULL, "closed the connection"},
        {"", NULL, "closed the connection"},
        {FILES, "-ERR Unable to update TLS configuration\r\n", "Unable to update"},
        {FILES, "+QUEUED\r\n", "QUEUED"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_hooks *t = *state;
        const struct test_answer answers[] = {{"file\r\n", cases[i].first, 0, false, false},
                                              {"/k\r\n", cases[i].second, 0, false, false}};
        reload_at(t, "redis", "{socket: ", test_peer(t, answers, 2), "}");
        assert_int_equal(t->result, RELOAD_FAILED);
        test_says(t->error, cases[i].says);
        kill(t->child, SIGKILL);
        waitpid(t->child, NULL, 0);
        t->child = 0;
        unlink(test_path(t, "sock"));
    }
}

static void redis_that_is_down_needs_nothing(void **state)
{
    reload(*state, "redis", "{socket: /nonexistent/sock}");
    assert_int_equal(((struct test_hooks *)*state)->result, RELOAD_NOT_RUNNING);
    assert_true(test_problem("redis", "{user: x}", "password"));
    assert_true(test_problem("redis", "{socket: 'redis.example.org:6379'}", "numbers"));
}

/* haproxy and caddy ---------------------------------------------------------------------------- */

static void haproxys_master_tells_whether_it_reloaded(void **state)
{
    static const struct {
        const char *reply;
        enum reload_result result;
    } cases[] = {
        {"Success=1\n--\n[NOTICE] Loading success.\n", RELOAD_DONE},
        {"Success=0\n--\n[ALERT] config : boom\n", RELOAD_FAILED},
        {"", RELOAD_DONE}, /* before 2.7 */
        {"Success=10", RELOAD_FAILED},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_hooks *t = *state;
        const struct test_answer answers[] = {{"reload\n", cases[i].reply, 0, false, false}};
        reload_at(t, "haproxy", "{master_socket: ", test_peer(t, answers, 1), "}");
        assert_int_equal(t->result, cases[i].result);
        if (i == 1)
            test_says(t->error, "boom");
        kill(t->child, SIGKILL);
        waitpid(t->child, NULL, 0);
        t->child = 0;
        unlink(test_path(t, "sock"));
    }
    assert_true(test_problem("haproxy", "{reload: socket}", "needs the socket"));
}

static void caddy_loads_again_what_it_runs(void **state)
{
    struct test_hooks *t = *state;
    const struct test_answer answers[] = {
        {"\r\n\r\n", REPLY("200 OK", "{\"apps\":{}}\n"), 0, false, false},
        {"{\"apps\":{}}\n", REPLY("200 OK", ""), 0, false, false},
        {"\r\n\r\n", REPLY("200 OK", "null\n"), 0, false, false},
        {"\r\n\r\n", REPLY("403 Forbidden", "host not allowed"), 0, false, false},
    };
    const char *path = test_peer(t, answers, ARRAY_LEN(answers));

    reload_at(t, "caddy", "{reload: socket, admin: '", path, "'}");
    if (t->error)
        fail_msg("%s", t->error->text);
    assert_int_equal(t->result, RELOAD_DONE);
    auto_free char *requests = test_peer_requests(t);
    assert_non_null(strstr(requests, "GET /config/ HTTP/1.1\r\n"));
    assert_non_null(strstr(requests, "POST /load HTTP/1.1\r\n"));
    assert_non_null(strstr(requests, "\r\nCache-Control: must-revalidate\r\n"));
    reload_at(t, "caddy", "{reload: socket, admin: '", path, "'}");
    assert_int_equal(t->result, RELOAD_FAILED);
    test_says(t->error, "without a configuration");
    reload_at(t, "caddy", "{reload: socket, admin: '", path, "'}");
    test_says(t->error, "host not allowed");
    reload(t, "caddy", "{reload: socket, admin: /nonexistent/sock}");
    assert_int_equal(t->result, RELOAD_NOT_RUNNING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(no_type_starts_without_its_settings_checked),
        HOOK_TEST(what_is_off_is_left_alone),
        HOOK_TEST(a_daemon_without_pid_file_does_not_run),
        HOOK_TEST(postgresql_reads_the_first_line_of_its_pid_file),
        HOOK_TEST(systemd_wants_the_name_of_a_unit),
        HOOK_TEST(systemd_that_is_not_there_is_an_error),
        HOOK_TEST(unix_socket_waits_for_the_word),
        HOOK_TEST(unix_socket_tells_what_came_instead),
        HOOK_TEST(unix_socket_without_a_word_is_done_when_it_was_sent),
        HOOK_TEST(http_posts_its_body),
        HOOK_TEST(http_speaks_through_unix_sockets),
        HOOK_TEST(http_tells_another_status_with_its_text),
        HOOK_TEST(http_without_a_listener_is_not_running),
        HOOK_TEST(http_settings_are_checked),
        HOOK_TEST(touch_replaces_the_file_by_itself),
        HOOK_TEST(touch_of_what_is_no_file_fails),
        HOOK_TEST(touch_may_be_cancelled),
        HOOK_TEST(redis_sets_both_files_at_once),
        HOOK_TEST(redis_errors_are_told),
        HOOK_TEST(redis_that_is_down_needs_nothing),
        HOOK_TEST(haproxys_master_tells_whether_it_reloaded),
        HOOK_TEST(caddy_loads_again_what_it_runs),
    };

    return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
