#include "agent/cmd.h"

#include "agent/config_test_support.h"

/* Runs the verb; gives what it wrote to standard output. */
static char *run_completion(struct place *p, const char *argument, const char *config, int status)
{
    char *argv[] = {(char[]){"completion"}, argument ? xstrdup(argument) : NULL, NULL};
    struct cmd_options options = {.config_file = config};
    auto_free char *out = place_write(p, "out", "");
    auto_buf struct buf text;

    fflush(stdout);
    int saved = dup(STDOUT_FILENO), fd = open(out, O_WRONLY | O_CLOEXEC);
    dup2(fd, STDOUT_FILENO);
    int got = verb_completion.run(argument ? 2 : 1, argv, &options);
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

static void a_script_knows_every_verb_and_option(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};

    for (size_t i = 0; i < ARRAY_LEN(shells); i++) {
        auto_free char *script = run_completion(*state, shells[i], NULL, EXIT_DONE);

        for (size_t v = 0; verb_all[v]; v++) {
            const char *help = verb_all[v]->help;
            struct cmd_help_option o;

            assert_non_null(strstr(script, verb_all[v]->name));
            while (cmd_help_option(&help, &o)) {
                auto_free char *name = xstrndup(o.name + 2, o.name_len - 2);
                assert_non_null(strstr(script, name));
            }
        }
        assert_non_null(strstr(script, "no-color"));
        assert_non_null(strstr(script, "everleaf completion --names"));
    }
}

static void names_are_those_of_the_configuration(void **state)
{
    struct place *p = *state;
    auto_free char *file =
        place_write(p, "f.yaml",
                    "issuers: {zerossl: {}}\n"
                    "certificates: {b: {names: b.example}, a: {names: a.example}}\n");
    auto_free char *names = run_completion(p, "--names", file, EXIT_DONE);
    auto_free char *nothing = run_completion(p, "--names", "/nonexistent/f.yaml", EXIT_USAGE);

    assert_true(strcmp(names, "b\na\n") == 0 || strcmp(names, "a\nb\n") == 0);
    assert_string_equal(nothing, "");
}

static void other_shells_and_none_are_wrong_usage(void **state)
{
    auto_free char *other = run_completion(*state, "tcsh", NULL, EXIT_USAGE);
    auto_free char *none = run_completion(*state, NULL, NULL, EXIT_USAGE);

    assert_string_equal(other, "");
    assert_string_equal(none, "");
}

static void options_are_found_in_help_texts(void **state)
{
    const char *help = "Words --not an option.\n\n"
                       "  --sni NAME  the name,\n"
                       "              continued -- here\n"
                       "  -v          more\n"
                       "  --no gap\n"
                       "Examples:\n"
                       "  everleaf x  --y  z";
    struct cmd_help_option o;

    (void)state;
    assert_true(cmd_help_option(&help, &o));
    assert_memory_equal(o.name, "--sni", o.name_len);
    assert_int_equal(o.name_len, 5);
    assert_memory_equal(o.value, "NAME", 4);
    assert_int_equal(o.value_len, 4);
    assert_memory_equal(o.text, "the name,", o.text_len);
    assert_int_equal(o.text_len, 9);
    assert_true(cmd_help_option(&help, &o));
    assert_int_equal(o.name_len, 2);
    assert_int_equal(o.value_len, 0);
    assert_memory_equal(o.text, "more", 4);
    assert_false(cmd_help_option(&help, &o));
    assert_string_equal(help, "");
}

int main(void)
{
#define PLACE_TEST(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)
    const struct CMUnitTest tests[] = {
        PLACE_TEST(a_script_knows_every_verb_and_option),
        PLACE_TEST(names_are_those_of_the_configuration),
        PLACE_TEST(other_shells_and_none_are_wrong_usage),
        cmocka_unit_test(options_are_found_in_help_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
