#include "hooks/resp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static long parse(const char *text, size_t len, struct resp *ret)
{
    char *copy = xmemdup(text, len ? len : 1); /* so that a byte too far is seen */
    long n = resp_parse(copy, len, ret);

    free(copy);
    return n;
}

static void replies_of_each_kind_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *joined;
        bool is_error;
    } cases[] = {
        {"+OK\r\n", "OK", false},
        {"-NOAUTH Authentication required.\r\n", "NOAUTH Authentication required.", true},
        {":42\r\n", "42", false},
        {"$5\r\nhello\r\n", "hello", false},
        {"$0\r\n\r\n", "", false},
        {"$-1\r\n", "", false},
        {"*0\r\n", "", false},
        {"*-1\r\n", "", false},
        {"*2\r\n$1\r\na\r\n$2\r\nbc\r\n", "a,bc", false},
        {"$4\r\n\r\n\r\n\r\n", "\r\n\r\n", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resp r = {0};
        size_t len = strlen(cases[i].text);
        assert_int_equal(parse(cases[i].text, len, &r), (long)len);
        auto_free char *joined = strv_join(&r.items, ",");
        assert_string_equal(joined, cases[i].joined);
        assert_int_equal(r.is_error, cases[i].is_error);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(parse(cases[i].text, cut, &r), 0);
        resp_done(&r);
    }
}

static void only_the_first_of_several_is_read(void **state)
{
    struct resp r = {0};

    (void)state;
    assert_int_equal(parse("+OK\r\n+PONG\r\n", 12, &r), 5);
    assert_string_equal(r.items.items[0], "OK");
    resp_done(&r);
}

static void garbage_is_no_reply(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "HTTP/1.1 400 Bad Request\r\n",
        "+OK\rX",
        "$x\r\n",
        "$-2\r\nab\r\n",
        "$99999999999\r\n",
        "$70000\r\n",
        "$2\r\nabc\r\n",
        "*300\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*1\r\n$1\r\na\r\n",
        "*2\r\n$1\r\na\r\nx",
        "$ 1\r\na\r\n",
        "$\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct resp r = {0};
        if (parse(cases[i], strlen(cases[i]), &r) != -1)
            fail_msg("case %zu was taken", i);
        resp_done(&r);
    }
    struct resp r = {0};
    assert_int_equal(parse("+a\0b\r\n", 6, &r), -1);
    assert_int_equal(parse("$3\r\na\0b\r\n", 9, &r), -1);
    resp_done(&r);
}

static void a_line_without_end_is_given_up(void **state)
{
    struct resp r = {0};
    size_t len = 70000;
    char *text = xmalloc(len);

    (void)state;
    memset(text, '+', len);
    assert_int_equal(parse(text, 1000, &r), 0);
    assert_int_equal(parse(text, len, &r), -1);
    free(text);
    resp_done(&r);
}

static void commands_may_hold_anything(void **state)
{
    auto_buf struct buf b;

    (void)state;
    buf_init(&b, 1000);
    resp_begin_command(&b, 2);
    resp_add_argument(&b, "AUTH", 4);
    resp_add_argument(&b, "a\r\n\0b", 5);
    assert_int_equal(b.len, 4 + 10 + 4 + 7);
    assert_memory_equal(b.data, "*2\r\n$4\r\nAUTH\r\n$5\r\na\r\n\0b\r\n", b.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_of_each_kind_are_read),
        cmocka_unit_test(only_the_first_of_several_is_read),
        cmocka_unit_test(garbage_is_no_reply),
        cmocka_unit_test(a_line_without_end_is_given_up),
        cmocka_unit_test(commands_may_hold_anything),
    };

    return cmocka_run_group_tests_name("resp", tests, NULL, NULL);
}
