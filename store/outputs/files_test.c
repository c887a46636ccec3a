#include "store/test_output.h"

#include <sys/socket.h>

#define NOBODY 65534

static struct output make(struct test_store *t, const char *more)
{
    auto_free char *yaml = xasprintf("{dir: %s/out%s}", t->dir, more);

    return test_output("files", yaml, NULL);
}

static void all_names_are_there_with_their_modes(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;
    auto_free char *sha256 = NULL;
    mode_t old = umask(0077);

    test_bundle(t, &b, &sha256);
    test_write(&o, &b);
    umask(old);
    assert_string_equal(o.path, test_path(t, "out"));
    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        auto_free char *path = xasprintf("%s/out/%s", t->dir, bundle_names[i]);
        test_has_text(path, &b.parts[i]);
        test_has_mode(path, i == BUNDLE_KEY ? 0600 : 0644);
    }
    test_has_mode(test_path(t, "out"), 0755);
    test_has_mode(test_path(t, "out/..data/"), 0755);
    auto_free char *link = file_readlink(AT_FDCWD, test_path(t, "out/privkey.pem"), NULL);
    assert_string_equal(link, "..data/privkey.pem");
    test_serves(&o, sha256);
    output_done(&o);
}

static void plain_files_are_real_files(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, ", layout: plain, mode: '0640', key_mode: '0440'");
    auto_bundle struct bundle b;
    auto_free char *sha256 = NULL;

    test_bundle(t, &b, &sha256);
    test_write(&o, &b);
    test_has_mode(test_path(t, "out"), 0750);
    test_has_mode(test_path(t, "out/privkey.pem"), 0440);
    test_has_mode(test_path(t, "out/fullchain.pem"), 0640);
    assert_int_equal(test_count(test_path(t, "out"), "."), 0);
    assert_int_equal(test_count(test_path(t, "out"), ""), BUNDLE_PARTS);
    struct stat st;
    assert_int_equal(lstat(test_path(t, "out/cert.pem"), &st), 0);
    assert_true(S_ISREG(st.st_mode));
    test_serves(&o, sha256);
    output_done(&o);
}

static void owner_and_group_are_set_before_anything_is_visible(void **state)
{
    struct test_store *t = *state;
    struct stat st;

    if (geteuid() != 0)
        skip();
    struct output o = make(t, ", owner: nobody, group: '65533', key_mode: '0640'");
    auto_bundle struct bundle b;
    test_bundle(t, &b, NULL);
    test_write(&o, &b);
    static const char *const paths[] = {"out", "out/..data/", "out/privkey.pem", "out/cert.pem"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        assert_int_equal(stat(test_path(t, paths[i]), &st), 0);
        assert_int_equal(st.st_uid, NOBODY);
        assert_int_equal(st.st_gid, 65533);
    }
    output_done(&o);
}

static void nothing_changes_when_nothing_is_to_be_changed(void **state)
{
    struct test_store *t = *state;
    static const char *const layouts[] = {", layout: versioned", ", layout: plain"};

    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        struct output o = make(t, layouts[i]);
        struct stat folder[2], key[2];
        auto_bundle struct bundle b;
        test_bundle(t, &b, NULL);
        test_write(&o, &b);
        test_stat(test_path(t, "out"), &folder[0]);
        test_stat(test_path(t, "out/privkey.pem"), &key[0]);
        test_write(&o, &b);
        test_stat(test_path(t, "out"), &folder[1]);
        test_stat(test_path(t, "out/privkey.pem"), &key[1]);
        assert_true(test_same_file(&folder[0], &folder[1]));
        assert_true(test_same_file(&key[0], &key[1]));
        output_done(&o);
    }
}

static void what_was_changed_by_others_is_repaired(void **state)
{
    struct test_store *t = *state;
    static const char *const layouts[] = {"versioned", "plain"};

    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        auto_free char *more = xasprintf(", layout: %s", layouts[i]);
        struct output o = make(t, more);
        auto_bundle struct bundle b;
        auto_free char *sha256 = NULL;
        test_bundle(t, &b, &sha256);
        test_write(&o, &b);

        assert_int_equal(chmod(test_path(t, "out/privkey.pem"), 0644), 0);
        assert_false(o.type->holds(o.settings, &b));
        test_write(&o, &b);
        test_has_mode(test_path(t, "out/privkey.pem"), 0600);

        unlink(test_path(t, "out/cert.pem"));
        assert_false(o.type->holds(o.settings, &b));
        assert_null(o.type->current(o.settings, NULL));
        test_write(&o, &b);

        unlink(test_path(t, "out/fullchain.pem"));
        test_put(test_path(t, "out/fullchain.pem"), "rewritten", 0644);
        assert_false(o.type->holds(o.settings, &b));
        assert_null(o.type->current(o.settings, NULL));
        test_write(&o, &b);
        test_has_text(test_path(t, "out/fullchain.pem"), &b.parts[BUNDLE_FULLCHAIN]);
        test_serves(&o, sha256);
        output_done(&o);
    }
}

static void current_tells_what_is_really_there(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, ", layout: plain");
    auto_bundle struct bundle one, two;
    auto_free char *sha256 = NULL;
    auto_err struct err *absent = NULL, *mixed = NULL, *key = NULL;

    assert_null(o.type->current(o.settings, &absent));
    assert_true(err_is_absent(absent));
    test_bundle(t, &one, NULL);
    test_bundle(t, &two, &sha256);
    test_write(&o, &one);
    test_write(&o, &two);
    test_serves(&o, sha256);
    test_put(test_path(t, "out/privkey.pem"), one.parts[BUNDLE_KEY].data, 0600);
    assert_null(o.type->current(o.settings, &mixed));
    test_says(mixed, "key");
    unlink(test_path(t, "out/privkey.pem"));
    assert_null(o.type->current(o.settings, &key));
    assert_true(err_is_absent(key));
    output_done(&o);
}

static void the_set_before_stays_for_those_who_are_reading_it(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");

    for (int i = 0; i < 4; i++) {
        auto_bundle struct bundle b;
        test_bundle(t, &b, NULL);
        test_write(&o, &b);
        assert_int_equal(test_count(test_path(t, "out"), "..everleaf-"), i == 0 ? 1 : 2);
    }
    output_done(&o);
}

/* Readers -------------------------------------------------------------------------------------- */

/* Opens `..data` once and both files through it; 1: no `..data`, or a mixed pair. A reader that is
 * slower than two rotations finds the folder empty and has to look again. */
static int read_pair(const char *out)
{
    auto_buf struct buf key = {0}, cert = {0};
    auto_free char *path = xasprintf("%s/..data", out);
    auto_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    buf_init(&key, 65536);
    buf_init(&cert, 65536);
    if (fd < 0)
        return 1;
    if (!file_read(fd, "privkey.pem", 65536, false, &key, NULL) ||
        !file_read(fd, "cert.pem", 65536, false, &cert, NULL))
        return 0;
    auto_key struct key *k = key_from_pem(key.data, key.len, NULL);
    auto_chain struct chain *c = chain_from_pem(cert.data, cert.len, NULL);
    return k && c && chain_matches_key(c, k, NULL) ? 0 : 1;
}

struct reader {
    pid_t pid;
    int socket;
};

/* A child that looks until its socket ends; it has looked once when this returns. */
static struct reader start_reader(struct test_store *t, int (*look)(const char *out))
{
    auto_free char *out = xasprintf("%s/out", t->dir);
    int ends[2];
    char c;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[1]);
        unsigned bad = (unsigned)look(out);
        (void)!write(ends[0], "r", 1);
        while (recv(ends[0], &c, 1, MSG_DONTWAIT) != 0)
            bad += (unsigned)look(out);
        _exit(bad > 99 ? 99 : (int)bad);
    }
    close(ends[0]);
    assert_int_equal(read(ends[1], &c, 1), 1);
    return (struct reader){pid, ends[1]};
}

/* How many looks were bad. */
static int stop_reader(struct reader r)
{
    int status = 0;

    close(r.socket);
    assert_int_equal(waitpid(r.pid, &status, 0), r.pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 200;
}

static void a_reader_never_sees_a_mixed_pair(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    struct bundle bundles[4];

    for (size_t i = 0; i < ARRAY_LEN(bundles); i++)
        test_bundle(t, &bundles[i], NULL);
    test_write(&o, &bundles[0]);
    struct reader reader = start_reader(t, read_pair);
    for (int i = 0; i < 200; i++)
        test_write(&o, &bundles[i % 4]);
    assert_int_equal(stop_reader(reader), 0);
    for (size_t i = 0; i < ARRAY_LEN(bundles); i++)
        bundle_done(&bundles[i]);
    output_done(&o);
}

/* Every visible name can be opened, and is of the same set as the others: when the key is the same
 * before and after, the certificate read in between must fit it. */
static int read_visible(const char *out)
{
    static const char *const names[] = {"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem",
                                        "privkey.pem"};
    char *texts[ARRAY_LEN(names)];
    int bad = 0;

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        auto_free char *path = xasprintf("%s/%s", out, names[i]);
        texts[i] = test_read(path);
        bad |= texts[i] == NULL;
    }
    if (!bad && strcmp(texts[0], texts[4]) == 0) {
        auto_key struct key *k = key_from_pem(texts[0], strlen(texts[0]), NULL);
        auto_chain struct chain *c = chain_from_pem(texts[1], strlen(texts[1]), NULL);
        bad = !k || !c || !chain_matches_key(c, k, NULL);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        free(texts[i]);
    return bad;
}

static void files_of_another_tool_are_taken_over_without_a_gap(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");

    mkdir(test_path(t, "out"), 0755);
    for (int round = 0; round < 20; round++) {
        auto_bundle struct bundle old, new;
        test_bundle(t, &old, NULL);
        test_bundle(t, &new, NULL);
        auto_strv struct strv entries = {0};
        auto_close int fd = open(test_path(t, "out"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(file_list(fd, &entries, NULL));
        for (size_t i = 0; i < entries.n; i++)
            assert_true(file_remove(fd, entries.items[i], NULL));
        for (size_t i = 0; i < BUNDLE_PARTS; i++) {
            auto_free char *path = xasprintf("%s/out/%s", t->dir, bundle_names[i]);
            if (i != BUNDLE_STAPLING) /* certbot has none */
                test_put(path, old.parts[i].data, 0644);
        }
        struct reader reader = start_reader(t, read_visible);
        test_write(&o, &new);
        assert_int_equal(stop_reader(reader), 0);
        test_has_text(test_path(t, "out/privkey.pem"), &new.parts[BUNDLE_KEY]);
        /* The old set stays for those who are reading it, as any set before does: every name went
         * through it before it went on to the new one. */
        assert_int_equal(test_count(test_path(t, "out"), "..everleaf-"), 2);
    }
    output_done(&o);
}

static void a_change_of_the_layout_leaves_nothing_behind(void **state)
{
    struct test_store *t = *state;
    struct output versioned = make(t, ""), plain = make(t, ", layout: plain");
    auto_bundle struct bundle b;

    test_bundle(t, &b, NULL);
    test_write(&versioned, &b);
    test_write(&plain, &b);
    assert_int_equal(test_count(test_path(t, "out"), "."), 0);
    assert_false(versioned.type->holds(versioned.settings, &b));
    test_write(&versioned, &b);
    assert_false(plain.type->holds(plain.settings, &b));
    test_has_text(test_path(t, "out/privkey.pem"), &b.parts[BUNDLE_KEY]);
    output_done(&versioned);
    output_done(&plain);
}

/* Hostile places ---------------------------------------------------------------------------------
 */

static void links_that_are_not_ours_are_refused(void **state)
{
    struct test_store *t = *state;
    static const char *const layouts[] = {"", ", layout: plain"};
    static const struct {
        const char *name, *target;
    } links[] = {{"privkey.pem", "../victim"},
                 {"cert.pem", "/etc/passwd"},
                 {"chain.pem", "nowhere"},
                 {"privkey.pem", "..data/../../victim"},
                 {"fullchain.pem", "cert.pem"}};

    test_put(test_path(t, "victim"), "precious", 0600);
    for (size_t k = 0; k < ARRAY_LEN(layouts); k++) {
        struct output o = make(t, layouts[k]);
        for (size_t i = 0; i < ARRAY_LEN(links); i++) {
            auto_err struct err *e = NULL;
            auto_bundle struct bundle b;
            auto_free char *path = xasprintf("%s/out/%s", t->dir, links[i].name);
            mkdir(test_path(t, "out"), 0755);
            assert_int_equal(symlink(links[i].target, path), 0);
            test_bundle(t, &b, NULL);
            if (o.type->write(o.settings, &b, &e))
                fail_msg("%s -> %s was replaced", links[i].name, links[i].target);
            test_says(e, "that we have not made");
            assert_int_equal(test_count(test_path(t, "out"), ""), 1);
            unlink(path);
        }
        output_done(&o);
    }
    auto_free char *text = test_read(test_path(t, "victim"));
    assert_string_equal(text, "precious");
}

static void a_folder_of_the_kubelet_is_refused(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;
    auto_err struct err *e = NULL;

    mkdir(test_path(t, "out"), 0755);
    mkdir(test_path(t, "out/..2026_11_24"), 0755);
    assert_int_equal(symlink("..2026_11_24", test_path(t, "out/..data")), 0);
    test_bundle(t, &b, NULL);
    assert_false(o.type->write(o.settings, &b, &e));
    test_says(e, "which we have not made");
    assert_int_equal(test_count(test_path(t, "out"), ""), 2);
    output_done(&o);
}

static void other_things_under_our_names_are_refused(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;
    auto_err struct err *fifo = NULL, *folder = NULL;

    mkdir(test_path(t, "out"), 0755);
    test_bundle(t, &b, NULL);
    assert_int_equal(mkfifo(test_path(t, "out/cert.pem"), 0600), 0);
    assert_false(o.type->write(o.settings, &b, &fifo));
    test_says(fifo, "is no file");
    assert_null(o.type->current(o.settings, NULL)); /* and does not hang */
    unlink(test_path(t, "out/cert.pem"));
    mkdir(test_path(t, "out/cert.pem"), 0700);
    assert_false(o.type->write(o.settings, &b, &folder));
    output_done(&o);
}

static void a_hard_link_to_another_file_is_replaced_not_written(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, ", layout: plain");
    auto_bundle struct bundle b;

    mkdir(test_path(t, "out"), 0755);
    test_put(test_path(t, "victim"), "precious", 0600);
    assert_int_equal(link(test_path(t, "victim"), test_path(t, "out/privkey.pem")), 0);
    test_bundle(t, &b, NULL);
    test_write(&o, &b);
    auto_free char *text = test_read(test_path(t, "victim"));
    assert_string_equal(text, "precious");
    output_done(&o);
}

static void works_in_a_folder_that_everybody_may_write(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;

    mkdir(test_path(t, "out"), 0700);
    assert_int_equal(chmod(test_path(t, "out"), 01777), 0);
    test_bundle(t, &b, NULL);
    test_write(&o, &b);
    test_has_mode(test_path(t, "out"), 01777); /* what is there stays as it is */
    test_has_mode(test_path(t, "out/privkey.pem"), 0600);
    output_done(&o);
}

static void leftovers_of_a_killed_writer_go(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");
    auto_bundle struct bundle b;

    mkdir(test_path(t, "out"), 0755);
    mkdir(test_path(t, "out/..everleaf-0011"), 0700);
    test_put(test_path(t, "out/..everleaf-0011/privkey.pem"), "x", 0600);
    assert_int_equal(symlink("x", test_path(t, "out/...data.everleaf-0011")), 0);
    assert_int_equal(symlink("x", test_path(t, "out/.cert.pem.everleaf-0011")), 0);
    test_put(test_path(t, "out/.other"), "", 0600);
    test_bundle(t, &b, NULL);
    test_write(&o, &b);
    assert_int_equal(test_count(test_path(t, "out"), "."), 3); /* ..data, its folder, .other */
    output_done(&o);
}

static void a_full_disk_keeps_what_is_there(void **state)
{
    struct test_store *t = *state;
    static const char *const layouts[] = {"", ", layout: plain"};
    char filler[4096] = {0};

    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(layouts); i++) {
        struct output o = make(t, layouts[i]);
        auto_bundle struct bundle one, two;
        auto_free char *first = NULL, *second = NULL;
        auto_err struct err *e = NULL;
        mkdir(test_path(t, "out"), 0755);
        if (mount("tmpfs", test_path(t, "out"), "tmpfs", 0, "size=64k,mode=0755") != 0)
            skip();
        test_bundle(t, &one, &first);
        test_bundle(t, &two, &second);
        test_write(&o, &one);
        size_t entries = test_count(test_path(t, "out"), "");
        int fd = open(test_path(t, "out/filler"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        while (write(fd, filler, sizeof filler) > 0)
            continue;
        assert_int_equal(ftruncate(fd, lseek(fd, 0, SEEK_END) - 8192), 0); /* room for two files */
        close(fd);
        assert_false(o.type->write(o.settings, &two, &e));
        assert_int_equal(e->code, ENOSPC);
        test_serves(&o, first);
        assert_int_equal(test_count(test_path(t, "out"), ""), entries + 1);
        unlink(test_path(t, "out/filler"));
        test_write(&o, &two);
        test_serves(&o, second);
        output_done(&o);
        assert_int_equal(umount2(test_path(t, "out"), MNT_DETACH), 0);
    }
}

/* Configuration and jobs -------------------------------------------------------------------------
 */

static void impossible_settings_are_told(void **state)
{
    (void)state;
    assert_true(test_problem("files", "{dir: /x, owner: no-such-user-here}", "no user"));
    assert_true(test_problem("files", "{dir: /x, group: no-such-group-here}", "no group"));
    assert_true(test_problem("files", "{dir: /x, layout: flat}", "flat"));
    assert_true(test_problem("files", "{layout: plain}", "dir"));
    assert_false(test_problem("files", "{dir: /x}", ""));
    assert_null(output_type_find("no-such-type"));
}

static void names_every_path_it_writes(void **state)
{
    (void)state;
    struct output o = test_output("files", "{dir: /etc/tls/www}", NULL);
    auto_strv struct strv paths = {0};

    o.type->paths(o.settings, &paths);
    assert_string_equal(paths.items[0], "/etc/tls/www");
    assert_true(strv_has(&paths, "/etc/tls/www/privkey.pem"));
    assert_true(strv_has(&paths, "/etc/tls/www/fullchain.pem"));
    output_done(&o);
}

/* nginx must never be told of a file that is not there, and nobody may find a staple that was taken
 * away. */
static void a_staple_comes_and_goes_with_the_file_that_names_it(void **state)
{
    struct test_store *t = *state;
    static const char *const layouts[] = {"", ", layout: plain"};

    for (size_t k = 0; k < ARRAY_LEN(layouts); k++) {
        struct output o = make(t, layouts[k]);
        auto_bundle struct bundle b;
        test_bundle(t, &b, NULL);
        test_write(&o, &b);
        buf_add_str(&b.staple, "staple");
        assert_false(o.type->holds(o.settings, &b));
        test_write(&o, &b);
        test_has_text(test_path(t, "out/ocsp.der"), &b.staple);
        auto_free char *named = test_read(test_path(t, "out/nginx-stapling.conf"));
        auto_free char *line = xasprintf("ssl_stapling_file \"%s/out/ocsp.der\";", t->dir);
        assert_non_null(strstr(named, line));
        buf_clear(&b.staple);
        assert_false(o.type->holds(o.settings, &b));
        test_write(&o, &b);
        struct stat st;
        assert_int_not_equal(lstat(test_path(t, "out/ocsp.der"), &st), 0);
        auto_free char *nothing = test_read(test_path(t, "out/nginx-stapling.conf"));
        assert_string_equal(nothing, "");
        output_done(&o);
    }
}

static void the_job_outlives_the_configuration(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, ", group: '0'");

    if (geteuid() != 0)
        skip();
    test_open(t);
    test_generation(t, "www");
    output_write(t->worker, &o, t->made, NULL, test_on_save, t);
    output_done(&o);
    test_wait_good(t);
    o = make(t, "");
    test_serves(&o, generation_sha256(t->made));
    struct output_job *j = output_write(t->worker, &o, t->made, NULL, test_on_save, t);
    output_done(&o);
    output_job_free(j); /* ends unheard */
    worker_free(take(t->worker));
    assert_int_equal(t->calls, 2);
}

static void a_failed_job_tells_why(void **state)
{
    struct test_store *t = *state;
    struct output o = make(t, "");

    test_open(t);
    test_generation(t, "www");
    test_put(test_path(t, "out"), "", 0600);
    output_write(t->worker, &o, t->made, NULL, test_on_save, t);
    test_wait(t);
    test_says(t->error, "/out");
    assert_int_equal(t->error->code, ENOTDIR);
    output_done(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(all_names_are_there_with_their_modes),
        STORE_TEST(plain_files_are_real_files),
        STORE_TEST(owner_and_group_are_set_before_anything_is_visible),
        STORE_TEST(nothing_changes_when_nothing_is_to_be_changed),
        STORE_TEST(what_was_changed_by_others_is_repaired),
        STORE_TEST(current_tells_what_is_really_there),
        STORE_TEST(the_set_before_stays_for_those_who_are_reading_it),
        STORE_TEST(a_reader_never_sees_a_mixed_pair),
        STORE_TEST(files_of_another_tool_are_taken_over_without_a_gap),
        STORE_TEST(a_change_of_the_layout_leaves_nothing_behind),
        STORE_TEST(links_that_are_not_ours_are_refused),
        STORE_TEST(a_folder_of_the_kubelet_is_refused),
        STORE_TEST(other_things_under_our_names_are_refused),
        STORE_TEST(a_hard_link_to_another_file_is_replaced_not_written),
        STORE_TEST(works_in_a_folder_that_everybody_may_write),
        STORE_TEST(leftovers_of_a_killed_writer_go),
        STORE_TEST(a_full_disk_keeps_what_is_there),
        STORE_TEST(impossible_settings_are_told),
        STORE_TEST(names_every_path_it_writes),
        STORE_TEST(a_staple_comes_and_goes_with_the_file_that_names_it),
        STORE_TEST(the_job_outlives_the_configuration),
        STORE_TEST(a_failed_job_tells_why),
    };

    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
