#include "base/log_catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log_line.h"

static void known_events_have_an_identifier_and_others_have_none(void **state)
{
    (void)state;
    const char *id = log_message_id("renewal failed");

    assert_non_null(id);
    assert_int_equal(strlen(id), 32);
    assert_int_equal(strspn(id, "0123456789abcdef"), 32);
    assert_null(log_message_id("renewal failed "));
    assert_null(log_message_id(""));
}

static void both_kinds_of_lines_carry_it(void **state)
{
    (void)state;
    auto_log_line struct log_line known, other;
    auto_buf struct buf entry, json, none;

    buf_init(&entry, 10000);
    buf_init(&json, 10000);
    buf_init(&none, 10000);
    log_line_init(&known, LOG_LEVEL_WARNING, "a.c", 1, "renewal failed");
    log_line_add(&known, "certificate", "www\nMESSAGE_ID=0");
    log_line_init(&other, LOG_LEVEL_WARNING, "a.c", 1, "something else");
    log_line_journal(&known, &entry);
    log_line_json(&known, &json);
    log_line_journal(&other, &none);

    auto_free char *line = xasprintf("\nMESSAGE_ID=%s\n", log_message_id("renewal failed"));
    auto_free char *member = xasprintf("\"message_id\":\"%s\"", log_message_id("renewal failed"));
    assert_non_null(strstr(entry.data, line));
    assert_null(strstr(entry.data, "\nMESSAGE_ID=0")); /* no value makes a field of its own */
    assert_non_null(strstr(json.data, member));
    assert_null(strstr(none.data, "MESSAGE_ID"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_events_have_an_identifier_and_others_have_none),
        cmocka_unit_test(both_kinds_of_lines_carry_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
