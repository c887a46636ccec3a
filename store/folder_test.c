#include "store/test_store.h"

#include "store/folder.h"

static const struct file_mode private = {.mode = 0600, .uid = FILE_KEEP_OWNER, .gid = (gid_t)-1};
static const struct file_mode folder = {.mode = 0750, .uid = FILE_KEEP_OWNER, .gid = (gid_t)-1};

static int open_dir(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void is_made_whole_or_not_at_all(void **state)
{
    struct test_store *t = *state;
    auto_close int fd = open_dir(t->dir);
    auto_err struct err *e = NULL;
    const struct folder_file good[] = {{"a", "one", 3, private}, {"b", "", 0, folder}};
    const struct folder_file bad[] = {{"a", "one", 3, private}, {"x/y", "", 0, private}};

    assert_true(folder_write(fd, "new", good, 2, folder, NULL));
    test_has_mode(test_path(t, "new"), 0750);
    test_has_mode(test_path(t, "new/a"), 0600);
    auto_free char *text = test_read(test_path(t, "new/a"));
    assert_string_equal(text, "one");
    assert_false(folder_write(fd, "other", bad, 2, folder, &e));
    assert_false(test_exists(test_path(t, "other")));
    assert_false(folder_write(fd, "new", good, 2, folder, NULL)); /* must not exist */
}

static void modes_do_not_depend_on_the_umask(void **state)
{
    struct test_store *t = *state;
    auto_close int fd = open_dir(t->dir);
    const struct folder_file files[] = {{"a", "one", 3, {0644, FILE_KEEP_OWNER, (gid_t)-1}}};
    mode_t old = umask(0077);

    assert_true(folder_write(fd, "new", files, 1, folder, NULL));
    umask(old);
    test_has_mode(test_path(t, "new"), 0750);
    test_has_mode(test_path(t, "new/a"), 0644);
}

static void knows_whether_a_file_is_there_exactly_so(void **state)
{
    struct test_store *t = *state;
    auto_close int fd = open_dir(t->dir);
    struct folder_file f = {"a", "content", 7, private};

    assert_false(folder_has(fd, &f));
    test_put(test_path(t, "a"), "content", 0600);
    assert_true(folder_has(fd, &f));
    test_put(test_path(t, "a"), "content", 0640);
    assert_false(folder_has(fd, &f));
    test_put(test_path(t, "a"), "Content", 0600);
    assert_false(folder_has(fd, &f));
    test_put(test_path(t, "a"), "content and more", 0600);
    assert_false(folder_has(fd, &f));
    test_put(test_path(t, "a"), "conten", 0600);
    assert_false(folder_has(fd, &f));
    f.mode.uid = geteuid() + 1;
    test_put(test_path(t, "a"), "content", 0600);
    assert_false(folder_has(fd, &f));
    f.mode.uid = geteuid();
    assert_true(folder_has(fd, &f));
    assert_int_equal(rename(test_path(t, "a"), test_path(t, "b")), 0);
    assert_int_equal(symlink("b", test_path(t, "a")), 0);
    assert_false(folder_has(fd, &f));
}

static void replaces_symlinks_without_following_them(void **state)
{
    struct test_store *t = *state;
    auto_close int fd = open_dir(t->dir);
    const struct folder_file f = {"a", "new", 3, private};

    test_put(test_path(t, "victim"), "precious", 0600);
    assert_int_equal(symlink("victim", test_path(t, "a")), 0);
    assert_true(folder_replace(fd, &f, 1, NULL));
    auto_free char *victim = test_read(test_path(t, "victim"));
    assert_string_equal(victim, "precious");
    assert_true(folder_has(fd, &f));
    assert_int_equal(test_count(t->dir, "."), 0);
}

static void a_failed_replacement_changes_nothing(void **state)
{
    struct test_store *t = *state;
    auto_close int fd = open_dir(t->dir);
    auto_err struct err *e = NULL;
    char name[256];

    memset(name, 'n', 250); /* a temporary name for it would be too long */
    name[250] = '\0';
    const struct folder_file files[] = {{"a", "new", 3, private}, {name, "new", 3, private}};
    test_put(test_path(t, "a"), "old", 0600);
    assert_false(folder_replace(fd, files, 2, &e));
    assert_int_equal(e->code, ENAMETOOLONG);
    auto_free char *text = test_read(test_path(t, "a"));
    assert_string_equal(text, "old");
    assert_int_equal(test_count(t->dir, "."), 0);
}

static void sweeps_its_own_leftovers_only(void **state)
{
    struct test_store *t = *state;
    auto_close int fd = open_dir(t->dir);
    const char *const names[] = {"a.pem"};

    test_put(test_path(t, ".a.pem.everleaf-00112233"), "", 0600);
    test_put(test_path(t, ".b.pem.everleaf-00112233"), "", 0600);
    test_put(test_path(t, ".a.pem.swp"), "", 0600);
    folder_sweep(fd, names, 1);
    assert_false(test_exists(test_path(t, ".a.pem.everleaf-00112233")));
    assert_int_equal(test_count(t->dir, "."), 2);
}

static void links_of_others_are_theirs(void **state)
{
    struct test_store *t = *state;
    auto_close int fd = open_dir(t->dir);
    auto_err struct err *foreign = NULL, *dir = NULL;

    assert_true(folder_may_replace(fd, "a", NULL, NULL));
    test_put(test_path(t, "a"), "", 0600);
    assert_true(folder_may_replace(fd, "a", NULL, NULL));
    assert_true(folder_link(fd, "..data/a", "a", private, NULL));
    assert_true(folder_may_replace(fd, "a", "..data/a", NULL));
    assert_false(folder_may_replace(fd, "a", "..data/b", NULL));
    assert_false(folder_may_replace(fd, "a", NULL, &foreign));
    test_says(foreign, "a symlink to ..data/a that we have not made");
    mkdir(test_path(t, "d"), 0700);
    assert_false(folder_may_replace(fd, "d", NULL, &dir));
    test_says(dir, "is no file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(is_made_whole_or_not_at_all),
        STORE_TEST(modes_do_not_depend_on_the_umask),
        STORE_TEST(knows_whether_a_file_is_there_exactly_so),
        STORE_TEST(replaces_symlinks_without_following_them),
        STORE_TEST(a_failed_replacement_changes_nothing),
        STORE_TEST(sweeps_its_own_leftovers_only),
        STORE_TEST(links_of_others_are_theirs),
    };

    return cmocka_run_group_tests_name("folder", tests, NULL, NULL);
}
