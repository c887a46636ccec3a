#include "base/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum color { RED, GREEN, BLUE };
static const char *const colors[] = {"red", "green", "blue", NULL};

struct thing {
    char *text, *path;
    struct strv texts, argv;
    bool flag;
    int64_t number, duration;
    mode_t mode;
    int color;
    struct secret *secret;
    char *custom;
};

static void parse_custom(const struct field_in *in)
{
    const char *text = schema_text(in, "something");

    if (text)
        *(char **)in->to = xasprintf("%s=%s", in->path, text);
}

static void done_custom(void *member)
{
    set_string(member, NULL);
}

#define AT(member) .offset = offsetof(struct thing, member)
static const struct field fields[] = {
    {.name = "text", .type = FIELD_STRING, AT(text), .preset = "a preset", .help = "some text"},
    {.name = "path", .type = FIELD_PATH, AT(path)},
    {.name = "texts", .type = FIELD_STRINGS, AT(texts), .preset = "[x, y]"},
    {.name = "argv", .type = FIELD_ARGV, AT(argv)},
    {.name = "flag", .type = FIELD_BOOL, AT(flag), .preset = "true"},
    {.name = "number", .type = FIELD_INT, AT(number), .min = 1, .max = 10, .preset = "5"},
    {.name = "duration", .type = FIELD_DURATION, AT(duration), .min = 1, .max = 86400},
    {.name = "mode", .type = FIELD_FILE_MODE, AT(mode), .preset = "0640"},
    {.name = "color", .type = FIELD_CHOICE, AT(color), .choices = colors, .preset = "green"},
    {.name = "secret", .type = FIELD_SECRET, AT(secret)},
    {.name = "custom",
     .type = FIELD_CUSTOM,
     AT(custom),
     .parse = parse_custom,
     .done = done_custom,
     .kind = "anything | nothing"},
    {0},
};

static const struct field needy[] = {
    {.name = "must", .type = FIELD_STRING, AT(text), .required = true},
    {0},
};

static bool read_thing(const char *text, struct thing *t, struct problems *p)
{
    struct problems syntax = {0};
    struct yaml *y = yaml_parse("f", text, strlen(text), &syntax);

    assert_non_null(y);
    assert_int_equal(syntax.n, 0);
    *t = (struct thing){0};
    bool good = schema_read(fields, yaml_root(y), "top", NULL, t, NULL, p);
    assert_int_equal(good, p->errors == 0);
    yaml_free(y);
    return good;
}

/* One problem at a column, with a part of its message and the suggestion (NULL: none). */
static void is_refused(const char *text, int column, const char *part, const char *suggestion)
{
    struct problems p = {0};
    struct thing t;

    if (read_thing(text, &t, &p) || p.n != 1)
        fail_msg("%s: %zu problems", text, p.n);
    if (p.items[0].column != column || !strstr(p.items[0].message, part))
        fail_msg("%s: at %d: %s", text, p.items[0].column, p.items[0].message);
    if (strcmp(suggestion ? suggestion : "-", p.items[0].suggestion ? p.items[0].suggestion : "-"))
        fail_msg("%s: suggests %s", text, p.items[0].suggestion);
    schema_done(fields, &t);
    problems_done(&p);
}

static void fills_in_presets(void **state)
{
    struct problems p = {0};
    struct thing t = {0};

    (void)state;
    assert_true(schema_read(fields, NULL, NULL, NULL, &t, NULL, &p));
    assert_string_equal(t.text, "a preset");
    assert_null(t.path);
    assert_int_equal(t.texts.n, 2);
    assert_string_equal(t.texts.items[1], "y");
    assert_true(t.flag);
    assert_int_equal(t.number, 5);
    assert_int_equal(t.mode, 0640);
    assert_int_equal(t.color, GREEN);
    schema_done(fields, &t);
    assert_null(t.text);
    assert_null(t.texts.items);
}

static void reads_every_type(void **state)
{
    struct problems p = {0};
    struct thing t;

    (void)state;
    setenv("SCHEMA_TEST_SECRET", "hush\n", 1);
    assert_true(read_thing("{text: 12, path: //a/./b/, texts: one, argv: [/bin/x, '', -f],"
                           " flag: false, number: 10, duration: 1h30m, mode: 0600, color: blue,"
                           " secret: {env: SCHEMA_TEST_SECRET}, custom: c}",
                           &t, &p));
    assert_string_equal(t.text, "12");
    assert_string_equal(t.path, "/a/b");
    assert_int_equal(t.texts.n, 1);
    assert_int_equal(t.argv.n, 3);
    assert_string_equal(t.argv.items[2], "-f");
    assert_false(t.flag);
    assert_int_equal(t.number, 10);
    assert_int_equal(t.duration, 5400);
    assert_int_equal(t.mode, 0600);
    assert_int_equal(t.color, BLUE);
    assert_int_equal(t.secret->len, 4);
    assert_memory_equal(t.secret->data, "hush", 5);
    assert_string_equal(t.custom, "top.custom=c");
    schema_done(fields, &t);
}

static void off_is_no_program(void **state)
{
    struct problems p = {0};
    struct thing t;

    (void)state;
    assert_true(read_thing("argv: off", &t, &p));
    assert_int_equal(t.argv.n, 0);
    schema_done(fields, &t);
}

static void refuses_wrong_types_and_values(void **state)
{
    static const char *const cases[][2] = {
        {"text: [a]", "this is a list"},
        {"text: ", "an empty value"},
        {"text: ''", "expected a text"},
        {"texts: {a: b}", "this is a map"},
        {"texts: []", "an empty list"},
        {"argv: []", "program, argument"},
        {"argv: {a: b}", "this is a map"},
        {"number: 0", "from 1 to 10"},
        {"number: 11", "from 1 to 10"},
        {"number: 3.5", "whole number"},
        {"number: '3'", "whole number"},
        {"number: 0x3", "whole number"},
        {"number: 99999999999999999999", "whole number"},
        {"duration: thirty", "expected a duration"},
        {"duration: 0s", "from 1s to"},
        {"duration: 2d", "from 1s to"},
        {"duration: 99999999999999999999d", "expected a duration"},
        {"duration: 9999999999999999w", "expected a duration"},
        {"duration: -5s", "expected a duration"},
        {"path: a/b", "absolute path"},
        {"path: ~/a", "absolute path"},
        {"path: /a/../b", "\"..\""},
        {"path: \"/a\\nb\"", "control characters"},
        {"mode: 4755", "permission bits"},
        {"mode: 0688", "file mode"},
        {"mode: rw", "file mode"},
        {"mode: 99999999999", "file mode"},
        {"color: [red]", "red, green or blue"},
        {"secret: {env: SCHEMA_TEST_ABSENT}", "not set"},
        {"secret: {credential: ../x}", "not the name of a credential"},
        {"secret: {env: A, file: /b}", "expected {file"},
        {"secret: {file: b}", "absolute path"},
        {"secret: {file: /nonexistent}", "/nonexistent"},
        {"secret: {file: }", "expected {file"},
        {"secret: []", "expected {file"},
        {"custom: {}", "expected something"},
    };

    (void)state;
    unsetenv("SCHEMA_TEST_ABSENT");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct problems p = {0};
        struct thing t;

        if (read_thing(cases[i][0], &t, &p) || p.n != 1)
            fail_msg("%s: %zu problems", cases[i][0], p.n);
        if (!strstr(p.items[0].message, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], p.items[0].message);
        assert_int_equal(p.items[0].line, 1);
        schema_done(fields, &t);
        problems_done(&p);
    }
}

static void suggests_what_was_meant(void **state)
{
    (void)state;
    is_refused("colour: red", 1, "unknown key \"colour\"", "color");
    is_refused("Flag: true", 1, "unknown key", "flag");
    is_refused("zzz: 1", 1, "unknown key", NULL);
    is_refused("flag: yes", 7, "true or false", "true");
    is_refused("flag: off", 7, "true or false", "false");
    is_refused("flag: 'true'", 7, "true or false", "true");
    is_refused("color: gren", 8, "red, green or blue", "green");
    is_refused("duration: 30", 11, "expected a duration", "30s");
    is_refused("argv: nginx  -s reload", 7, "expected a list", "[nginx, -s, reload]");
    is_refused("secret: {fil: /a}", 10, "unknown key", "file");
}

static void reports_everything_in_one_run(void **state)
{
    struct problems p = {0};
    struct thing t;

    (void)state;
    assert_false(read_thing("a: 1\n"
                            "number: x\nb: 2\nduration: y\ncolor: z\n",
                            &t, &p));
    assert_int_equal(p.errors, 5);
    assert_string_equal(p.items[4].path, "top.color");
    schema_done(fields, &t);
    problems_done(&p);
}

static void names_what_is_missing(void **state)
{
    struct problems p = {0};
    struct thing t = {0};
    struct yaml *y = yaml_parse("f", "{}", 2, &p);

    (void)state;
    assert_false(schema_read(needy, yaml_root(y), NULL, NULL, &t, NULL, &p));
    assert_string_equal(p.items[0].message, "\"must\" is missing here");
    assert_string_equal(p.items[0].path, "must");
    assert_int_equal(p.items[0].line, 1);
    yaml_free(y);
    problems_done(&p);
}

static void a_misspelt_key_is_not_missing_as_well(void **state)
{
    struct problems p = {0};
    struct thing t = {0};
    struct yaml *y = yaml_parse("f", "musst: x", 8, &p);

    (void)state;
    assert_false(schema_read(needy, yaml_root(y), NULL, NULL, &t, NULL, &p));
    assert_int_equal(p.n, 1);
    assert_string_equal(p.items[0].suggestion, "must");
    yaml_free(y);
    problems_done(&p);
}

static void leaves_skipped_keys_to_the_caller(void **state)
{
    static const char *const skip[] = {"type", NULL};
    struct problems p = {0};
    struct thing t = {0};
    struct yaml *y = yaml_parse("f", "{type: x, typ: y}", 17, &p);

    (void)state;
    assert_false(schema_read(fields, yaml_root(y), NULL, skip, &t, NULL, &p));
    assert_int_equal(p.n, 1);
    assert_string_equal(p.items[0].suggestion, "type");
    schema_done(fields, &t);
    yaml_free(y);
    problems_done(&p);
}

static void keys_of_one_map_may_belong_to_several_structs(void **state)
{
    struct problems p = {0};
    struct thing a = {0}, b = {0};
    const struct schema_part parts[] = {{fields, &a}, {needy, &b}};
    struct yaml *y = yaml_parse("f", "{text: a, must: b, musd: c}", 27, &p);

    (void)state;
    assert_false(schema_read_parts(parts, 2, yaml_root(y), NULL, NULL, NULL, &p));
    assert_int_equal(p.n, 1);
    assert_string_equal(p.items[0].suggestion, "must");
    assert_string_equal(a.text, "a");
    assert_string_equal(b.text, "b");
    schema_done(fields, &a);
    schema_done(needy, &b);
    yaml_free(y);
    problems_done(&p);
}

static void refuses_what_is_no_map(void **state)
{
    struct problems p = {0};
    struct thing t = {0};
    struct yaml *y = yaml_parse("f", "[a]", 3, &p);

    (void)state;
    assert_false(schema_read(fields, yaml_root(y), NULL, NULL, &t, NULL, &p));
    assert_non_null(strstr(p.items[0].message, "expected a map"));
    schema_done(fields, &t);
    yaml_free(y);
    problems_done(&p);
}

static void warns_when_others_can_read_a_secret(void **state)
{
    char path[] = "/tmp/schema-test-XXXXXX";
    int fd = mkstemp(path);
    auto_free char *text = xasprintf("secret: {file: %s}", path);
    struct problems p = {0};
    struct thing t;

    (void)state;
    assert_int_equal(write(fd, "hush\r\n", 6), 6);
    assert_true(read_thing(text, &t, &p));
    assert_int_equal(p.n, 0);
    assert_int_equal(t.secret->len, 4);
    schema_done(fields, &t);

    assert_int_equal(fchmod(fd, 0644), 0);
    assert_true(read_thing(text, &t, &p));
    assert_int_equal(p.n, 1);
    assert_true(p.items[0].warning);
    assert_non_null(strstr(p.items[0].message, "chmod"));
    assert_non_null(t.secret);
    schema_done(fields, &t);
    problems_done(&p);

    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_false(read_thing(text, &t, &p));
    assert_non_null(strstr(p.items[0].message, "empty"));
    assert_null(t.secret);
    schema_done(fields, &t);
    problems_done(&p);
    close(fd);
    unlink(path);
}

/* A process beside the service cannot see what systemd gives to that one only. */
static void credentials_may_be_out_of_sight_of_those_who_only_look(void **state)
{
    struct thing t;

    (void)state;
    unsetenv("CREDENTIALS_DIRECTORY");
    is_refused("secret: {credential: x}", 22, "CREDENTIALS_DIRECTORY is not set", NULL);

    struct problems p = {.apart = true};
    assert_true(read_thing("secret: {credential: x}", &t, &p));
    assert_int_equal(p.n, 1);
    assert_true(p.items[0].warning);
    assert_non_null(strstr(p.items[0].message, "only by the service"));
    assert_int_equal(t.secret->len, 0);
    schema_done(fields, &t);
    problems_done(&p);

    p = (struct problems){.apart = true}; /* where there are credentials, one must be there */
    setenv("CREDENTIALS_DIRECTORY", "/tmp", 1);
    assert_false(read_thing("secret: {credential: nonexistent-credential}", &t, &p));
    schema_done(fields, &t);
    problems_done(&p);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void a_secret_in_the_file_is_refused_and_not_repeated(void **state)
{
    struct problems p = {0};
    struct thing t;

    (void)state;
    assert_false(read_thing("secret: hunter2", &t, &p));
    auto_free char *text = problem_text(&p.items[0], false);
    assert_null(strstr(text, "hunter2"));
    assert_non_null(strstr(text, "secret: ***"));
    schema_done(fields, &t);
    problems_done(&p);
}

static void writes_the_reference(void **state)
{
    auto_buf struct buf b;

    (void)state;
    buf_init(&b, 65536);
    schema_reference(fields, &b);
    assert_non_null(strstr(b.data, "| `text` | a text | `a preset` | some text |\n"));
    assert_non_null(strstr(b.data, "| `custom` | anything \\| nothing |"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in_presets),
        cmocka_unit_test(reads_every_type),
        cmocka_unit_test(off_is_no_program),
        cmocka_unit_test(refuses_wrong_types_and_values),
        cmocka_unit_test(suggests_what_was_meant),
        cmocka_unit_test(reports_everything_in_one_run),
        cmocka_unit_test(names_what_is_missing),
        cmocka_unit_test(a_misspelt_key_is_not_missing_as_well),
        cmocka_unit_test(leaves_skipped_keys_to_the_caller),
        cmocka_unit_test(keys_of_one_map_may_belong_to_several_structs),
        cmocka_unit_test(refuses_what_is_no_map),
        cmocka_unit_test(warns_when_others_can_read_a_secret),
        cmocka_unit_test(credentials_may_be_out_of_sight_of_those_who_only_look),
        cmocka_unit_test(a_secret_in_the_file_is_refused_and_not_repeated),
        cmocka_unit_test(writes_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
