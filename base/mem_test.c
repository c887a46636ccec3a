#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void copies_strings_and_passes_null_through(void **state)
{
    (void)state;
    auto_free char *copy = xstrdup("text");
    auto_free char *cut = xstrndup("text", 2);
    auto_free char *whole = xstrndup("text", 100);

    assert_string_equal(copy, "text");
    assert_string_equal(cut, "te");
    assert_string_equal(whole, "text");
    assert_null(xstrdup(NULL));
}

static void xstrndup_reads_no_further_than_told(void **state)
{
    (void)state;
    auto_free char *unterminated = xmalloc(3); /* the sanitizer watches its end */

    memcpy(unterminated, "abc", 3);
    auto_free char *copy = xstrndup(unterminated, 3);
    assert_string_equal(copy, "abc");
}

static void nothing_is_an_allocation_too(void **state)
{
    (void)state;
    auto_free void *a = xmalloc(0);
    auto_free void *b = xcalloc(0, 8);
    auto_free void *c = xmemdup(NULL, 0);
    auto_free void *d = xreallocarray(NULL, 0, 16);
    auto_free void *e = xrealloc(xmalloc(4), 0);

    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    assert_non_null(d);
    assert_non_null(e);
}

static void take_leaves_null(void **state)
{
    (void)state;
    char *s = xstrdup("moved");
    auto_free char *moved = take(s);

    assert_null(s);
    assert_string_equal(moved, "moved");
}

static void set_string_frees_what_was_there(void **state)
{
    (void)state;
    char *s = NULL;

    set_string(&s, xstrdup("one"));
    set_string(&s, xstrdup("two")); /* LeakSanitizer sees "one" otherwise */
    set_string(&s, s);
    assert_string_equal(s, "two");
    set_string(&s, NULL);
    assert_null(s);
}

static void secrets_hold_bytes_with_a_nul_behind(void **state)
{
    (void)state;
    auto_secret struct secret *s = secret_new("a\0b", 3);
    auto_secret struct secret *empty = secret_new(NULL, 0);

    assert_int_equal(s->len, 3);
    assert_memory_equal(s->data, "a\0b", 4);
    assert_int_equal(empty->len, 0);
    assert_int_equal(empty->data[0], 0);
    secret_free(NULL);
}

static void formats(void **state)
{
    (void)state;
    auto_free char *s = xasprintf("%s-%d", "a", 1);

    assert_string_equal(s, "a-1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_strings_and_passes_null_through),
        cmocka_unit_test(xstrndup_reads_no_further_than_told),
        cmocka_unit_test(nothing_is_an_allocation_too),
        cmocka_unit_test(take_leaves_null),
        cmocka_unit_test(set_string_frees_what_was_there),
        cmocka_unit_test(secrets_hold_bytes_with_a_nul_behind),
        cmocka_unit_test(formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
