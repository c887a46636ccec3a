#include "store/test_store.h"

#include "store/order_key.h"

#define KEY_FILE "state/certificates/www/order-key.pem"

static void is_on_disk_and_private_before_it_is_told(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();

    test_open(t);
    state_save_order_key(t->state, "www", key, test_on_save, t);
    test_wait_good(t);
    test_has_mode(test_path(t, KEY_FILE), 0600);
    test_reopen(t);
    auto_key struct key *loaded = state_load_order_key(t->state, "www", NULL);
    assert_non_null(loaded);
    assert_true(key_equal(key, loaded));
}

static void stays_private_in_a_shared_state_directory(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();

    mkdir(t->path, 0700);
    assert_int_equal(chmod(t->path, 0750), 0);
    test_open(t);
    state_save_order_key(t->state, "www", key, test_on_save, t);
    test_wait_good(t);
    test_has_mode(test_path(t, KEY_FILE), 0600);
}

static void goes_when_it_is_removed(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();
    auto_err struct err *e = NULL;

    test_open(t);
    state_save_order_key(t->state, "www", key, test_on_save, t);
    state_remove_order_key(t->state, "www", test_on_save, t);
    assert_null(state_load_order_key(t->state, "www", &e));
    while (t->calls < 2)
        test_wait_good(t);
    assert_false(test_exists(test_path(t, KEY_FILE)));
    state_remove_order_key(t->state, "www", test_on_save, t);
    test_wait_good(t);
    assert_null(state_load_order_key(t->state, "www", &e));
    assert_null(e);
}

static void what_is_no_key_is_set_aside(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_put(test_path(t, KEY_FILE), "-----BEGIN PRIVATE KEY-----\n", 0600);
    assert_null(state_load_order_key(t->state, "www", &e));
    assert_null(e);
    assert_int_equal(test_count(test_path(t, "state/certificates/www"), "order-key.pem.damaged-"),
                     1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(is_on_disk_and_private_before_it_is_told),
        STORE_TEST(stays_private_in_a_shared_state_directory),
        STORE_TEST(goes_when_it_is_removed),
        STORE_TEST(what_is_no_key_is_set_aside),
    };

    return cmocka_run_group_tests_name("order_key", tests, NULL, NULL);
}
