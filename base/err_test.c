#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/clock.h"

static void is_shown_as(const char *text, size_t len, const char *expected)
{
    auto_free char *escaped = text_escape(text, len);

    assert_string_equal(escaped, expected);
    auto_free char *again = text_escape(escaped, strlen(escaped));
    assert_string_equal(again, expected); /* wrapping escapes once more */
}

#define SHOWN(text, expected) is_shown_as("" text, sizeof(text) - 1, expected)

static void escapes_what_moves_a_terminal(void **state)
{
    (void)state;
    SHOWN("plain, with spaces and \\", "plain, with spaces and \\");
    SHOWN("\x1b[31mred", "\\x1b[31mred");
    SHOWN("two\nlines\r\ttab", "two\\x0alines\\x0d\\x09tab");
    SHOWN("a\0b", "a\\x00b");
    SHOWN("del\x7f", "del\\x7f");
    SHOWN("c1\xc2\x9b", "c1\\u009b"); /* CSI in one character */
    SHOWN("c1\xc2\x80\xc2\x85\xc2\x9f", "c1\\u0080\\u0085\\u009f");
}

static void escapes_what_turns_text_around(void **state)
{
    (void)state;
    SHOWN("\xe2\x80\xae"
          "gpj",
          "\\u202egpj");
    SHOWN("\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "\\u200e\\u200f\\u061c");
    SHOWN("\xe2\x80\xaa\xe2\x81\xa6\xe2\x81\xa9", "\\u202a\\u2066\\u2069");
    SHOWN("\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf", "\\u2028\\u2029\\ufeff");
}

static void keeps_well_formed_utf8(void **state)
{
    (void)state;
    SHOWN("B\xc3\xbc"
          "cher \xe4\xbe\x8b \xf0\x9f\x94\x92",
          "B\xc3\xbc"
          "cher \xe4\xbe\x8b \xf0\x9f\x94\x92");
    SHOWN("\xc2\xa0\xf4\x8f\xbf\xbf", "\xc2\xa0\xf4\x8f\xbf\xbf"); /* both ends */
}

static void escapes_malformed_utf8_byte_by_byte(void **state)
{
    (void)state;
    SHOWN("\xff", "\\xff");
    SHOWN("\x80x", "\\x80x");
    SHOWN("\xc3", "\\xc3");                            /* cut */
    SHOWN("\xc3(", "\\xc3(");                          /* broken off */
    SHOWN("\xc0\xaf", "\\xc0\\xaf");                   /* overlong '/' */
    SHOWN("\xe0\x80\xaf", "\\xe0\\x80\\xaf");          /* again */
    SHOWN("\xed\xa0\x80", "\\xed\\xa0\\x80");          /* surrogate */
    SHOWN("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* beyond U+10FFFF */
    SHOWN("\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80");
    SHOWN("\xe2\x80", "\\xe2\\x80");
}

static void reads_no_further_than_told(void **state)
{
    (void)state;
    auto_free char *text = xmemdup("ab\xe2\x80", 4); /* the sanitizer watches its end */

    is_shown_as(text, 4, "ab\\xe2\\x80");
    is_shown_as(text, 3, "ab\\xe2");
    is_shown_as(text, 0, "");
}

static void sets_and_replaces(void **state)
{
    auto_err struct err *err = NULL;
    time_t before = clock_now();

    (void)state;
    assert_false(err_set(&err, ERR_REFUSED, "no: %s", "\x1b]0;title\x07"));
    assert_int_equal(err->kind, ERR_REFUSED);
    assert_string_equal(err->text, "no: \\x1b]0;title\\x07");
    assert_int_equal(err->code, 0);
    assert_true(err->at >= before && err->at <= clock_now());
    err_hint(&err, "try %d", 1);
    err_step(&err, "authorize");

    /* The old text as an argument of the new one */
    assert_false(err_set(&err, ERR_LIMITED, "again: %s", err->text));
    assert_int_equal(err->kind, ERR_LIMITED);
    assert_string_equal(err->text, "again: no: \\x1b]0;title\\x07");
    assert_null(err->hint);
    assert_null(err->step);
}

static void names_the_errno(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    assert_false(err_set_errno(&err, ENOENT, "opening %s", "x\n"));
    assert_int_equal(err->kind, ERR_SYSTEM);
    assert_int_equal(err->code, ENOENT);
    assert_string_equal(err->text, "opening x\\x0a: No such file or directory");
    err_set_errno(&err, 99999, "strange");
    assert_string_equal(err->text, "strange: error 99999");
    assert_int_equal(err->code, 99999);
}

static void wraps_the_outermost_first(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    err_set_errno(&err, EACCES, "opening b");
    assert_false(err_wrap(&err, "reading %s", "a"));
    assert_false(err_wrap(&err, "outside"));
    assert_string_equal(err->text, "outside: reading a: opening b: Permission denied");
    assert_int_equal(err->code, EACCES);
}

static void the_first_step_and_the_last_hint_stay(void **state)
{
    auto_err struct err *err = NULL;

    (void)state;
    err_set(&err, ERR_SYSTEM, "x");
    err_step(&err, "reload");
    err_step(&err, "deploy");
    assert_string_equal(err->step, "reload");
    err_hint(&err, "one");
    err_hint(&err, "two\x1b");
    assert_string_equal(err->hint, "two\\x1b");
}

static void nobody_needs_to_care(void **state)
{
    struct err *none = NULL;

    (void)state;
    assert_false(err_set(NULL, ERR_BUG, "x"));
    assert_false(err_set_errno(NULL, EIO, "x"));
    assert_false(err_wrap(NULL, "x"));
    assert_false(err_hint(NULL, "x"));
    assert_false(err_step(NULL, "x"));
    assert_false(err_wrap(&none, "x"));
    assert_false(err_hint(&none, "x"));
    assert_false(err_step(&none, "x"));
    assert_null(none);
    assert_null(err_copy(NULL));
    err_free(NULL);
}

static void is_cut_at_4_kib_between_characters(void **state)
{
    auto_err struct err *err = NULL;
    char text[10000];

    (void)state;
    for (size_t start = 0; start < 4; start++) {
        memset(text, 'x', start);
        for (size_t i = start; i + 4 < sizeof(text); i += 2)
            memcpy(text + i, "\xc3\xa4", 3);
        err_set(&err, ERR_REFUSED, "%s", text);
        size_t len = strlen(err->text);
        assert_in_range(len, 4090, 4096);
        assert_string_equal(err->text + len - 3, "...");
        assert_null(strchr(err->text, '\\'));
    }
    memset(text, 0x1b, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    err_set(&err, ERR_REFUSED, "%s", text);
    assert_in_range(strlen(err->text), 4090, 4096);
    assert_string_equal(err->text + strlen(err->text) - 7, "\\x1b...");
    for (int i = 0; i < 5000; i++)
        err_wrap(&err, "level %d", i);
    assert_in_range(strlen(err->text), 4090, 4096);
    assert_memory_equal(err->text, "level 4999: ", 12);
}

static void copies_and_moves_everything(void **state)
{
    auto_err struct err *err = NULL, *other = NULL;

    (void)state;
    err_set(&err, ERR_LIMITED, "text");
    err_hint(&err, "hint");
    err_step(&err, "step");
    err->where = xstrdup("f:1:2");
    err->problem = xstrdup("rateLimited");
    err->code = 429;
    err->retry_at = 1234;

    auto_err struct err *copy = err_copy(err);
    assert_int_equal(copy->kind, ERR_LIMITED);
    assert_string_equal(copy->text, "text");
    assert_string_equal(copy->hint, "hint");
    assert_string_equal(copy->step, "step");
    assert_string_equal(copy->where, "f:1:2");
    assert_string_equal(copy->problem, "rateLimited");
    assert_int_equal(copy->code, 429);
    assert_int_equal(copy->retry_at, 1234);
    assert_int_equal(copy->at, err->at);
    assert_ptr_not_equal(copy->text, err->text);

    err_set(&other, ERR_BUG, "old");
    assert_false(err_move(&other, &err));
    assert_null(err);
    assert_string_equal(other->text, "text");
    assert_false(err_move(NULL, &other)); /* dropped, not leaked */
    assert_null(other);
}

static void kinds_have_names(void **state)
{
    static const char *const names[] = {"config",    "refused", "limited",
                                        "transient", "system",  "bug"};
    enum err_kind kind = ERR_BUG;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_string_equal(err_kind_name((enum err_kind)i), names[i]);
        assert_true(err_kind_parse(names[i], &kind));
        assert_int_equal(kind, i);
    }
    assert_false(err_kind_parse("", &kind));
    assert_false(err_kind_parse("Config", &kind));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_what_moves_a_terminal),
        cmocka_unit_test(escapes_what_turns_text_around),
        cmocka_unit_test(keeps_well_formed_utf8),
        cmocka_unit_test(escapes_malformed_utf8_byte_by_byte),
        cmocka_unit_test(reads_no_further_than_told),
        cmocka_unit_test(sets_and_replaces),
        cmocka_unit_test(names_the_errno),
        cmocka_unit_test(wraps_the_outermost_first),
        cmocka_unit_test(the_first_step_and_the_last_hint_stay),
        cmocka_unit_test(nobody_needs_to_care),
        cmocka_unit_test(is_cut_at_4_kib_between_characters),
        cmocka_unit_test(copies_and_moves_everything),
        cmocka_unit_test(kinds_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
