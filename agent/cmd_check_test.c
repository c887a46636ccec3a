#include "agent/cmd.h"

#include "agent/config_test_support.h"
#include "base/json.h"

/* Runs the verb; gives what it wrote to standard output. */
static char *run_check(struct place *p, const char *file, bool json, int status)
{
    char *argv[] = {(char[]){"check"}, xstrdup(file), NULL};
    struct cmd_options options = {.json = json};
    auto_free char *out = place_write(p, "out", "");
    auto_buf struct buf text;

    fflush(stdout);
    int saved = dup(STDOUT_FILENO), fd = open(out, O_WRONLY | O_CLOEXEC);
    dup2(fd, STDOUT_FILENO);
    int got = verb_check.run(2, argv, &options);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(fd);
    free(argv[1]);
    assert_int_equal(got, status);
    buf_init(&text, 1 << 20);
    assert_true(file_read(p->fd, "out", 1 << 20, false, &text, NULL));
    return buf_take(&text);
}

static void a_good_file_is_ok(void **state)
{
    struct place *p = *state;
    auto_free char *file =
        place_write(p, "f.yaml", "issuers: {zerossl: {}}\ncertificates: {a: {names: b.example}}\n");
    auto_free char *text = run_check(p, file, false, EXIT_DONE);
    auto_free char *expected = xasprintf("%s: ok, 1 certificates\n", file);

    assert_string_equal(text, expected);
}

static void problems_are_shown_with_line_and_caret(void **state)
{
    struct place *p = *state;
    auto_free char *file = place_write(p, "f.yaml", "issuers:\n  zerossl: {profil: x}\n");
    auto_free char *text = run_check(p, file, false, EXIT_USAGE);
    auto_free char *expected = xasprintf("%s:2:13: error: unknown key \"profil\"\n"
                                         "  zerossl: {profil: x}\n"
                                         "            ^~~~~~\n"
                                         "did you mean \"profile\"?\n"
                                         "%s: 1 error\n",
                                         file, file);

    assert_string_equal(text, expected);
}

static void the_document_has_everything(void **state)
{
    struct place *p = *state;
    auto_free char *file = place_write(p, "f.yaml", "issuers:\n  zerossl: {profil: x}\n");
    auto_free char *text = run_check(p, file, true, EXIT_USAGE);
    auto_json json_t *j = json_parse(text, strlen(text), NULL);
    const json_t *problem = json_array_get(json_get(j, "problems"), 0);

    assert_non_null(j);
    assert_string_equal(json_str(j, "schema"), "everleaf.check/1");
    assert_int_equal(json_int(j, "exit"), EXIT_USAGE);
    assert_string_equal(json_str(j, "file"), file);
    assert_int_equal(json_array_size(json_get(j, "problems")), 1);
    assert_string_equal(json_str(problem, "severity"), "error");
    assert_string_equal(json_str(problem, "file"), file);
    assert_int_equal(json_int(problem, "line"), 2);
    assert_int_equal(json_int(problem, "column"), 13);
    assert_string_equal(json_str(problem, "path"), "issuers.zerossl.profil");
    assert_string_equal(json_str(problem, "source"), "  zerossl: {profil: x}");
    assert_string_equal(json_str(problem, "suggestion"), "profile");
}

int main(void)
{
#define PLACE_TEST(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        PLACE_TEST(a_good_file_is_ok),
        PLACE_TEST(problems_are_shown_with_line_and_caret),
        PLACE_TEST(the_document_has_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
