#include "store/staple.h"

#include "store/test_store.h"

#define FOLDER "state/certificates/www/generations/000001/"

static void save(struct test_store *t, const char *der)
{
    staple_save(t->state, "www", 1, der, der ? strlen(der) : 0, test_on_save, t);
    test_wait_good(t);
}

static bool is_there(struct test_store *t, const char *name)
{
    return access(test_path(t, name), F_OK) == 0;
}

static void is_beside_its_generation_and_named_for_nginx(void **state)
{
    struct test_store *t = *state;
    auto_buf struct buf der = {0};

    test_open(t);
    test_generation(t, "www");
    save(t, "staple");
    auto_free char *conf = test_read(test_path(t, FOLDER "nginx-stapling.conf"));
    auto_free char *want =
        xasprintf("ssl_stapling on;\nssl_stapling_file \"%s/live/www/ocsp.der\";\n", t->path);
    assert_string_equal(conf, want);
    assert_true(staple_load(t->state, "www", 1, &der, NULL));
    assert_int_equal(der.len, 6);
    save(t, "other");
    assert_true(staple_load(t->state, "www", 1, &der, NULL));
    assert_string_equal(der.data, "other");
    auto_free char *mode = xasprintf("%s/" FOLDER "ocsp.der", t->dir);
    test_has_mode(mode, 0600);
}

static void leaves_nothing_for_nginx_to_miss_when_it_goes(void **state)
{
    struct test_store *t = *state;
    auto_buf struct buf der = {0};
    auto_err struct err *e = NULL;

    test_open(t);
    test_generation(t, "www");
    save(t, "staple");
    save(t, NULL);
    save(t, NULL);
    auto_free char *conf = test_read(test_path(t, FOLDER "nginx-stapling.conf"));
    assert_string_equal(conf, "");
    assert_false(is_there(t, FOLDER "ocsp.der"));
    assert_false(staple_load(t->state, "www", 1, &der, &e));
    assert_true(err_is_absent(e));
}

static void a_generation_with_a_staple_is_as_whole_as_before(void **state)
{
    struct test_store *t = *state;
    struct generation_facts f;

    test_open(t);
    test_generation(t, "www");
    save(t, "staple");
    test_reopen(t);
    assert_true(generation_facts(t->state, "www", 1, &f, NULL, NULL));
    generation_facts_done(&f);
    struct generation *g = generation_load(t->state, "www", 1, NULL);
    assert_non_null(g);
    generation_unref(g);
}

static void a_generation_that_is_gone_needs_none(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    staple_save(t->state, "www", 7, "staple", 6, test_on_save, t);
    test_wait_good(t);
    assert_false(is_there(t, "state/certificates/www/generations/000007"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, test_store_setup, test_store_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_beside_its_generation_and_named_for_nginx),
        TEST(leaves_nothing_for_nginx_to_miss_when_it_goes),
        TEST(a_generation_with_a_staple_is_as_whole_as_before),
        TEST(a_generation_that_is_gone_needs_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
