#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void finds_what_was_set(void **state)
{
    (void)state;
    struct map *m = map_new();
    char key[] = "key", one[] = "one", two[] = "two";

    assert_null(map_get(m, "key"));
    assert_null(map_set(m, key, one));
    key[0] = 'x'; /* the map has its own copy */
    assert_string_equal(map_get(m, "key"), "one");
    assert_null(map_get(m, "ke"));
    assert_null(map_get(m, "keyy"));
    assert_string_equal(map_set(m, "key", two), "one");
    assert_string_equal(map_get(m, "key"), "two");
    assert_int_equal(map_count(m), 1);
    assert_string_equal(map_remove(m, "key"), "two");
    assert_null(map_remove(m, "key"));
    assert_int_equal(map_count(m), 0);
    assert_null(map_first(m));
    map_free(m, NULL);
    map_free(NULL, free);
}

static void iterates_in_order_of_insertion(void **state)
{
    (void)state;
    struct map *m = map_new();
    char v[5][2] = {"1", "2", "3", "4", "5"}, text[64] = "";

    map_set(m, "z", v[0]);
    map_set(m, "a", v[1]);
    map_set(m, "m", v[2]);
    map_set(m, "z", v[3]); /* keeps its place */
    map_remove(m, "a");
    map_set(m, "a", v[4]);
    for (const struct map_entry *e = map_first(m); e; e = map_next(e)) {
        strcat(text, map_entry_key(e));
        strcat(text, map_entry_value(e));
    }
    assert_string_equal(text, "z4m3a5");
    map_free(m, NULL);
}

static void holds_many_and_frees_values(void **state)
{
    (void)state;
    struct map *m = map_new();
    size_t n = 0;

    for (int i = 0; i < 5000; i++) {
        auto_free char *key = xasprintf("key %d", i);
        assert_null(map_set(m, key, xasprintf("%d", i)));
    }
    assert_int_equal(map_count(m), 5000);
    assert_string_equal(map_get(m, "key 4321"), "4321");
    assert_string_equal(map_get(m, "key 0"), "0");
    for (const struct map_entry *e = map_first(m); e; e = map_next(e))
        n++;
    assert_int_equal(n, 5000);
    map_free(m, free); /* LeakSanitizer counts them */
}

static void the_empty_name_is_a_name(void **state)
{
    (void)state;
    struct map *m = map_new();
    char one[] = "one";

    map_set(m, "", one);
    assert_string_equal(map_get(m, ""), "one");
    assert_null(map_get(m, "x"));
    map_free(m, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_set),
        cmocka_unit_test(iterates_in_order_of_insertion),
        cmocka_unit_test(holds_many_and_frees_values),
        cmocka_unit_test(the_empty_name_is_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
