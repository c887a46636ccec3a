#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"

static struct yaml *parse(const char *text, struct problems *p)
{
    return yaml_parse("f.yaml", text, strlen(text), p);
}

/* The text has one problem, at line:column, whose message contains `part`. */
static void has_problem(const char *text, size_t len, int line, int column, const char *part)
{
    struct problems p = {0};
    struct yaml *y = yaml_parse("f.yaml", text, len, &p);

    if (p.n != 1)
        fail_msg("%zu problems in: %.60s", p.n, text);
    if (!strstr(p.items[0].message, part) || p.items[0].line != line || p.items[0].column != column)
        fail_msg("%.40s: at %d:%d: %s", text, p.items[0].line, p.items[0].column,
                 p.items[0].message);
    assert_int_equal(p.errors, 1);
    yaml_free(y);
    problems_done(&p);
}

static void is_wrong(const char *text, int line, int column, const char *part)
{
    has_problem(text, strlen(text), line, column, part);
}

static const struct yaml_node *at(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *n = yaml_get(map, key);

    if (!n)
        fail_msg("no key %s", key);
    return n;
}

static void reads_maps_lists_and_texts(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("a: b\nlist: [1, 'two', \"three\\n\"]\n"
                           "map:\n  empty:\n  tilde: ~\n  quoted: ''\n  block: |\n    x\n    y\n",
                           &p);
    const struct yaml_node *root = yaml_root(y), *map = at(root, "map"), *list = at(root, "list");

    (void)state;
    assert_int_equal(p.n, 0);
    assert_int_equal(yaml_node_type(root), YAML_MAP);
    assert_int_equal(yaml_count(root), 3);
    assert_string_equal(yaml_scalar(at(root, "a")), "b");
    assert_int_equal(yaml_node_type(list), YAML_LIST);
    assert_int_equal(yaml_count(list), 3);
    assert_false(yaml_is_quoted(yaml_item(list, 0)));
    assert_true(yaml_is_quoted(yaml_item(list, 1)));
    assert_string_equal(yaml_scalar(yaml_item(list, 2)), "three\n");
    assert_int_equal(yaml_node_type(at(map, "empty")), YAML_NULL);
    assert_null(yaml_scalar(at(map, "tilde")));
    assert_string_equal(yaml_scalar(at(map, "quoted")), "");
    assert_string_equal(yaml_scalar(at(map, "block")), "x\ny\n");
    assert_null(yaml_get(map, "absent"));
    yaml_free(y);
}

static void knows_where_everything_stands(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("\xef\xbb\xbf# BOM\r\na: b\r\nmap:\r\n  'k\xc3\xbc y': \"v w\"\r\n", &p);
    const struct yaml_node *map = at(yaml_root(y), "map"), *key, *value = yaml_pair(map, 0, &key);
    auto_free char *where_key = yaml_where(key), *where_value = yaml_where(value);

    (void)state;
    assert_string_equal(where_key, "f.yaml:4:3");
    assert_string_equal(where_value, "f.yaml:4:11");
    yaml_problem(&p, false, value, "map.k", "x", "no %s", "good");
    assert_int_equal(p.items[0].width, 5);
    assert_string_equal(p.items[0].source, "  'k\xc3\xbc y': \"v w\"");
    auto_free char *text = problem_text(&p.items[0], false);
    assert_string_equal(text, "f.yaml:4:11: error: no good\n  'k\xc3\xbc y': \"v w\"\n"
                              "          ^~~~~\ndid you mean \"x\"?\n");
    yaml_free(y);
    problems_done(&p);
}

static void counts_lines_with_any_line_end(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("a: 1\r\nb: 2\rc: 3\nx: 4", &p);
    auto_free char *where = yaml_where(at(yaml_root(y), "x"));

    (void)state;
    assert_int_equal(p.n, 0);
    assert_string_equal(where, "f.yaml:4:4");
    yaml_free(y);
}

static void says_what_is_wrong_with_the_syntax(void **state)
{
    (void)state;
    is_wrong("a: \"bc\nx: e\n", 1, 4, "not closed");
    is_wrong("a: 'bc", 1, 5, "not closed");
    is_wrong("a:\n\tb: c\n", 2, 1, "tab");
    is_wrong("a: {b: c\nx: e\n", 2, 2, "missing comma");
    is_wrong("a: b: c\n", 1, 5, "nested");
    is_wrong("a: @b\n", 1, 4, "quotes");
    is_wrong("a: b\n---\nc: x\n", 2, 1, "one file is one document");
    is_wrong("a: !!str b\n", 1, 10, "tags");
    is_wrong("a: \"b\\0c\"\n", 1, 4, "\\0");
    is_wrong("? [a]\n: b\n", 1, 3, "a key must be a text");
}

static void refuses_what_is_no_text(void **state)
{
    (void)state;
    has_problem("a: b\nc\0d: e\n", 12, 2, 2, "0x00");
    has_problem("a: b\n\xff\xfe\n", 8, 2, 1, "not UTF-8");
    has_problem("a: \xc3", 4, 1, 4, "not UTF-8");
    has_problem("a: \xed\xa0\x80\n", 7, 1, 4, "not UTF-8");
    has_problem("a: \xc0\xaf\n", 6, 1, 4, "not UTF-8");
    has_problem("\xff\xfe"
                "a\0",
                4, 0, 0, "UTF-16");
    has_problem("a: \x1b[31m\n", 9, 1, 4, "0x1b");
}

static void an_empty_file_is_an_empty_map(void **state)
{
    static const char *const texts[] = {"", "# nothing\n", "---\n", "~", "\n\n", "\xef\xbb\xbf"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct problems p = {0};
        struct yaml *y = parse(texts[i], &p);

        if (!y || p.n > 0)
            fail_msg("text %zu", i);
        assert_int_equal(yaml_node_type(yaml_root(y)), YAML_MAP);
        assert_int_equal(yaml_count(yaml_root(y)), 0);
        yaml_free(y);
    }
}

static void reports_duplicate_keys_and_keeps_the_first(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("a:\n  - b: 1\n    c: 2\n    'b': 3\na: 4\n", &p);

    (void)state;
    assert_int_equal(p.n, 2);
    assert_string_equal(p.items[0].path, "a[0].b");
    assert_int_equal(p.items[0].line, 4);
    assert_int_equal(p.items[0].column, 5);
    assert_non_null(strstr(p.items[0].message, "f.yaml:2:5"));
    assert_string_equal(p.items[1].path, "a");
    assert_int_equal(yaml_node_type(at(yaml_root(y), "a")), YAML_LIST);
    yaml_free(y);
    problems_done(&p);
}

static void finds_a_duplicate_among_many_keys(void **state)
{
    struct problems p = {0};
    auto_buf struct buf text;

    (void)state;
    buf_init(&text, 1 << 20);
    for (int i = 0; i < 20000; i++)
        buf_addf(&text, "k%d: v\n", i);
    buf_add_str(&text, "k777: w\n");
    int64_t start = clock_boot_ms();
    struct yaml *y = parse(text.data, &p);
    assert_true(clock_boot_ms() - start < 5000); /* quadratic would be minutes under a sanitizer */
    assert_int_equal(p.n, 1);
    assert_int_equal(p.items[0].line, 20001);
    assert_int_equal(yaml_count(yaml_root(y)), 20000);
    yaml_free(y);
    problems_done(&p);
}

static void follows_aliases_and_merge_keys(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\n"
                           "x: {<<: *base, b: 5}\ny: {<<: [*base, *more], d: 6}\nz: *base\n",
                           &p);
    const struct yaml_node *root = yaml_root(y);

    (void)state;
    assert_int_equal(p.n, 0);
    assert_string_equal(yaml_scalar(at(at(root, "x"), "a")), "1");
    assert_string_equal(yaml_scalar(at(at(root, "x"), "b")), "5");
    assert_int_equal(yaml_count(at(root, "x")), 2);
    assert_string_equal(yaml_scalar(at(at(root, "y"), "b")), "2");
    assert_string_equal(yaml_scalar(at(at(root, "y"), "c")), "4");
    assert_ptr_equal(at(root, "z"), at(root, "base"));
    yaml_free(y);
}

static void refuses_aliases_that_lead_nowhere_or_in_circles(void **state)
{
    (void)state;
    is_wrong("a: *b\n", 1, 4, "no anchor &b");
    is_wrong("a: &b [1, *b]\n", 1, 11, "contains itself");
    is_wrong("a: &b {<<: *b}\n", 1, 12, "contains itself");
    is_wrong("a: {<<: [1]}\n", 1, 10, "wants a map");
}

static void suggests_quotes_for_a_wildcard_name(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("names: [*.example.org]\n", &p);

    (void)state;
    assert_int_equal(p.n, 1);
    assert_int_equal(p.items[0].column, 9);
    assert_non_null(strstr(p.items[0].message, "quotes"));
    assert_string_equal(p.items[0].suggestion, "'*.example.org'");
    yaml_free(y);
    problems_done(&p);
}

static void bounds_what_aliases_stand_for(void **state)
{
    struct problems p = {0};
    auto_buf struct buf text;

    (void)state;
    buf_init(&text, 1 << 20);
    buf_add_str(&text, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 30; i++)
        buf_addf(&text, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    assert_null(parse(text.data, &p));
    assert_int_equal(p.n, 1);
    assert_non_null(strstr(p.items[0].message, "aliases followed"));
    problems_done(&p);
}

static void bounds_what_merge_keys_stand_for(void **state)
{
    struct problems p = {0};
    auto_buf struct buf text;

    (void)state;
    buf_init(&text, 4 << 20);
    buf_add_str(&text, "a: &a {");
    for (int i = 0; i < 20000; i++)
        buf_addf(&text, "k%d: v, ", i);
    buf_add_str(&text, "}\n");
    for (int i = 0; i < 2000; i++)
        buf_addf(&text, "m%d: {<<: *a}\n", i);
    assert_null(parse(text.data, &p));
    assert_non_null(strstr(p.items[0].message, "aliases followed"));
    problems_done(&p);
}

static void refuses_towers(void **state)
{
    static const char *const bricks[] = {"[", "{", "- ", "? ", "[a,", "{a: "};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bricks); i++) {
        struct problems p = {0};
        auto_buf struct buf text;

        buf_init(&text, 4 << 20);
        for (int n = 0; n < 50000; n++)
            buf_add_str(&text, bricks[i]);
        assert_null(yaml_parse("f", text.data, text.len, &p));
        assert_int_equal(p.errors, 1);
        assert_non_null(strstr(p.items[0].message, "deep"));
        problems_done(&p);
    }
}

static void refuses_large_files(void **state)
{
    struct problems p = {0};
    auto_buf struct buf text;

    (void)state;
    buf_init(&text, 8 << 20);
    for (int i = 0; i < 700000; i++)
        buf_add_str(&text, "a: b\n# ");
    assert_null(yaml_parse("f", text.data, text.len, &p));
    assert_non_null(strstr(p.items[0].message, "4 MiB"));
    problems_done(&p);
    assert_null(yaml_load("/dev/zero", &p));
    assert_int_equal(p.errors, 1);
    problems_done(&p);
}

static void says_that_a_file_is_missing(void **state)
{
    struct problems p = {0};

    (void)state;
    assert_null(yaml_load("/nonexistent/f.yaml", &p));
    assert_string_equal(p.items[0].file, "/nonexistent/f.yaml");
    assert_int_equal(p.items[0].line, 0);
    auto_free char *text = problem_text(&p.items[0], false);
    assert_non_null(strstr(text, "/nonexistent/f.yaml: error: "));
    problems_done(&p);
}

/* Every cut and every octet replaced: nothing may crash, and there is a tree or an error. */
static void survives_damage(void **state)
{
    static const char good[] = "a: &x {b: [1, \"t\\u00e9\", 'u'], ? c : d}\n<<: *x\n"
                               "e:\n  - |\n    f\n  - >-\n    g\n  # c\n  - *x\n...\n";
    static const char octets[] = "\0\t\n\r\"'[]{}*&!|>%@`#:-?,\x80\xff x";

    (void)state;
    for (size_t i = 0; i <= sizeof(good); i++) {
        for (size_t o = 0; o < sizeof(octets); o++) {
            char text[sizeof(good)];
            struct problems p = {0};

            memcpy(text, good, sizeof(good));
            if (i < sizeof(good))
                text[i] = octets[o];
            struct yaml *y = yaml_parse("f", text, o == 0 ? i : sizeof(good) - 1, &p);
            if (!y)
                assert_true(p.errors > 0);
            yaml_free(y);
            problems_done(&p);
        }
    }
}

static void keeps_a_bounded_number_of_problems(void **state)
{
    struct problems p = {0};

    (void)state;
    for (int i = 0; i < PROBLEMS_MAX; i++)
        problems_add_file(&p, "f", "warning or not");
    for (int i = 0; i < 50; i++)
        problems_add_file(&p, "f", "too much");
    assert_int_equal(p.errors, PROBLEMS_MAX + 50);
    assert_int_equal(p.n, PROBLEMS_MAX + 1);
    assert_non_null(strstr(p.items[PROBLEMS_MAX].message, "more problems"));
    problems_done(&p);
}

static void hides_secrets_and_escapes_foreign_text(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("\xc3\xbc: hunter2 # old: hunter1\n", &p);

    (void)state;
    yaml_problem_hidden(&p, at(yaml_root(y), "\xc3\xbc"), "k", "in the open");
    assert_string_equal(p.items[0].source, "\xc3\xbc: ***");
    yaml_problem(&p, true, NULL, NULL, NULL, "%s", "a\x1b[31m");
    assert_string_equal(p.items[1].message, "a\\x1b[31m");
    yaml_free(y);
    problems_done(&p);
}

static void becomes_json(void **state)
{
    struct problems p = {0};
    struct yaml *y = parse("a: b\n", &p);

    (void)state;
    yaml_problem(&p, true, at(yaml_root(y), "a"), "a", NULL, "hm");
    auto_json json_t *o = problem_to_json(&p.items[0]);
    assert_string_equal(json_str(o, "severity"), "warning");
    assert_string_equal(json_str(o, "file"), "f.yaml");
    assert_int_equal(json_int(o, "line"), 1);
    assert_int_equal(json_int(o, "column"), 4);
    assert_string_equal(json_str(o, "path"), "a");
    assert_string_equal(json_str(o, "message"), "hm");
    assert_string_equal(json_str(o, "source"), "a: b");
    assert_true(json_is_null(json_get(o, "suggestion")));
    yaml_free(y);
    problems_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_maps_lists_and_texts),
        cmocka_unit_test(knows_where_everything_stands),
        cmocka_unit_test(counts_lines_with_any_line_end),
        cmocka_unit_test(says_what_is_wrong_with_the_syntax),
        cmocka_unit_test(refuses_what_is_no_text),
        cmocka_unit_test(an_empty_file_is_an_empty_map),
        cmocka_unit_test(reports_duplicate_keys_and_keeps_the_first),
        cmocka_unit_test(finds_a_duplicate_among_many_keys),
        cmocka_unit_test(follows_aliases_and_merge_keys),
        cmocka_unit_test(refuses_aliases_that_lead_nowhere_or_in_circles),
        cmocka_unit_test(suggests_quotes_for_a_wildcard_name),
        cmocka_unit_test(bounds_what_aliases_stand_for),
        cmocka_unit_test(bounds_what_merge_keys_stand_for),
        cmocka_unit_test(refuses_towers),
        cmocka_unit_test(refuses_large_files),
        cmocka_unit_test(says_that_a_file_is_missing),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(keeps_a_bounded_number_of_problems),
        cmocka_unit_test(hides_secrets_and_escapes_foreign_text),
        cmocka_unit_test(becomes_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
