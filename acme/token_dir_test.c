#include "acme/token_dir.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

#define DIR ".well-known/acme-challenge"

static char root[64];
static char *self;

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/token-dir-test-XXXXXX");
    self = token_dir_self();
    return mkdtemp(root) && self ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(self);
    return file_remove(AT_FDCWD, root, NULL) ? 0 : -1;
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", root, name);
}

static bool is_there(const char *name)
{
    auto_free char *path = path_of(name);

    return access(path, F_OK) == 0;
}

static mode_t mode_of(const char *name)
{
    auto_free char *path = path_of(name);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void put(const char *name, const char *text)
{
    auto_free char *path = path_of(name);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void writes(const char *token, const char *text)
{
    auto_err struct err *err = NULL;

    if (!token_dir_write(root, self, token, text, &err))
        fail_msg("%s", err->text);
}

static void writes_a_file_that_every_server_can_read(void **state)
{
    (void)state;
    mode_t old = umask(0077);

    writes("tok-1", "tok-1.thumb");
    umask(old);
    auto_free char *path = path_of(DIR "/tok-1");
    auto_buf struct buf text;
    buf_init(&text, 100);
    assert_true(file_read(AT_FDCWD, path, 100, false, &text, NULL));
    assert_string_equal(text.data, "tok-1.thumb");
    assert_int_equal(mode_of(DIR "/tok-1"), 0644);
    assert_int_equal(mode_of(DIR), 0755);
    assert_int_equal(mode_of(".well-known"), 0755);
    assert_true(is_there(DIR "/.everleaf-tok-1"));
}

static void leaves_the_mode_of_directories_that_are_there(void **state)
{
    (void)state;
    auto_free char *path = path_of(".well-known");

    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(chmod(path, 0711), 0);
    writes("tok-1", "x");
    assert_int_equal(mode_of(".well-known"), 0711);
}

static void removes_only_what_it_wrote(void **state)
{
    (void)state;
    writes("tok-1", "x");
    put(DIR "/foreign", "y");
    token_dir_remove(root, "tok-1");
    token_dir_remove(root, "never-there");
    assert_false(is_there(DIR "/tok-1"));
    assert_false(is_there(DIR "/.everleaf-tok-1"));
    assert_true(is_there(DIR "/foreign"));
}

static void says_that_the_webroot_is_absent(void **state)
{
    (void)state;
    auto_free char *path = path_of("absent");
    auto_err struct err *err = NULL;

    assert_false(token_dir_write(path, self, "tok-1", "x", &err));
    assert_int_equal(err->kind, ERR_SYSTEM);
    assert_non_null(strstr(err->text, path));
    assert_non_null(err->hint);
    assert_false(is_there("absent"));
}

static void never_follows_a_link_out_of_the_webroot(void **state)
{
    (void)state;
    auto_free char *outside = path_of("outside");
    auto_free char *webroot = path_of("webroot");
    auto_free char *inner = path_of("webroot/.well-known");
    auto_err struct err *err = NULL;

    assert_int_equal(mkdir(outside, 0755), 0);
    assert_int_equal(mkdir(webroot, 0755), 0);
    assert_int_equal(symlink("../outside", inner), 0);
    assert_false(token_dir_write(webroot, self, "tok-1", "x", &err));
    assert_non_null(strstr(err->text, webroot));
    assert_false(is_there("outside/acme-challenge"));

    /* The token's own name may be a trap, too. */
    writes("tok-1", "x");
    auto_free char *trap = path_of(DIR "/tok-2");
    put("victim", "precious");
    assert_int_equal(symlink("../../victim", trap), 0);
    writes("tok-2", "y");
    auto_free char *victim = path_of("victim");
    auto_buf struct buf text;
    buf_init(&text, 100);
    assert_true(file_read(AT_FDCWD, victim, 100, false, &text, NULL));
    assert_string_equal(text.data, "precious");
}

/* A marker as another process of this host would have written it. */
static char *marker_of(pid_t pid, const char *start)
{
    size_t host_len = strcspn(self, " ");

    return xasprintf("%.*s %d %s\n", (int)host_len, self, (int)pid, start);
}

static void cleans_what_dead_processes_left(void **state)
{
    (void)state;
    auto_free char *recycled = marker_of(getpid(), "1"); /* our pid, but not our start time */
    auto_free char *dead = marker_of(999999999, "77");

    writes("mine", "x"); /* this process lives */
    put(DIR "/gone-1", "x");
    put(DIR "/.everleaf-gone-1", recycled);
    put(DIR "/.gone-1.aB3xY9", "half");
    put(DIR "/gone-2", "x");
    put(DIR "/.everleaf-gone-2", dead);
    put(DIR "/.everleaf-gone-3", ""); /* killed between marker and token */
    token_dir_clean(root, self);
    assert_true(is_there(DIR "/mine"));
    assert_true(is_there(DIR "/.everleaf-mine"));
    assert_false(is_there(DIR "/gone-1"));
    assert_false(is_there(DIR "/.everleaf-gone-1"));
    assert_false(is_there(DIR "/.gone-1.aB3xY9"));
    assert_false(is_there(DIR "/gone-2"));
    assert_false(is_there(DIR "/.everleaf-gone-3"));
}

static void leaves_what_others_may_need(void **state)
{
    (void)state;
    writes("mine", "x");
    put(DIR "/foreign", "foreign.thumb");
    put(DIR "/.foreign.aB3xY9", "half");
    put(DIR "/elsewhere", "x");
    put(DIR "/.everleaf-elsewhere", "another-host 1 1\n");
    put(DIR "/.everleaf-a b", ""); /* no token of ours */
    put("index.html", "precious");
    put(DIR "/.everleaf-...index.html", "");
    token_dir_clean(root, self);
    assert_true(is_there(DIR "/foreign"));
    assert_true(is_there(DIR "/.foreign.aB3xY9"));
    assert_true(is_there(DIR "/elsewhere"));
    assert_true(is_there(DIR "/.everleaf-a b"));
    assert_true(is_there("index.html"));
    assert_true(is_there(DIR "/.everleaf-...index.html"));
}

static void cleaning_makes_nothing(void **state)
{
    (void)state;
    token_dir_clean(root, self);
    assert_false(is_there(".well-known"));
    token_dir_clean("/nonexistent", self);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(writes_a_file_that_every_server_can_read),
        T(leaves_the_mode_of_directories_that_are_there),
        T(removes_only_what_it_wrote),
        T(says_that_the_webroot_is_absent),
        T(never_follows_a_link_out_of_the_webroot),
        T(cleans_what_dead_processes_left),
        T(leaves_what_others_may_need),
        T(cleaning_makes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
