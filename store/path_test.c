#include "store/test_store.h"

#include "store/path.h"

#define NOBODY 65534

static const struct file_mode last = {.mode = 0750, .uid = FILE_KEEP_OWNER, .gid = (gid_t)-1};

static void makes_the_folders_on_the_way(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    assert_int_equal(path_open_folder(test_path(t, "a/b/c"), false, last, &e), -1);
    assert_true(err_is_absent(e));
    auto_close int fd = path_open_folder(test_path(t, "a//b/c/"), true, last, NULL);
    assert_true(fd >= 0);
    test_has_mode(test_path(t, "a"), 0755);
    test_has_mode(test_path(t, "a/b"), 0755);
    test_has_mode(test_path(t, "a/b/c"), 0750);
    assert_int_equal(chmod(test_path(t, "a/b/c"), 0711), 0);
    auto_close int again = path_open_folder(test_path(t, "a/b/c"), true, last, NULL);
    assert_true(again >= 0);
    test_has_mode(test_path(t, "a/b/c"), 0711); /* what is there stays as it is */
    assert_int_equal(test_count(test_path(t, "a"), ""), 1);
}

static void takes_away_what_a_killed_attempt_left(void **state)
{
    struct test_store *t = *state;

    mkdir(test_path(t, ".a.everleaf-new"), 0700);
    auto_close int fd = path_open_folder(test_path(t, "a"), true, last, NULL);
    assert_true(fd >= 0);
    assert_false(test_exists(test_path(t, ".a.everleaf-new")));

    mkdir(test_path(t, ".b.everleaf-new"), 0700); /* somebody else's: not empty */
    mkdir(test_path(t, ".b.everleaf-new/x"), 0700);
    auto_close int other = path_open_folder(test_path(t, "b"), true, last, NULL);
    assert_true(other >= 0);
    assert_true(test_exists(test_path(t, ".b.everleaf-new/x")));
}

static void follows_our_symlinks(void **state)
{
    struct test_store *t = *state;

    mkdir(test_path(t, "real"), 0700);
    assert_int_equal(symlink("real", test_path(t, "relative")), 0);
    assert_int_equal(symlink(test_path(t, "relative"), test_path(t, "absolute")), 0);
    auto_close int fd = path_open_folder(test_path(t, "absolute/x"), true, last, NULL);
    assert_true(fd >= 0);
    assert_true(test_exists(test_path(t, "real/x")));
}

static void a_loop_of_symlinks_ends(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    assert_int_equal(symlink("b", test_path(t, "a")), 0);
    assert_int_equal(symlink("a", test_path(t, "b")), 0);
    assert_int_equal(path_open_folder(test_path(t, "a/x"), true, last, &e), -1);
    assert_int_equal(e->code, ELOOP);
}

static void does_not_follow_the_symlink_of_another_user(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    if (geteuid() != 0)
        skip();
    mkdir(test_path(t, "etc"), 0755);
    assert_int_equal(symlink("etc", test_path(t, "tls")), 0);
    assert_int_equal(lchown(test_path(t, "tls"), NOBODY, NOBODY), 0);
    assert_int_equal(path_open_folder(test_path(t, "tls"), true, last, &e), -1);
    test_says(e, "is a symlink of user 65534");
    assert_int_equal(test_count(test_path(t, "etc"), ""), 0);
}

static void a_file_on_the_way_is_an_error(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *file = NULL, *relative = NULL;
    const char *name = NULL;

    test_put(test_path(t, "f"), "", 0600);
    assert_int_equal(path_open_folder(test_path(t, "f/x"), true, last, &file), -1);
    assert_int_equal(file->code, ENOTDIR);
    assert_int_equal(path_open_folder("a/b", true, last, &relative), -1);
    assert_int_equal(relative->kind, ERR_CONFIG);
    auto_close int fd = path_open_parent(test_path(t, "certs/www.pem"), true, &name, NULL);
    assert_true(fd >= 0);
    assert_string_equal(name, "www.pem");
    assert_int_equal(path_open_parent("/x/", true, &name, NULL), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(makes_the_folders_on_the_way),
        STORE_TEST(takes_away_what_a_killed_attempt_left),
        STORE_TEST(follows_our_symlinks),
        STORE_TEST(a_loop_of_symlinks_ends),
        STORE_TEST(does_not_follow_the_symlink_of_another_user),
        STORE_TEST(a_file_on_the_way_is_an_error),
    };

    return cmocka_run_group_tests_name("path", tests, NULL, NULL);
}
