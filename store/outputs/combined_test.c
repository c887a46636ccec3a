#include "store/test_output.h"

static struct output make(struct test_store *t, const char *more)
{
    auto_free char *yaml = xasprintf("{path: %s/certs/www.pem%s}", t->dir, more);

    return test_output("combined", yaml, NULL);
}

static char *joined(const struct bundle *b, enum bundle_part one, enum bundle_part two,
                    enum bundle_part three)
{
    return xasprintf("%s%s%s", b->parts[one].data, b->parts[two].data, b->parts[three].data);
}

static void key_certificate_and_chain_are_in_one_file(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;
    auto_free char *sha256 = NULL;

    test_bundle(t, &b, &sha256);
    test_write(&o, &b);
    auto_free char *text = test_read(test_path(t, "certs/www.pem"));
    auto_free char *want = joined(&b, BUNDLE_KEY, BUNDLE_CERT, BUNDLE_CHAIN);
    assert_string_equal(text, want);
    test_has_mode(test_path(t, "certs/www.pem"), 0600);
    assert_int_equal(test_count(test_path(t, "certs"), ""), 1);
    assert_string_equal(o.path, test_path(t, "certs/www.pem"));
    test_serves(&o, sha256);
    output_done(&o);
}

static void the_order_is_as_configured(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, ", order: [cert, chain, key], mode: '0640'");
    struct output short_one = make(t, ", order: cert");
    auto_bundle struct bundle b;
    auto_free char *sha256 = NULL;

    test_bundle(t, &b, &sha256);
    test_write(&o, &b);
    auto_free char *text = test_read(test_path(t, "certs/www.pem"));
    auto_free char *want = joined(&b, BUNDLE_CERT, BUNDLE_CHAIN, BUNDLE_KEY);
    assert_string_equal(text, want);
    test_has_mode(test_path(t, "certs/www.pem"), 0640);
    test_serves(&o, sha256);
    test_write(&short_one, &b);
    test_serves(&short_one, sha256);
    output_done(&o);
    output_done(&short_one);
}

static void nothing_changes_when_nothing_is_to_be_changed(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    struct stat before, after;
    auto_bundle struct bundle b;

    test_bundle(t, &b, NULL);
    test_write(&o, &b);
    test_stat(test_path(t, "certs/www.pem"), &before);
    test_write(&o, &b);
    test_stat(test_path(t, "certs/www.pem"), &after);
    assert_true(test_same_file(&before, &after));
    assert_int_equal(chmod(test_path(t, "certs/www.pem"), 0644), 0);
    assert_false(o.type->holds(o.settings, &b));
    test_write(&o, &b);
    test_has_mode(test_path(t, "certs/www.pem"), 0600);
    output_done(&o);
}

static void a_symlink_at_its_path_is_refused(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;
    auto_err struct err *e = NULL;

    mkdir(test_path(t, "certs"), 0755);
    test_put(test_path(t, "victim"), "precious", 0600);
    assert_int_equal(symlink("../victim", test_path(t, "certs/www.pem")), 0);
    test_bundle(t, &b, NULL);
    assert_false(o.type->write(o.settings, &b, &e));
    test_says(e, "that we have not made");
    assert_null(o.type->current(o.settings, NULL)); /* not followed either */
    auto_free char *text = test_read(test_path(t, "victim"));
    assert_string_equal(text, "precious");
    output_done(&o);
}

static void leftovers_of_a_killed_writer_go(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;

    mkdir(test_path(t, "certs"), 0755);
    test_put(test_path(t, "certs/.www.pem.everleaf-0011"), "x", 0600);
    test_bundle(t, &b, NULL);
    test_write(&o, &b);
    assert_int_equal(test_count(test_path(t, "certs"), ""), 1);
    output_done(&o);
}

static void current_tells_what_is_really_there(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle one, two;
    auto_err struct err *absent = NULL, *mixed = NULL, *no_key = NULL, *garbage = NULL;

    assert_null(o.type->current(o.settings, &absent));
    assert_true(err_is_absent(absent));
    test_bundle(t, &one, NULL);
    test_bundle(t, &two, NULL);
    mkdir(test_path(t, "certs"), 0755);
    auto_free char *wrong =
        xasprintf("%s%s", one.parts[BUNDLE_KEY].data, two.parts[BUNDLE_FULLCHAIN].data);
    test_put(test_path(t, "certs/www.pem"), wrong, 0600);
    assert_null(o.type->current(o.settings, &mixed));
    test_put(test_path(t, "certs/www.pem"), one.parts[BUNDLE_FULLCHAIN].data, 0600);
    assert_null(o.type->current(o.settings, &no_key));
    test_says(no_key, "no private key");
    test_put(test_path(t, "certs/www.pem"), "garbage", 0600);
    assert_null(o.type->current(o.settings, &garbage));
    output_done(&o);
}

static void a_reader_of_the_one_file_sees_the_old_or_the_new(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle one, two;
    int stop[2];

    test_bundle(t, &one, NULL);
    test_bundle(t, &two, NULL);
    test_write(&o, &one);
    assert_int_equal(pipe2(stop, O_CLOEXEC | O_NONBLOCK), 0);
    pid_t pid = fork();
    if (pid == 0) {
        unsigned bad = 0;
        char c;
        close(stop[1]);
        do {
            char *sha256 = o.type->current(o.settings, NULL);
            bad += sha256 == NULL;
            free(sha256);
        } while (read(stop[0], &c, 1) != 0);
        _exit(bad > 99 ? 99 : (int)bad);
    }
    close(stop[0]);
    for (int i = 0; i < 200; i++)
        test_write(&o, i % 2 ? &one : &two);
    close(stop[1]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    output_done(&o);
}

static void the_staple_lies_where_haproxy_looks_for_it(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;

    test_bundle(t, &b, NULL);
    buf_add_str(&b.staple, "staple");
    test_write(&o, &b);
    auto_free char *path = xasprintf("%s.ocsp", o.path);
    test_has_text(path, &b.staple);
    buf_clear(&b.staple);
    assert_false(o.type->holds(o.settings, &b));
    test_write(&o, &b);
    assert_int_not_equal(access(path, F_OK), 0);
    output_done(&o);
}

static void impossible_settings_are_told(void **state)
{
    (void)state;
    assert_true(
        test_problem("combined", "{path: /x.pem, order: [key, crt]}", "\"crt\" is no part"));
    assert_true(test_problem("combined", "{path: /x.pem, order: [key]}", "cert is missing"));
    assert_true(test_problem("combined", "{path: /x.pem, order: [cert, cert]}", "there twice"));
    assert_true(test_problem("combined", "{path: /x.pem, order: [chain, cert]}", "after cert"));
    assert_true(test_problem("combined", "{path: /x.pem, owner: no-such-user-here}", "no user"));
    assert_true(test_problem("combined", "{order: [key, cert]}", "path"));
    assert_false(test_problem("combined", "{path: /x.pem}", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(key_certificate_and_chain_are_in_one_file),
        STORE_TEST(the_order_is_as_configured),
        STORE_TEST(nothing_changes_when_nothing_is_to_be_changed),
        STORE_TEST(a_symlink_at_its_path_is_refused),
        STORE_TEST(leftovers_of_a_killed_writer_go),
        STORE_TEST(current_tells_what_is_really_there),
        STORE_TEST(a_reader_of_the_one_file_sees_the_old_or_the_new),
        STORE_TEST(the_staple_lies_where_haproxy_looks_for_it),
        STORE_TEST(impossible_settings_are_told),
    };

    return cmocka_run_group_tests_name("combined", tests, NULL, NULL);
}
