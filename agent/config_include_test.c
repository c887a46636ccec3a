
#include "agent/config_test_support.h"

#define ISSUER "issuers: {letsencrypt: {terms_agreed: true}}\n"

static void write_file(struct place *p, const char *name, const char *text)
{
    free(place_write(p, name, text));
}

static void make_folder(struct place *p, const char *name)
{
    auto_free char *path = xasprintf("%s/%s", p->folder, name);

    assert_int_equal(mkdir(path, 0755), 0);
}

static void sections_of_all_files_merge(void **state)
{
    struct place *p = *state;

    make_folder(p, "conf.d");
    write_file(p, "conf.d/b.yaml",
               "certificates: {b: {names: b.example.org, servers: [s]}}\n"
               "agent: {concurrency: 3}\n");
    write_file(p, "conf.d/a.yaml",
               "certificates: {a: {names: a.example.org}}\n"
               "servers: {s: {type: nginx}}\n");
    write_file(p, "conf.d/ignored.txt", "nonsense: true\n");
    write_file(p, "more.yaml", "include: conf.d/c.yaml\n");
    write_file(p, "conf.d/c.yaml", "");
    /* more.yaml looks for conf.d beside itself; a.yaml was read before. */
    struct config *c = place_load_good(
        p, ISSUER "include: ['conf.d/[a-b].yaml', more.yaml, conf.d/a.yaml, 'none.d/*.yaml']\n"
                  "agent: {http_timeout: 5s}\n"
                  "certificates: {main: {names: c.example.org}}\n");

    assert_int_equal(c->n_certificates, 3);
    assert_string_equal(c->certificates[0]->name, "main");
    assert_string_equal(c->certificates[1]->name, "a");
    assert_string_equal(c->certificates[2]->name, "b");
    assert_int_equal(c->concurrency, 3);
    assert_int_equal(c->http_timeout_s, 5);
    config_unref(c);
}

static void a_name_twice_names_both_places(void **state)
{
    struct place *p = *state;

    write_file(p, "x.yaml",
               "agent: {concurrency: 1}\ncertificates:\n  www: {names: a.example.org}\n");
    place_refuses(p,
                  ISSUER "include: x.yaml\nagent: {concurrency: 2}\n"
                         "certificates: {www: {names: b.example.org}}\n",
                  3, "everleaf.yaml:4:16");
    assert_non_null(strstr(place_problem(p, 3, "\"www\" is there twice")->file, "x.yaml"));
    assert_non_null(place_problem(p, 1, "\"concurrency\" is there twice"));
    assert_int_equal(p->problems.errors, 2);
}

static void errors_of_all_files_in_one_run(void **state)
{
    struct place *p = *state;

    write_file(p, "x.yaml", "nonsense: 1\n");
    write_file(p, "y.yaml", "a: [\n");
    assert_null(place_load(p, "include: ['?.yaml', z.yaml, [a], '']\nrubbish: 1\n"));
    assert_non_null(place_problem(p, 1, "nonsense"));
    assert_non_null(place_problem(p, 2, "rubbish"));
    assert_non_null(place_problem(p, 1, "z.yaml: No such file"));
    assert_non_null(place_problem(p, 1, "expected a path, this is a list"));
    assert_non_null(place_problem(p, 1, "expected a path, this is an empty text"));
    assert_int_equal(p->problems.errors, 6);
}

static void what_may_be_in_an_unreadable_file_is_not_missed(void **state)
{
    struct place *p = *state;

    write_file(p, "x.yaml", "issuers: {a: [\n");
    assert_null(place_load(p,
                           "include: x.yaml\n"
                           "servers: {nginx: {prove: [{connect: 'a:1', certificates: [w]}]}}\n"
                           "certificates:\n"
                           "  www: {names: a.example.org, issuer: a, challenge: b, servers: [c]}\n"
                           "  mail: {names: b.example.org, colour: red}\n"));
    assert_int_equal(p->problems.errors, 2);
    assert_non_null(place_problem(p, 5, "colour"));
}

static void circles_are_refused(void **state)
{
    struct place *p = *state;

    write_file(p, "x.yaml", "include: ./everleaf.yaml\n");
    place_refuses(p, "include: x.yaml\n", 1, "includes itself");
    place_refuses(p, "include: everleaf.yaml\n", 1, "includes itself");
}

static void depth_is_bounded(void **state)
{
    struct place *p = *state;

    for (int i = 0; i < 30; i++) {
        auto_free char *name = xasprintf("%d.yaml", i);
        auto_free char *text = xasprintf("include: %d.yaml\n", i + 1);

        write_file(p, name, text);
    }
    write_file(p, "30.yaml", "");
    place_refuses(p, "include: 0.yaml\n", 1, "16 deep");
}

static void a_folder_is_no_file(void **state)
{
    struct place *p = *state;

    make_folder(p, "conf.d");
    place_refuses(p, "include: conf.d\n", 1, "is a folder");
}

static void stars_of_the_own_folder_are_no_pattern(void **state)
{
    struct place *p = *state;

    make_folder(p, "a[b]*");
    make_folder(p, "ab");
    write_file(p, "a[b]*/x.yaml", "certificates: {right: {names: a.example.org}}\n");
    write_file(p, "ab/x.yaml", "nonsense: 1\n");
    auto_free char *file = place_write(p, "a[b]*/main", ISSUER "include: '*.yaml'\n");
    struct config *c = config_load(file, &p->problems);

    place_show(p);
    assert_non_null(c);
    assert_string_equal(c->certificates[0]->name, "right");
    config_unref(c);
}

static void included_files_must_be_safe_as_well(void **state)
{
    struct place *p = *state;
    auto_free char *file = place_write(p, "x.yaml", "");

    assert_int_equal(chmod(file, 0646), 0);
    assert_null(place_load(p, "include: x.yaml\n"));
    assert_string_equal(p->problems.items[0].file, file);
    assert_non_null(place_problem(p, 0, "chmod o-w"));
}

int main(void)
{
#define PLACE_TEST(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        PLACE_TEST(sections_of_all_files_merge),
        PLACE_TEST(a_name_twice_names_both_places),
        PLACE_TEST(errors_of_all_files_in_one_run),
        PLACE_TEST(what_may_be_in_an_unreadable_file_is_not_missed),
        PLACE_TEST(circles_are_refused),
        PLACE_TEST(depth_is_bounded),
        PLACE_TEST(a_folder_is_no_file),
        PLACE_TEST(stars_of_the_own_folder_are_no_pattern),
        PLACE_TEST(included_files_must_be_safe_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
