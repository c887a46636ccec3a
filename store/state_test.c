#include "store/test_store.h"

#include "store/state_private.h"

#define NOBODY 65534

static void makes_what_is_missing_with_private_modes(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_has_mode(t->path, 0700);
    test_has_mode(test_path(t, "state/accounts"), 0700);
    test_has_mode(test_path(t, "state/certificates"), 0700);
    test_has_mode(test_path(t, "state/live"), 0700);
    assert_string_equal(state_path(t->state), t->path);
    assert_int_equal(state_owner(t->state), geteuid());
}

static void lets_the_group_in_where_the_directory_does(void **state)
{
    struct test_store *t = *state;

    mkdir(t->path, 0700);
    assert_int_equal(chmod(t->path, 0750), 0);
    test_open(t);
    test_has_mode(test_path(t, "state/certificates"), 0750);
    test_has_mode(test_path(t, "state/live"), 0750);
    test_has_mode(test_path(t, "state/accounts"), 0700);
}

static void opens_folders_and_keys_when_the_directory_is_opened_to_its_group_later(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    assert_int_equal(test_generation(t, "www"), 1);
    test_has_mode(test_path(t, "state/certificates/www/generations/000001/privkey.pem"), 0600);
    assert_int_equal(chmod(t->path, 0750), 0);
    test_reopen(t);
    struct generation *g = generation_load(t->state, "www", 1, NULL);
    assert_non_null(g);
    generation_unref(g);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_has_mode(test_path(t, "state/certificates"), 0750);
    test_has_mode(test_path(t, "state/certificates/www/generations/000001/privkey.pem"), 0640);
}

static void opens_the_whole_way_to_a_generation_for_the_group(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    assert_int_equal(chmod(t->path, 0750), 0);
    test_reopen(t);
    generation_switch(t->state, "www", 1, test_on_save, t);
    test_wait_good(t);
    test_has_mode(test_path(t, "state/certificates/www"), 0750);
    test_has_mode(test_path(t, "state/certificates/www/generations"), 0750);
    test_has_mode(test_path(t, "state/certificates/www/generations/000001"), 0750);
}

static void keeps_a_second_agent_out_and_names_the_first(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;
    char pid[32];

    test_open(t);
    assert_null(state_open(t->path, STATE_OWN, t->worker, &e));
    assert_int_equal(e->kind, ERR_SYSTEM);
    assert_int_equal(e->code, EWOULDBLOCK);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    test_says(e, pid);

    struct state *reader = state_open(t->path, STATE_READ, NULL, NULL);
    assert_non_null(reader); /* reading needs no lock */
    state_free(reader);
}

static void never_believes_what_is_in_the_lock_file(void **state)
{
    struct test_store *t = *state;
    char junk[4096] = {0};

    mkdir(t->path, 0700);
    int fd = open(test_path(t, "state/lock"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    close(fd);
    test_open(t); /* NULs, nobody holds it */

    auto_err struct err *e = NULL;
    test_put(test_path(t, "state/lock"), "99999999999999999999 pids\n", 0600);
    assert_null(state_open(t->path, STATE_OWN, t->worker, &e));
    test_says(e, "in use by");
}

static void the_lock_ends_with_the_last_owner(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_reopen(t);
    assert_non_null(t->state);
}

static void a_lock_file_that_is_another_file_is_not_touched(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *linked = NULL, *hard = NULL;

    mkdir(t->path, 0700);
    test_put(test_path(t, "victim"), "precious", 0600);
    assert_int_equal(symlink("../victim", test_path(t, "state/lock")), 0);
    assert_null(state_open(t->path, STATE_OWN, t->worker, &linked));
    unlink(test_path(t, "state/lock"));
    assert_int_equal(link(test_path(t, "victim"), test_path(t, "state/lock")), 0);
    assert_null(state_open(t->path, STATE_OWN, t->worker, &hard));
    test_says(hard, "no regular file of its own");
    auto_free char *text = test_read(test_path(t, "victim"));
    assert_string_equal(text, "precious");
}

static void refuses_a_directory_that_others_may_write(void **state)
{
    struct test_store *t = *state;
    static const mode_t modes[] = {0770, 0777, 0702, 01777};

    mkdir(t->path, 0700);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        auto_err struct err *e = NULL;
        assert_int_equal(chmod(t->path, modes[i]), 0);
        assert_null(state_open(t->path, STATE_OWN, t->worker, &e));
        test_says(e, "may be written by others");
        test_says(e, "chmod 0700");
    }
    assert_int_equal(chmod(t->path, 0755), 0);
    test_open(t);
    test_has_mode(test_path(t, "state/certificates"), 0700); /* 0755 opens nothing */
}

static void refuses_folders_that_others_may_write(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    test_open(t);
    test_generation(t, "www");
    assert_int_equal(chmod(test_path(t, "state/certificates/www"), 0777), 0);
    assert_int_equal(state_certificate_dir(t->state, "www", false, &e), -1);
    test_says(e, "may be written by others");
    test_says(e, "chmod go-w");
}

static void never_follows_a_symlink_inside(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    test_open(t);
    mkdir(test_path(t, "elsewhere"), 0700);
    assert_int_equal(symlink(test_path(t, "elsewhere"), test_path(t, "state/certificates/www")), 0);
    assert_int_equal(state_certificate_dir(t->state, "www", true, &e), -1);
    test_start_generation(t, "www", 0);
    test_wait(t);
    assert_non_null(t->error);
    assert_int_equal(test_count(test_path(t, "elsewhere"), ""), 0);
}

static void refuses_names_that_are_paths(void **state)
{
    struct test_store *t = *state;
    static const char *const names[] = {"",     ".",    "..",  "../x", "a/b",
                                        ".hid", "-opt", "a b", "a\n",  "ä"};

    test_open(t);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        auto_err struct err *e = NULL;
        assert_int_equal(state_certificate_dir(t->state, names[i], true, &e), -1);
        assert_int_equal(e->kind, ERR_BUG);
    }
    int fd = state_certificate_dir(t->state, "Www.example_1-x", true, NULL);
    assert_true(fd >= 0);
    close(fd);
}

static void reading_creates_nothing(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *absent = NULL, *e = NULL;

    assert_null(state_open(t->path, STATE_READ, NULL, &absent));
    assert_true(err_is_absent(absent));
    mkdir(t->path, 0700);
    t->state = state_open(t->path, STATE_READ, NULL, NULL);
    assert_non_null(t->state);
    assert_int_equal(state_certificate_dir(t->state, "www", true, &e), -1);
    assert_true(err_is_absent(e));
    assert_int_equal(test_count(t->path, ""), 0);
}

static void removes_what_a_killed_process_left(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    state_free(t->state);
    test_put(test_path(t, "state/certificates/www/.order.json.1A2B3C"), "{", 0600);
    test_put(test_path(t, "state/.lock.1A2B3C"), "", 0600);
    test_put(test_path(t, "state/.keep"), "", 0600);
    mkdir(test_path(t, "state/certificates/.new.0011"), 0700);
    mkdir(test_path(t, "state/certificates/www/generations/.new-0011"), 0700);
    test_put(test_path(t, "state/certificates/www/generations/.new-0011/privkey.pem"), "x", 0600);
    test_open(t);
    assert_int_equal(test_count(test_path(t, "state/certificates"), "."), 0);
    struct generation_list list; /* visits the certificate */
    assert_true(generation_list(t->state, "www", &list, NULL));
    assert_int_equal(list.n, 1);
    generation_list_done(&list);
    assert_int_equal(test_count(test_path(t, "state/certificates/www"), "."), 0);
    assert_int_equal(test_count(test_path(t, "state/certificates/www/generations"), "."), 0);
    assert_false(test_exists(test_path(t, "state/.lock.1A2B3C")));
    assert_true(test_exists(test_path(t, "state/.keep"))); /* maybe the root of a file system */
}

static void sweeps_nothing_that_is_being_written(void **state)
{
    struct test_store *t = *state;
    struct generation_list list;

    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_put(test_path(t, "state/certificates/www/.temp"), "", 0600);
    test_start_generation(t, "www", 0);
    assert_true(generation_list(t->state, "www", &list, NULL));
    generation_list_done(&list);
    assert_true(test_exists(test_path(t, "state/certificates/www/.temp")));
    test_wait_good(t);
    assert_true(generation_list(t->state, "www", &list, NULL));
    generation_list_done(&list);
    assert_false(test_exists(test_path(t, "state/certificates/www/.temp")));
}

static void says_that_the_directory_was_replaced(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    assert_int_equal(rename(t->path, test_path(t, "moved")), 0);
    test_start_generation(t, "www", 0);
    test_wait(t);
    test_says(t->error, "gone");
    assert_int_equal(symlink("moved", t->path), 0); /* still the same directory */
    test_generation(t, "www");
    unlink(t->path);
    mkdir(t->path, 0700);
    test_start_generation(t, "www", 0);
    test_wait(t);
    test_says(t->error, "was replaced");
    assert_int_equal(test_count(t->path, ""), 0);
}

/* Another user ----------------------------------------------------------------------------------
 */

static int open_as_other(struct test_store *t)
{
    auto_err struct err *e = NULL;
    struct state *s = state_open(t->path, STATE_OWN, t->worker, &e);

    return !s && e && strstr(e->text, "belongs to user") ? 0 : 1;
}

static void only_the_owner_and_root_may_own_it(void **state)
{
    struct test_store *t = *state;

    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(t->dir, 0755), 0);
    mkdir(t->path, 0700);
    assert_int_equal(chmod(t->path, 0755), 0);
    assert_int_equal(test_as_user(NOBODY, open_as_other, t), 0);
}

static void has_owner(const char *path, uid_t uid)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    if (st.st_uid != uid || st.st_gid != uid)
        fail_msg("%s belongs to %u:%u", path, st.st_uid, st.st_gid);
}

static void root_works_for_the_owner(void **state)
{
    struct test_store *t = *state;
    auto_json json_t *j = json_object();

    if (geteuid() != 0)
        skip();
    mkdir(t->path, 0700);
    assert_int_equal(chown(t->path, NOBODY, NOBODY), 0);
    test_open(t);
    test_generation(t, "www");
    generation_switch(t->state, "www", 1, test_on_save, t);
    test_wait_good(t);
    state_save(t->state, "www", "order", j, test_on_save, t);
    test_wait_good(t);
    has_owner(test_path(t, "state/lock"), NOBODY);
    has_owner(test_path(t, "state/live/www"), NOBODY);
    has_owner(test_path(t, "state/certificates/www/order.json"), NOBODY);
    has_owner(test_path(t, "state/certificates/www/live"), NOBODY);
    has_owner(test_path(t, "state/certificates/www/generations/000001"), NOBODY);
    has_owner(test_path(t, "state/certificates/www/generations/000001/privkey.pem"), NOBODY);
    test_has_mode(test_path(t, "state/certificates/www/generations/000001/privkey.pem"), 0600);
}

static void does_not_use_what_a_third_user_has_written(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    if (geteuid() != 0)
        skip();
    test_open(t);
    close(state_certificate_dir(t->state, "www", true, NULL));
    test_put(test_path(t, "state/certificates/www/order.json"), "{\"version\":1}", 0600);
    assert_int_equal(chown(test_path(t, "state/certificates/www/order.json"), NOBODY, NOBODY), 0);
    assert_null(state_load(t->state, "www", "order", &e));
    test_says(e, "belongs to user 65534");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(makes_what_is_missing_with_private_modes),
        STORE_TEST(lets_the_group_in_where_the_directory_does),
        STORE_TEST(opens_folders_and_keys_when_the_directory_is_opened_to_its_group_later),
        STORE_TEST(opens_the_whole_way_to_a_generation_for_the_group),
        STORE_TEST(keeps_a_second_agent_out_and_names_the_first),
        STORE_TEST(never_believes_what_is_in_the_lock_file),
        STORE_TEST(the_lock_ends_with_the_last_owner),
        STORE_TEST(a_lock_file_that_is_another_file_is_not_touched),
        STORE_TEST(refuses_a_directory_that_others_may_write),
        STORE_TEST(refuses_folders_that_others_may_write),
        STORE_TEST(never_follows_a_symlink_inside),
        STORE_TEST(refuses_names_that_are_paths),
        STORE_TEST(reading_creates_nothing),
        STORE_TEST(removes_what_a_killed_process_left),
        STORE_TEST(sweeps_nothing_that_is_being_written),
        STORE_TEST(says_that_the_directory_was_replaced),
        STORE_TEST(only_the_owner_and_root_may_own_it),
        STORE_TEST(root_works_for_the_owner),
        STORE_TEST(does_not_use_what_a_third_user_has_written),
    };

    return cmocka_run_group_tests_name("state", tests, NULL, NULL);
}
