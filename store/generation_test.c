#include "store/test_store.h"

#define BASE   "state/certificates/www/"
#define FIRST  BASE "generations/000001/"
#define SECOND BASE "generations/000002/"

static int64_t live_of(struct test_store *t, const char *name)
{
    struct generation_list list;

    assert_true(generation_list(t->state, name, &list, NULL));
    int64_t live = list.live;
    generation_list_done(&list);
    return live;
}

/* "1 2 3" */
static char *numbers_of(struct test_store *t, const char *name)
{
    struct generation_list list;
    auto_strv struct strv numbers = {0};

    assert_true(generation_list(t->state, name, &list, NULL));
    for (size_t i = 0; i < list.n; i++)
        strv_addf(&numbers, "%lld", (long long)list.numbers[i]);
    generation_list_done(&list);
    return strv_join(&numbers, " ");
}

static void expect_numbers(struct test_store *t, const char *want)
{
    auto_free char *have = numbers_of(t, "www");

    assert_string_equal(have, want);
}

static void switch_to(struct test_store *t, int64_t number)
{
    generation_switch(t->state, "www", number, test_on_save, t);
    test_wait_good(t);
}

static void a_written_one_is_complete(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    assert_int_equal(test_generation(t, "www"), 1);
    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        auto_free char *path = xasprintf("%s/" FIRST "%s", t->dir, bundle_names[i]);
        test_has_mode(path, 0600);
    }
    auto_free char *cert = test_read(test_path(t, FIRST "cert.pem"));
    auto_free char *chain = test_read(test_path(t, FIRST "chain.pem"));
    auto_free char *full = test_read(test_path(t, FIRST "fullchain.pem"));
    auto_free char *joined = xasprintf("%s%s", cert, chain);
    auto_free char *stapling = test_read(test_path(t, FIRST "nginx-stapling.conf"));
    assert_string_equal(full, joined);
    assert_true(strlen(chain) > 100);
    assert_string_equal(stapling, "");
    assert_int_equal(test_count(test_path(t, FIRST), ""), 6);
    assert_int_equal(test_count(test_path(t, BASE "generations"), "."), 0);
    assert_int_equal(live_of(t, "www"), 0); /* not live before it is switched to */
}

static void comes_back_as_it_was(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    test_reopen(t);
    struct generation *g = generation_load(t->state, "www", 1, NULL);
    assert_non_null(g);
    assert_int_equal(g->number, 1);
    assert_string_equal(generation_sha256(g), generation_sha256(t->made));
    assert_int_equal(g->chain->n, 2);
    assert_true(key_equal(g->key, t->made->key));
    assert_int_equal(g->key_pem->len, t->made->key_pem->len);
    assert_string_equal(json_str(g->info, "issuer"), "letsencrypt");
    assert_string_equal(json_str(g->info, "sha256"), generation_sha256(g));
    assert_int_equal(json_int(g->info, "number"), 1);
    generation_unref(g);
}

static void facts_need_no_parsing(void **state)
{
    struct test_store *t = *state;
    struct generation_facts f;
    auto_bundle struct bundle b;

    test_open(t);
    test_generation(t, "www");
    assert_true(generation_facts(t->state, "www", 1, &f, &b, NULL));
    const struct cert *leaf = t->made->chain->items[0];
    assert_int_equal(f.number, 1);
    assert_string_equal(f.sha256, leaf->sha256_hex);
    assert_string_equal(f.serial, leaf->serial_hex);
    assert_string_equal(f.issuer_cn, "Intermediate");
    assert_string_equal(f.key_type, "ecdsa-p256");
    assert_string_equal(f.directory, "https://ca.example/dir");
    assert_string_equal(f.names.items[0], "www.example.org");
    assert_true(f.not_before == leaf->not_before && f.not_after == leaf->not_after);
    assert_string_equal(f.ari_id ? f.ari_id : "", "");
    generation_facts_done(&f);
    auto_free char *key = test_read(test_path(t, FIRST "privkey.pem"));
    assert_string_equal(b.parts[BUNDLE_KEY].data, key);
}

static void one_visit_tells_what_is_there_and_what_is_live(void **state)
{
    struct test_store *t = *state;
    struct generation_list list;
    struct generation_facts live;
    auto_bundle struct bundle none = {0}, b = {0};
    auto_err struct err *damage = NULL;

    test_open(t);
    assert_true(generation_survey(t->state, "www", &list, &live, &none, &damage, NULL));
    assert_true(list.n == 0 && list.live == 0 && live.number == 0 && !damage);
    test_generation(t, "www");
    test_generation(t, "www");
    switch_to(t, 1);
    assert_true(generation_survey(t->state, "www", &list, &live, &b, &damage, NULL));
    assert_true(list.n == 2 && list.live == 1 && live.number == 1 && !damage);
    assert_true(b.parts[BUNDLE_KEY].len > 100);
    generation_list_done(&list);
    generation_facts_done(&live);
    test_put(test_path(t, FIRST "privkey.pem"), "", 0600);
    assert_true(generation_survey(t->state, "www", &list, &live, NULL, &damage, NULL));
    assert_true(list.n == 2 && list.live == 1 && live.number == 0);
    test_says(damage, "not those that were written");
    generation_list_done(&list);
}

static void numbers_go_up_and_are_never_used_again(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(test_generation(t, "www"), i);
    switch_to(t, 5);
    generation_prune(t->state, "www", 1, NULL, 0, test_on_save, t);
    test_wait_good(t);
    expect_numbers(t, "5");
    test_reopen(t);
    assert_int_equal(test_generation(t, "www"), 6);
    /* Even when somebody removes the folders: the link remembers. */
    switch_to(t, 6);
    auto_close int fd = state_certificate_dir(t->state, "www", false, NULL);
    assert_true(file_remove(fd, "generations", NULL));
    assert_int_equal(test_generation(t, "www"), 7);
}

static void writes_under_way_get_their_own_numbers(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    for (int i = 0; i < 4; i++)
        test_start_generation(t, "www", i + 1);
    while (t->calls < 4)
        test_wait_good(t);
    expect_numbers(t, "1 2 3 4");
    assert_int_equal(t->made->number, 4);
}

static void a_write_is_carried_out_when_nobody_waits_any_more(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    generation_job_free(test_start_generation(t, "www", 0));
    assert_int_equal(test_generation(t, "www"), 2);
    assert_int_equal(t->calls, 1);
    generation_job_free(NULL);
}

static void live_is_switched_by_one_rename(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    test_generation(t, "www");
    switch_to(t, 1);
    assert_int_equal(live_of(t, "www"), 1);
    auto_free char *path = generation_live_path(t->state, "www");
    assert_string_equal(path, test_path(t, "state/live/www"));
    auto_free char *link = file_readlink(AT_FDCWD, test_path(t, BASE "live"), NULL);
    assert_string_equal(link, "generations/000001");
    auto_free char *outer = file_readlink(AT_FDCWD, test_path(t, "state/live/www"), NULL);
    assert_string_equal(outer, "../certificates/www/live");
    auto_free char *first = test_read(test_path(t, "state/live/www/cert.pem"));
    switch_to(t, 2);
    switch_to(t, 2);
    auto_free char *second = test_read(test_path(t, "state/live/www/cert.pem"));
    assert_string_not_equal(first, second);
    assert_int_equal(live_of(t, "www"), 2);
    assert_int_equal(test_count(test_path(t, BASE), "."), 0);
    assert_int_equal(test_count(test_path(t, "state/live"), ""), 1);
}

static void live_never_dangles(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    switch_to(t, 1);
    generation_switch(t->state, "www", 2, test_on_save, t);
    test_wait(t);
    assert_non_null(t->error);
    assert_int_equal(live_of(t, "www"), 1);
    assert_false(test_exists(test_path(t, BASE "generations/000002")));
}

static void a_foreign_live_link_is_no_generation_and_is_replaced(void **state)
{
    struct test_store *t = *state;
    static const char *const targets[] = {
        "/etc", "generations/../../x", "generations/1", "generations/000009", "generations/000001/",
        ""};

    test_open(t);
    test_generation(t, "www");
    for (size_t i = 0; targets[i][0]; i++) {
        unlink(test_path(t, BASE "live"));
        assert_int_equal(symlink(targets[i], test_path(t, BASE "live")), 0);
        if (live_of(t, "www") != 0)
            fail_msg("%s", targets[i]);
    }
    switch_to(t, 1);
    assert_int_equal(live_of(t, "www"), 1);
}

static void damage_is_found(void **state)
{
    struct test_store *t = *state;
    static const char *const files[] = {"privkey.pem", "cert.pem", "chain.pem", "fullchain.pem",
                                        "bundle.json"};

    test_open(t);
    test_generation(t, "www");
    test_generation(t, "www");
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        auto_free char *path = xasprintf("%s/" FIRST "%s", t->dir, files[i]);
        auto_free char *other = xasprintf("%s/" SECOND "%s", t->dir, files[i]);
        auto_free char *content = test_read(path);
        auto_free char *wrong = test_read(other);
        const char *const damages[] = {"", "\n", "garbage",
                                       strcmp(files[i], "chain.pem") ? wrong : ""};
        for (size_t k = 0; k < ARRAY_LEN(damages); k++) {
            auto_err struct err *e = NULL, *facts_err = NULL;
            struct generation_facts f;
            test_put(path, damages[k], 0600);
            if (generation_load(t->state, "www", 1, &e))
                fail_msg("%s with \"%s\" was loaded", files[i], damages[k]);
            test_says(e, "generation 1 of www");
            if (generation_facts(t->state, "www", 1, &f, NULL, &facts_err))
                fail_msg("%s with \"%s\" gave facts", files[i], damages[k]);
            test_says(facts_err, "generation 1 of www");
        }
        unlink(path);
        auto_err struct err *absent = NULL;
        assert_null(generation_load(t->state, "www", 1, &absent));
        test_put(path, content, 0600);
    }
    struct generation *g = generation_load(t->state, "www", 1, NULL);
    assert_non_null(g); /* it was the damage, not the test */
    generation_unref(g);
}

static void one_written_by_a_newer_release_is_not_guessed_at(void **state)
{
    struct test_store *t = *state;
    auto_err struct err *e = NULL;

    test_open(t);
    test_generation(t, "www");
    test_put(test_path(t, FIRST "bundle.json"), "{\"version\": 2, \"number\": 1}", 0600);
    assert_null(generation_load(t->state, "www", 1, &e));
    test_says(e, "newer release");
}

static void pruning_keeps_the_newest_and_what_is_in_use(void **state)
{
    struct test_store *t = *state;
    const int64_t in_use[] = {2, 0, 99};

    test_open(t);
    for (int i = 1; i <= 7; i++)
        test_generation(t, "www");
    switch_to(t, 3);
    mkdir(test_path(t, BASE "generations/notes"), 0700);
    generation_prune(t->state, "www", 3, in_use, ARRAY_LEN(in_use), test_on_save, t);
    test_wait_good(t);
    expect_numbers(t, "2 3 5 6 7");
    assert_int_equal(test_count(test_path(t, BASE "generations"), ""), 6);
    generation_prune(t->state, "www", 0, NULL, 0, test_on_save, t);
    test_wait_good(t);
    expect_numbers(t, "3 7"); /* the newest holds the number */
}

static void a_million_generations_are_in_order(void **state)
{
    struct test_store *t = *state;

    test_open(t);
    test_generation(t, "www");
    assert_int_equal(
        rename(test_path(t, BASE "generations/000001"), test_path(t, BASE "generations/999999")),
        0);
    assert_int_equal(test_generation(t, "www"), 1000000);
    assert_int_equal(test_generation(t, "www"), 1000001);
    expect_numbers(t, "999999 1000000 1000001");
    mkdir(test_path(t, BASE "generations/12"), 0700);
    mkdir(test_path(t, BASE "generations/0000012"), 0700);
    mkdir(test_path(t, BASE "generations/000000"), 0700);
    mkdir(test_path(t, BASE "generations/9999999999999999999999"), 0700);
    expect_numbers(t, "999999 1000000 1000001");
}

static void a_full_disk_leaves_nothing_behind(void **state)
{
    struct test_store *t = *state;

    if (geteuid() != 0)
        skip();
    mkdir(t->path, 0700);
    if (mount("tmpfs", t->path, "tmpfs", 0, "size=128k,mode=0700") != 0)
        skip();
    test_open(t);
    int64_t last = 0;
    for (int i = 0; i < 20 && !t->error; i++) {
        test_start_generation(t, "www", i + 1);
        test_wait(t);
        last = t->error ? last : t->made->number;
    }
    assert_int_equal(t->error->code, ENOSPC);
    assert_null(t->made);
    assert_int_equal(test_count(test_path(t, BASE "generations"), ""), (size_t)last);
    generation_prune(t->state, "www", 1, NULL, 0, test_on_save, t);
    test_wait_good(t);
    assert_int_equal(test_generation(t, "www"), last + 1); /* space returned */
    state_free(take(t->state));
    assert_int_equal(umount2(t->path, MNT_DETACH), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_written_one_is_complete),
        STORE_TEST(comes_back_as_it_was),
        STORE_TEST(facts_need_no_parsing),
        STORE_TEST(one_visit_tells_what_is_there_and_what_is_live),
        STORE_TEST(numbers_go_up_and_are_never_used_again),
        STORE_TEST(writes_under_way_get_their_own_numbers),
        STORE_TEST(a_write_is_carried_out_when_nobody_waits_any_more),
        STORE_TEST(live_is_switched_by_one_rename),
        STORE_TEST(live_never_dangles),
        STORE_TEST(a_foreign_live_link_is_no_generation_and_is_replaced),
        STORE_TEST(damage_is_found),
        STORE_TEST(one_written_by_a_newer_release_is_not_guessed_at),
        STORE_TEST(pruning_keeps_the_newest_and_what_is_in_use),
        STORE_TEST(a_million_generations_are_in_order),
        STORE_TEST(a_full_disk_leaves_nothing_behind),
    };

    return cmocka_run_group_tests_name("generation", tests, NULL, NULL);
}
