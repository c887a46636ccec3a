#include "store/test_store.h"

#include "store/account_record.h"

#define PRODUCTION "https://acme.example.org/directory"
#define STAGING    "https://acme.example.org/staging/directory"

static void save_account(struct test_store *t, const char *url, struct key *key)
{
    auto_json json_t *j = json_object();

    json_put_str(j, "url", "https://acme.example.org/acct/1");
    state_save_account_key(t->state, url, key, test_on_save, t);
    test_wait_good(t);
    state_save_account(t->state, url, j, test_on_save, t);
    test_wait_good(t);
}

/* The only folder in accounts/. */
static char *account_folder(struct test_store *t)
{
    auto_strv struct strv names = {0};
    auto_close int fd = open(test_path(t, "state/accounts"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(file_list(fd, &names, NULL));
    assert_int_equal(names.n, 1);
    return xasprintf("%s/%s", test_path(t, "state/accounts"), names.items[0]);
}

static void an_account_comes_back_with_its_key(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();
    struct account_record a;

    test_open(t);
    save_account(t, PRODUCTION, key);
    auto_free char *folder = account_folder(t);
    assert_non_null(strstr(folder, "/acme.example.org-"));
    test_has_mode(folder, 0700);
    test_reopen(t);
    assert_true(state_load_account(t->state, PRODUCTION, &a, NULL));
    assert_true(key_equal(a.key, key));
    assert_string_equal(json_str(a.json, "url"), "https://acme.example.org/acct/1");
    account_record_done(&a);
}

/* Until the doubt is over both are there, each for its owner only. */
static void a_pending_key_comes_back_and_goes(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key(), *next = test_key();
    struct account_record a;

    test_open(t);
    save_account(t, PRODUCTION, key);
    state_save_account_next_key(t->state, PRODUCTION, next, test_on_save, t);
    test_wait_good(t);
    auto_free char *folder = account_folder(t);
    auto_free char *file = xasprintf("%s/key-next.pem", folder);
    test_has_mode(file, 0600);
    test_reopen(t);
    assert_true(state_load_account(t->state, PRODUCTION, &a, NULL));
    assert_true(key_equal(a.key, key));
    assert_true(key_equal(a.next_key, next));
    account_record_done(&a);
    state_save_account_next_key(t->state, PRODUCTION, NULL, test_on_save, t);
    test_wait_good(t);
    assert_true(state_load_account(t->state, PRODUCTION, &a, NULL));
    assert_null(a.next_key);
    assert_true(key_equal(a.key, key));
    account_record_done(&a);
}

static void staging_is_another_account(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();
    struct account_record a;

    test_open(t);
    save_account(t, PRODUCTION, key);
    assert_true(state_load_account(t->state, STAGING, &a, NULL));
    assert_null(a.key);
    assert_null(a.json);
}

static void nothing_of_a_url_becomes_a_path(void **state)
{
    struct test_store *t = *state;
    static const char *const urls[] = {
        "https://../../etc/x", "https://a%2fb:443/",     "https://", "", "..",
        "https://.hidden/",    "https://EXAMPLE\n.org/d"};
    auto_key struct key *key = test_key();

    test_open(t);
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct account_record a;
        save_account(t, urls[i], key);
        assert_true(state_load_account(t->state, urls[i], &a, NULL));
        assert_non_null(a.json);
        account_record_done(&a);
    }
    assert_int_equal(test_count(test_path(t, "state/accounts"), ""), ARRAY_LEN(urls));
    assert_int_equal(test_count(test_path(t, "state/accounts"), "."), 0);
}

static void a_key_without_an_account_is_kept(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();
    struct account_record a;

    test_open(t);
    state_save_account_key(t->state, PRODUCTION, key, test_on_save, t);
    test_wait_good(t);
    assert_true(state_load_account(t->state, PRODUCTION, &a, NULL));
    assert_non_null(a.key);
    assert_null(a.json);
    account_record_done(&a);
}

static void an_account_without_its_key_is_set_aside(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();
    struct account_record a;

    test_open(t);
    save_account(t, PRODUCTION, key);
    auto_free char *folder = account_folder(t);
    auto_free char *key_file = xasprintf("%s/key.pem", folder);
    test_put(key_file, "garbage", 0600);
    assert_true(state_load_account(t->state, PRODUCTION, &a, NULL));
    assert_null(a.key);
    assert_null(a.json);
    assert_int_equal(test_count(folder, "key.pem.damaged-"), 1);
    assert_int_equal(test_count(folder, "account.json.damaged-"), 1);
}

static void a_key_that_others_may_write_is_refused(void **state)
{
    struct test_store *t = *state;
    auto_key struct key *key = test_key();
    auto_err struct err *e = NULL;
    struct account_record a;

    test_open(t);
    save_account(t, PRODUCTION, key);
    auto_free char *folder = account_folder(t);
    auto_free char *key_file = xasprintf("%s/key.pem", folder);
    assert_int_equal(chmod(key_file, 0666), 0);
    assert_false(state_load_account(t->state, PRODUCTION, &a, &e));
    test_says(e, "may be written by others");
    assert_true(test_exists(key_file));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(an_account_comes_back_with_its_key),
        STORE_TEST(a_pending_key_comes_back_and_goes),
        STORE_TEST(staging_is_another_account),
        STORE_TEST(nothing_of_a_url_becomes_a_path),
        STORE_TEST(a_key_without_an_account_is_kept),
        STORE_TEST(an_account_without_its_key_is_set_aside),
        STORE_TEST(a_key_that_others_may_write_is_refused),
    };

    return cmocka_run_group_tests_name("account_record", tests, NULL, NULL);
}
