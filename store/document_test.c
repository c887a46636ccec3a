#include "store/test_store.h"

#define FILE_OF(name) "state/certificates/www/" name

static void put_document(struct test_store *t, const char *text)
{
    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_put(test_path(t, FILE_OF("order.json")), text, 0600);
}

static void an_absent_document_is_no_error(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    test_open(t);
    assert_null(state_load(t->state, "www", "order", &e));
    assert_null(e);
}

static void comes_back_after_a_restart_with_its_version(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();

    test_open(t);
    json_put_str(j, "url", "https://ca.example/order/1");
    state_save(t->state, "www", "order", j, test_on_save, t);
    test_wait_good(t);
    test_has_mode(test_path(t, FILE_OF("order.json")), 0600);
    assert_int_equal(test_count(test_path(t, "state/certificates/www"), "."), 0);

    test_reopen(t);
    auto_json json_t *loaded = state_load(t->state, "www", "order", NULL);
    assert_non_null(loaded);
    assert_string_equal(json_str(loaded, "url"), "https://ca.example/order/1");
    assert_int_equal(json_int(loaded, "version"), 1);
}

static void the_newest_is_seen_while_it_is_being_saved(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();

    test_open(t);
    json_put_int(j, "n", 1);
    state_save(t->state, "www", "order", j, test_on_save, t);
    json_put_int(j, "n", 2);
    state_save(t->state, "www", "order", j, test_on_save, t);
    auto_json json_t *loaded = state_load(t->state, "www", "order", NULL);
    assert_int_equal(json_int(loaded, "n"), 2);
    state_save(t->state, "www", "order", NULL, test_on_save, t);
    assert_null(state_load(t->state, "www", "order", NULL));
    while (t->calls < 3)
        test_wait_good(t);
    assert_false(test_exists(test_path(t, FILE_OF("order.json"))));
}

static void removing_an_absent_one_is_fine(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    state_save(t->state, "www", "order", NULL, test_on_save, t);
    test_wait_good(t);
    assert_false(test_exists(test_path(t, "state/certificates/www")));
}

static void a_damaged_one_is_set_aside(void **state)
{
    struct test_store *t = *state;
    static const char *const texts[] = {"",        "{",
                                        "[1]",     "{\"version\": \"1\"}",
                                        "{}",      "{\"version\": 0}",
                                        "null",    "{\"version\": 1, \"version\": 1}",
                                        "\177ELF", "{\"version\": 1} trailing"};

    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        auto_err struct err *e = NULL;
        test_put(test_path(t, FILE_OF("order.json")), texts[i], 0600);
        if (state_load(t->state, "www", "order", &e) || e)
            fail_msg("%s: loaded or an error", texts[i]);
        assert_false(test_exists(test_path(t, FILE_OF("order.json"))));
    }
    assert_true(test_count(test_path(t, "state/certificates/www"), "order.json.damaged-") >= 1);
}

static void a_reader_leaves_a_damaged_one_where_it_is(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    put_document(t, "{");
    state_free(t->state);
    t->state = state_open(t->path, STATE_READ, NULL, NULL);
    assert_null(state_load(t->state, "www", "order", &e));
    assert_null(e);
    assert_true(test_exists(test_path(t, FILE_OF("order.json"))));
}

static void a_newer_version_is_refused_and_kept(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    put_document(t, "{\"version\": 2, \"url\": \"x\"}");
    assert_null(state_load(t->state, "www", "order", &e));
    assert_int_equal(e->kind, ERR_SYSTEM);
    test_says(e, "newer release (version 2)");
    test_says(e, "downgrade");
    assert_true(test_exists(test_path(t, FILE_OF("order.json"))));
}

static void a_symlink_or_a_fifo_in_its_place_is_an_error(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *linked = NULL, *fifo = NULL;

    put_document(t, "{\"version\": 1}");
    assert_int_equal(rename(test_path(t, FILE_OF("order.json")), test_path(t, "elsewhere.json")),
                     0);
    assert_int_equal(symlink(test_path(t, "elsewhere.json"), test_path(t, FILE_OF("order.json"))),
                     0);
    assert_null(state_load(t->state, "www", "order", &linked));
    assert_non_null(linked);
    unlink(test_path(t, FILE_OF("order.json")));
    assert_int_equal(mkfifo(test_path(t, FILE_OF("order.json")), 0600), 0);
    assert_null(state_load(t->state, "www", "order", &fifo));
    test_says(fifo, "not a regular file");
}

static void saving_replaces_a_symlink_without_following_it(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();

    put_document(t, "");
    unlink(test_path(t, FILE_OF("order.json")));
    test_put(test_path(t, "victim"), "precious", 0600);
    assert_int_equal(symlink(test_path(t, "victim"), test_path(t, FILE_OF("order.json"))), 0);
    state_save(t->state, "www", "order", j, test_on_save, t);
    test_wait_good(t);
    auto_free char *text = test_read(test_path(t, "victim"));
    assert_string_equal(text, "precious");
}

static void a_full_disk_keeps_the_old_one(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();
    char *large = xcalloc(1, 300 * 1024);

    if (geteuid() != 0)
        skip();
    mkdir(t->path, 0700);
    if (mount("tmpfs", t->path, "tmpfs", 0, "size=256k,mode=0700") != 0)
        skip();
    test_open(t);
    json_put_str(j, "n", "first");
    state_save(t->state, "www", "order", j, test_on_save, t);
    test_wait_good(t);
    memset(large, 'x', 300 * 1024 - 1);
    json_put_str(j, "n", large);
    free(large);
    state_save(t->state, "www", "order", j, test_on_save, t);
    test_wait(t);
    assert_non_null(t->error);
    assert_int_equal(t->error->code, ENOSPC);
    auto_json json_t *loaded = state_load(t->state, "www", "order", NULL);
    assert_string_equal(json_str(loaded, "n"), "first");
    assert_int_equal(test_count(test_path(t, "state/certificates/www"), "."), 0);
    state_free(take(t->state));
    assert_int_equal(umount2(t->path, MNT_DETACH), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(an_absent_document_is_no_error),
        STORE_TEST(comes_back_after_a_restart_with_its_version),
        STORE_TEST(the_newest_is_seen_while_it_is_being_saved),
        STORE_TEST(removing_an_absent_one_is_fine),
        STORE_TEST(a_damaged_one_is_set_aside),
        STORE_TEST(a_reader_leaves_a_damaged_one_where_it_is),
        STORE_TEST(a_newer_version_is_refused_and_kept),
        STORE_TEST(a_symlink_or_a_fifo_in_its_place_is_an_error),
        STORE_TEST(saving_replaces_a_symlink_without_following_it),
        STORE_TEST(a_full_disk_keeps_the_old_one),
    };

    return cmocka_run_group_tests_name("document", tests, NULL, NULL);
}
