#include "agent/textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/manager_fake.h"
#include "base/file.h"

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = xstrdup("/tmp/textfile-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    (void)state;
    bool gone = file_remove(AT_FDCWD, folder, NULL);

    free(folder);
    return gone ? 0 : -1;
}

static char *read_text(const char *path)
{
    auto_buf struct buf text;

    buf_init(&text, 0);
    assert_true(file_read(AT_FDCWD, path, 1 << 20, false, &text, NULL));
    return buf_take(&text);
}

static void readable_for_others_without_what_node_exporter_has_itself(void **state)
{
    (void)state;
    struct manager m;
    struct stat st;
    auto_err struct err *e = NULL;
    auto_free char *path = xasprintf("%s/everleaf.prom", folder);
    mode_t old = umask(077);

    fake_manager_init(&m, 1);
    assert_true(textfile_write(&m, path, &e));
    umask(old);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    auto_free char *text = read_text(path);
    assert_non_null(strstr(text, "\neverleaf_certificate_ready{certificate=\"c0\"} 0\n"));
    assert_non_null(strstr(text, "\neverleaf_build_info{"));
    assert_null(strstr(text, "process_"));
    assert_null(strstr(text, "# EOF"));
    fake_manager_done(&m);
}

static void replaces_the_file_instead_of_writing_into_it(void **state)
{
    (void)state;
    struct manager m;
    struct stat st;
    auto_err struct err *e = NULL;
    auto_free char *path = xasprintf("%s/twice.prom", folder);

    fake_manager_init(&m, 1);
    assert_true(textfile_write(&m, path, &e));
    auto_close int reader = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(textfile_write(&m, path, &e));
    assert_int_equal(fstat(reader, &st), 0);
    assert_int_equal(st.st_nlink, 0); /* who had it open still has the whole old one */
    auto_strv struct strv names = {0};
    auto_close int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(file_list(dir, &names, NULL));
    for (size_t i = 0; i < names.n; i++)
        assert_int_not_equal(names.items[i][0], '.');
    fake_manager_done(&m);
}

static void a_folder_that_is_not_there_is_not_made(void **state)
{
    (void)state;
    struct manager m;
    auto_err struct err *e = NULL;

    auto_free char *missing = xasprintf("%s/missing", folder);
    auto_free char *path = xasprintf("%s/everleaf.prom", missing);

    fake_manager_init(&m, 0);
    assert_false(textfile_write(&m, path, &e));
    assert_int_equal(e->code, ENOENT);
    assert_non_null(strstr(e->text, missing));
    assert_int_equal(access(missing, F_OK), -1);
    fake_manager_done(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(readable_for_others_without_what_node_exporter_has_itself),
        cmocka_unit_test(replaces_the_file_instead_of_writing_into_it),
        cmocka_unit_test(a_folder_that_is_not_there_is_not_made),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
