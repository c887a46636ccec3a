#include "hooks/pem_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define CERT(x) "-----BEGIN CERTIFICATE-----\n" x "\n-----END CERTIFICATE-----\n"
#define KEY     "-----BEGIN PRIVATE KEY-----\nS\n-----END PRIVATE KEY-----\n"

static char *blocks(const char *text)
{
    struct buf b;

    buf_init(&b, 1000);
    bool good = pem_text_blocks(text, strlen(text), &b);
    char *made = buf_take(&b);
    buf_done(&b);
    if (!good) {
        free(made);
        return NULL;
    }
    return made;
}

static void what_stands_between_blocks_is_left_out(void **state)
{
    auto_free char *plain = blocks("subject: x\n\n" CERT("AA") "\n \n" KEY "bye\n");
    auto_free char *dos =
        blocks("-----BEGIN CERTIFICATE-----\r\nAA\r\n\r\n-----END CERTIFICATE-----\r\n");
    auto_free char *no_newline = blocks("-----BEGIN X-----\nAA\n-----END X-----");

    (void)state;
    assert_string_equal(plain, CERT("AA") KEY);
    assert_string_equal(dos, CERT("AA"));
    assert_string_equal(no_newline, "-----BEGIN X-----\nAA\n-----END X-----\n");
}

static void no_block_is_no_text(void **state)
{
    auto_buf struct buf small;

    (void)state;
    assert_null(blocks(""));
    assert_null(blocks("hello"));
    assert_null(blocks("-----BEGIN CERTIFICATE-----\nAA\n"));
    assert_null(blocks("-----END CERTIFICATE-----\n"));
    buf_init(&small, 10);
    assert_false(pem_text_blocks(KEY, strlen(KEY), &small));
}

static void the_leaf_is_the_first_certificate(void **state)
{
    static const char text[] = KEY "x\n" CERT("AA") CERT("BB");
    auto_free char *leaf = pem_text_leaf(text, strlen(text));

    (void)state;
    assert_string_equal(leaf, CERT("AA"));
    assert_null(pem_text_leaf(KEY, strlen(KEY)));
    assert_null(pem_text_leaf("", 0));
    assert_true(pem_text_has_key(text));
    assert_false(pem_text_has_key(CERT("AA")));
    assert_true(pem_text_has_key("-----BEGIN EC PRIVATE KEY-----"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_between_blocks_is_left_out),
        cmocka_unit_test(no_block_is_no_text),
        cmocka_unit_test(the_leaf_is_the_first_certificate),
    };

    return cmocka_run_group_tests_name("pem_text", tests, NULL, NULL);
}
