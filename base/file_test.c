#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

/* The system calls of a write, seen from outside: these definitions come before libc's. */
static struct {
    char steps[64];  /* a letter for each call */
    size_t crash_at; /* the process ends instead of the n-th call, 0: never */
    char fail;       /* the call that fails ... */
    int fail_errno;  /* ... this way */
    bool stutter;    /* writes are interrupted and short */
} world;

static int step(char letter)
{
    size_t n = strlen(world.steps);

    if (world.crash_at == n + 1)
        _exit(9);
    if (n + 1 < sizeof(world.steps))
        world.steps[n] = letter;
    if (world.fail != letter)
        return 0;
    errno = world.fail_errno;
    return -1;
}

ssize_t write(int fd, const void *data, size_t len)
{
    static int calls;

    if (fd > STDERR_FILENO && !world.stutter && step('w') != 0)
        return -1;
    if (fd > STDERR_FILENO && world.stutter) {
        if (++calls % 2 == 0) {
            errno = EINTR;
            return -1;
        }
        len = len > 7 ? 7 : len;
    }
    return syscall(SYS_write, fd, data, len);
}

int fsync(int fd)
{
    struct stat st;

    fstat(fd, &st);
    return step(S_ISDIR(st.st_mode) ? 'd' : 's') ? -1 : (int)syscall(SYS_fsync, fd);
}

int fchown(int fd, uid_t uid, gid_t gid)
{
    return step('o') ? -1 : (int)syscall(SYS_fchown, fd, uid, gid);
}

int fchmod(int fd, mode_t mode)
{
    return step('m') ? -1 : (int)syscall(SYS_fchmod, fd, mode);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return step('r') ? -1 : (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

/* -1: the tests' directory */
static int dir = -1;
static char dir_path[] = "/tmp/everleaf-file-XXXXXX";

static const struct file_mode plain = {.mode = 0640, .uid = FILE_KEEP_OWNER, .gid = (gid_t)-1};

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    strcpy(dir_path + sizeof(dir_path) - 7, "XXXXXX");
    if (!mkdtemp(dir_path))
        return -1;
    dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    close(dir);
    return file_remove(AT_FDCWD, dir_path, NULL) ? 0 : -1;
}

static void put(const char *name, const char *text)
{
    auto_err struct err *err = NULL;

    if (!file_write(dir, name, text, strlen(text), plain, &err))
        fail_msg("%s", err->text);
}

static void holds(const char *name, const char *expected)
{
    auto_buf struct buf b = {0};
    auto_err struct err *err = NULL;

    if (!file_read(dir, name, 1 << 20, false, &b, &err))
        fail_msg("%s", err->text);
    assert_string_equal(b.data, expected);
}

static void lists(const char *expected)
{
    auto_strv struct strv names = {0};

    assert_true(file_list(dir, &names, NULL));
    auto_free char *text = strv_join(&names, " ");
    assert_string_equal(text, expected);
}

/* Writing -------------------------------------------------------------------------------------- */

static void data_owner_mode_sync_rename_sync(void **state)
{
    struct file_mode owned = {.mode = 0640, .uid = getuid(), .gid = getgid()};

    (void)state;
    assert_true(file_write(dir, "a", "x", 1, owned, NULL));
    assert_string_equal(world.steps, "womsrd");
    memset(world.steps, 0, sizeof(world.steps));
    assert_true(file_write(dir, "a", "", 0, plain, NULL)); /* nobody's owner changes */
    assert_string_equal(world.steps, "msrd");
}

static void the_mode_is_exact_whatever_the_umask(void **state)
{
    mode_t old = umask(077);
    struct stat st;

    (void)state;
    put("a", "x");
    umask(old);
    assert_int_equal(fstatat(dir, "a", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    lists("a");
}

static void replaces_what_was_there(void **state)
{
    (void)state;
    put("a", "old");
    put("a", "new and longer");
    holds("a", "new and longer");
    put("a", "");
    holds("a", "");
    lists("a");
}

static void interrupted_and_short_writes_go_on(void **state)
{
    char text[1000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    world.stutter = true;
    put("a", text);
    holds("a", text);
}

static void a_crash_leaves_the_old_or_the_new(void **state)
{
    size_t crashes = 0;

    (void)state;
    for (size_t at = 1; at < 20; at++) {
        int status;

        put("a", "old");
        pid_t pid = fork();
        if (pid == 0) {
            memset(&world, 0, sizeof(world));
            world.crash_at = at;
            _exit(file_write(dir, "a", "new", 3, plain, NULL) ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 1);
        /* w m s r d: only the last one comes after the rename */
        holds("a", WEXITSTATUS(status) == 9 && at <= 4 ? "old" : "new");
        file_remove_temps(dir);
        lists("a");
        crashes += WEXITSTATUS(status) == 9;
    }
    assert_int_equal(crashes, 5);
}

static void any_failure_keeps_the_old_and_nothing_else(void **state)
{
    static const char calls[] = "womsr";
    struct file_mode owned = {.mode = 0640, .uid = getuid(), .gid = getgid()};

    (void)state;
    put("a", "old");
    for (const char *c = calls; *c; c++) {
        auto_err struct err *err = NULL;

        memset(&world, 0, sizeof(world));
        world.fail = *c;
        world.fail_errno = ENOSPC;
        assert_false(file_write(dir, "a", "new", 3, owned, &err));
        assert_int_equal(err->kind, ERR_SYSTEM);
        assert_int_equal(err->code, ENOSPC);
        assert_non_null(strstr(err->text, "a: No space left on device"));
        holds("a", "old");
        lists("a");
    }
}

static void a_failed_fsync_is_not_tried_again(void **state)
{
    (void)state;
    world.fail = 's';
    world.fail_errno = EIO;
    assert_false(file_write(dir, "a", "x", 1, plain, NULL));
    assert_string_equal(world.steps, "wms");
    lists("");
}

static void a_directory_that_cannot_be_synced_is_an_error_unless_it_never_can(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    world.fail = 'd';
    world.fail_errno = EIO;
    assert_false(file_write(dir, "a", "x", 1, plain, &err));
    assert_int_equal(err->code, EIO);
    world.fail_errno = EINVAL;
    assert_true(file_write(dir, "a", "y", 1, plain, NULL));
    assert_true(file_sync_dir(dir, NULL));
}

static void a_name_of_255_bytes_has_a_temporary_name(void **state)
{
    char name[NAME_MAX + 2];

    (void)state;
    memset(name, 'n', NAME_MAX);
    name[NAME_MAX] = '\0';
    put(name, "long");
    holds(name, "long");
    for (int i = 0; i < NAME_MAX - 1; i += 2) /* cut between characters */
        memcpy(name + i, "\xc3\xa4", 2);
    put(name, "long");
    holds(name, "long");
    memset(name, 'n', NAME_MAX + 1);
    name[NAME_MAX + 1] = '\0';
    assert_false(file_write(dir, name, "x", 1, plain, NULL));
}

static void a_path_may_lead_into_another_directory(void **state)
{
    auto_free char *path = xasprintf("%s/sub/a", dir_path);

    (void)state;
    assert_int_equal(mkdirat(dir, "sub", 0755), 0);
    put("sub/a", "one");
    holds("sub/a", "one");
    assert_true(file_write(AT_FDCWD, path, "two", 3, plain, NULL));
    holds("sub/a", "two");
    lists("sub"); /* the temporary file was in sub/, too */
}

static void names_that_are_no_files_are_refused(void **state)
{
    static const char *const bad[] = {"", ".", "..", "sub/", "sub", "none/a", "file/a", "sub/.."};

    (void)state;
    assert_int_equal(mkdirat(dir, "sub", 0755), 0);
    put("file", "x");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (file_write(dir, bad[i], "x", 1, plain, NULL))
            fail_msg("\"%s\" was written", bad[i]);
    lists("file sub");
}

static void a_symlink_is_replaced_not_followed(void **state)
{
    (void)state;
    put("victim", "safe");
    assert_int_equal(symlinkat("victim", dir, "a"), 0);
    put("a", "mine");
    holds("victim", "safe");
    holds("a", "mine");
}

static void create_wants_a_name_that_is_free(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    assert_true(file_create(dir, "a", "one", 3, plain, NULL));
    assert_string_equal(world.steps, "wms");
    assert_false(file_create(dir, "a", "two", 3, plain, &err));
    assert_int_equal(err->code, EEXIST);
    holds("a", "one");
    assert_int_equal(symlinkat("nowhere", dir, "link"), 0);
    assert_false(file_create(dir, "link", "x", 1, plain, NULL));
    lists("a link");
    world.fail = 's';
    world.fail_errno = EIO;
    assert_false(file_create(dir, "b", "x", 1, plain, NULL));
    lists("a link");
}

static void symlinks_are_replaced_by_rename(void **state)
{
    (void)state;
    assert_true(file_symlink(dir, "generations/000001", "live", NULL));
    assert_true(file_symlink(dir, "generations/000002", "live", NULL));
    assert_string_equal(world.steps, "rdrd");
    auto_free char *target = file_readlink(dir, "live", NULL);
    assert_string_equal(target, "generations/000002");
    lists("live");
    world.fail = 'r';
    world.fail_errno = EACCES;
    assert_false(file_symlink(dir, "elsewhere", "live", NULL));
    lists("live");
}

static void only_left_overs_of_ours_are_swept(void **state)
{
    static const char *const kept[] = {
        ".a.backup", ".bashrc.123456", "a.1A2B3C", "..1A2B3C", ".a.1a2b3c", ".a.A1B2C3", ".a.1A2B3",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        put(kept[i], "x");
    assert_int_equal(mkdirat(dir, ".dir.1A2B3C", 0755), 0);
    put(".a.1A2B3C", "x");
    put(".long.name.9Z9Z9Z", "x");
    assert_int_equal(symlinkat("victim", dir, ".live.0A0A0A"), 0);
    file_remove_temps(dir);
    lists("..1A2B3C .a.1A2B3 .a.1a2b3c .a.A1B2C3 .a.backup .bashrc.123456 .dir.1A2B3C a.1A2B3C");
}

/* Reading -------------------------------------------------------------------------------------- */

static void reads_up_to_the_maximum_and_no_more(void **state)
{
    auto_buf struct buf b = {0};
    auto_err struct err *err = NULL;

    (void)state;
    put("a", "12345");
    assert_true(file_read(dir, "a", 5, false, &b, NULL));
    assert_string_equal(b.data, "12345");
    assert_true(file_read(dir, "a", 6, false, &b, NULL)); /* not appended */
    assert_string_equal(b.data, "12345");
    assert_false(file_read(dir, "a", 4, false, &b, &err));
    assert_int_equal(err->kind, ERR_SYSTEM);
    assert_string_equal(err->text, "a is larger than 4 bytes");
    put("a", "");
    assert_true(file_read(dir, "a", 0, false, &b, NULL));
    assert_int_equal(b.len, 0);
}

static void absent_is_told_from_unreadable(void **state)
{
    auto_buf struct buf b = {0};
    auto_err struct err *err = NULL;

    (void)state;
    assert_false(file_read(dir, "none", 5, false, &b, &err));
    assert_true(err_is_absent(err));
    put("file", "x");
    assert_false(file_read(dir, "file/x", 5, false, &b, &err));
    assert_false(err_is_absent(err));
    assert_false(err_is_absent(NULL));
    err_set(&err, ERR_REFUSED, "x");
    assert_false(err_is_absent(err));
}

static void only_regular_files_are_read_and_nobody_waits(void **state)
{
    static const char *const names[] = {"fifo", "sub", "/dev/zero"};

    (void)state;
    assert_int_equal(mkfifoat(dir, "fifo", 0600), 0);
    assert_int_equal(mkdirat(dir, "sub", 0755), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        auto_buf struct buf b = {0};
        auto_err struct err *err = NULL;

        assert_false(file_read(dir, names[i], 5, false, &b, &err));
        assert_non_null(strstr(err->text, "is not a regular file"));
    }
}

static void symlinks_are_followed_when_asked_for(void **state)
{
    auto_buf struct buf b = {0};
    auto_err struct err *err = NULL;

    (void)state;
    put("a", "x");
    assert_int_equal(symlinkat("a", dir, "link"), 0);
    assert_false(file_read(dir, "link", 5, false, &b, &err));
    assert_int_equal(err->code, ELOOP);
    assert_true(file_read(dir, "link", 5, true, &b, NULL));
    assert_string_equal(b.data, "x");
}

static void readlink_wants_a_symlink(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    put("a", "x");
    assert_null(file_readlink(dir, "a", &err));
    assert_int_equal(err->code, EINVAL);
    assert_null(file_readlink(dir, "none", &err));
    assert_true(err_is_absent(err));
}

/* Directories ---------------------------------------------------------------------------------- */

static void a_new_directory_has_its_mode_and_is_synced(void **state)
{
    mode_t old = umask(077);
    struct stat st;

    (void)state;
    auto_close int fd = file_open_dir(dir, "sub", true, 0755, NULL);
    umask(old);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_string_equal(world.steps, "dm");
    auto_close int again = file_open_dir(dir, "sub", true, 0700, NULL);
    assert_true(again >= 0);
    assert_int_equal(fstat(again, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755); /* somebody else's decision */
}

static void directories_behind_symlinks_are_not_opened(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    assert_int_equal(mkdirat(dir, "sub", 0755), 0);
    assert_int_equal(symlinkat("sub", dir, "link"), 0);
    assert_int_equal(file_open_dir(dir, "link", true, 0755, &err), -1);
    assert_int_equal(file_open_dir(dir, "none", false, 0755, &err), -1);
    assert_true(err_is_absent(err));
    put("file", "x");
    assert_int_equal(file_open_dir(dir, "file", true, 0755, &err), -1);
    assert_int_equal(err->code, ENOTDIR);
}

static void makes_whole_paths(void **state)
{
    auto_free char *path = xasprintf("%s/link//b/c/", dir_path);
    auto_free char *blocked = xasprintf("%s/file/c", dir_path);
    auto_err struct err *err = NULL;
    struct stat st;

    (void)state;
    assert_int_equal(mkdirat(dir, "a", 0700), 0);
    assert_int_equal(symlinkat("a", dir, "link"), 0);
    auto_close int fd = file_make_path(path, 0750, NULL);
    assert_true(fd >= 0);
    assert_int_equal(fstatat(dir, "a/b", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(fstatat(dir, "a/b/c", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(fstatat(dir, "a", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    auto_close int again = file_make_path(path, 0700, NULL);
    assert_true(again >= 0);
    auto_close int root = file_make_path("/", 0755, NULL);
    assert_true(root >= 0);

    put("file", "x");
    assert_int_equal(file_make_path(blocked, 0755, &err), -1);
    assert_int_equal(err->code, ENOTDIR);
    assert_int_equal(file_make_path("", 0755, &err), -1);
}

static void removes_trees_but_not_what_symlinks_show(void **state)
{
    (void)state;
    assert_int_equal(mkdirat(dir, "keep", 0755), 0);
    put("keep/file", "x");
    assert_int_equal(mkdirat(dir, "tree", 0755), 0);
    assert_int_equal(mkdirat(dir, "tree/sub", 0755), 0);
    put("tree/sub/file", "x");
    put("tree/.hidden", "x");
    assert_int_equal(symlinkat("../keep", dir, "tree/link"), 0);
    assert_int_equal(mkfifoat(dir, "tree/fifo", 0600), 0);
    assert_true(file_remove(dir, "tree", NULL));
    assert_int_equal(symlinkat("keep", dir, "link"), 0);
    assert_true(file_remove(dir, "link", NULL));
    assert_true(file_remove(dir, "never there", NULL));
    lists("keep");
    holds("keep/file", "x");
}

static void a_bottomless_tree_is_an_error(void **state)
{
    auto_err struct err *err = NULL;
    auto_strv struct strv names = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        strv_add(&names, "d");
    auto_free char *relative = strv_join(&names, "/");
    auto_free char *path = xasprintf("%s/%s", dir_path, relative);
    auto_close int fd = file_make_path(path, 0755, NULL);
    assert_true(fd >= 0);
    assert_false(file_remove(dir, "d", &err));
    assert_int_equal(err->code, ELOOP);
    for (int i = 100; i > 0; i--) { /* not with the function under test */
        assert_int_equal(unlinkat(dir, relative, AT_REMOVEDIR), 0);
        relative[i > 1 ? 2 * i - 3 : 0] = '\0';
    }
}

static void lists_sorted_and_from_the_start_each_time(void **state)
{
    auto_strv struct strv names = {0};
    auto_err struct err *err = NULL;

    (void)state;
    put("b", "");
    put("a", "");
    put(".c", "");
    lists(".c a b");
    lists(".c a b");
    auto_close int file = openat(dir, "a", O_RDONLY | O_CLOEXEC);
    assert_false(file_list(file, &names, &err));
    assert_int_equal(err->code, ENOTDIR);
}

static void renames(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    put("a", "x");
    assert_true(file_rename(dir, "a", "b", NULL));
    lists("b");
    assert_false(file_rename(dir, "a", "c", &err));
    assert_true(err_is_absent(err));
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(data_owner_mode_sync_rename_sync),
        test(the_mode_is_exact_whatever_the_umask),
        test(replaces_what_was_there),
        test(interrupted_and_short_writes_go_on),
        test(a_crash_leaves_the_old_or_the_new),
        test(any_failure_keeps_the_old_and_nothing_else),
        test(a_failed_fsync_is_not_tried_again),
        test(a_directory_that_cannot_be_synced_is_an_error_unless_it_never_can),
        test(a_name_of_255_bytes_has_a_temporary_name),
        test(a_path_may_lead_into_another_directory),
        test(names_that_are_no_files_are_refused),
        test(a_symlink_is_replaced_not_followed),
        test(create_wants_a_name_that_is_free),
        test(symlinks_are_replaced_by_rename),
        test(only_left_overs_of_ours_are_swept),
        test(reads_up_to_the_maximum_and_no_more),
        test(absent_is_told_from_unreadable),
        test(only_regular_files_are_read_and_nobody_waits),
        test(symlinks_are_followed_when_asked_for),
        test(readlink_wants_a_symlink),
        test(a_new_directory_has_its_mode_and_is_synced),
        test(directories_behind_symlinks_are_not_opened),
        test(makes_whole_paths),
        test(removes_trees_but_not_what_symlinks_show),
        test(a_bottomless_tree_is_an_error),
        test(lists_sorted_and_from_the_start_each_time),
        test(renames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
