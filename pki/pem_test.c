#include "pki/pem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static enum pem_next next_of(const char *text, struct pem_block *ret, struct err **err)
{
    struct pem_reader r;

    pem_init(&r, text, strlen(text));
    return pem_next(&r, ret, err);
}

static void finds_blocks_between_other_text(void **state)
{
    (void)state;
    static const char text[] = "words\r\n-----BEGIN A B-----\r\naGVsbG8=\r\n-----END A B-----\r\n"
                               "-----BEGIN C-----\n \taGk=\n-----END C-----";
    struct pem_reader r;
    struct pem_block b;
    unsigned char *der = NULL;
    size_t len;

    pem_init(&r, text, sizeof(text) - 1);
    assert_int_equal(pem_next(&r, &b, NULL), PEM_BLOCK);
    assert_true(pem_block_is(&b, "A B"));
    assert_int_equal(b.line, 2);
    assert_true(pem_decode(&b, &der, &len, NULL));
    assert_int_equal(len, 5);
    assert_memory_equal(der, "hello", 5);
    free(der);
    assert_int_equal(pem_next(&r, &b, NULL), PEM_BLOCK);
    assert_true(pem_block_is(&b, "C"));
    assert_true(pem_decode(&b, &der, &len, NULL));
    assert_int_equal(len, 2);
    free(der);
    assert_int_equal(pem_next(&r, &b, NULL), PEM_END);
}

static void refuses_broken_boundaries(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "-----BEGIN A-----\naGk=\n",                  /* no end */
        "-----BEGIN A-----\naGk=\n-----END B-----\n", /* another end */
        "-----BEGIN A-----\n-----BEGIN A-----\n-----END A-----\n",
        "-----BEGIN A----\naGk=\n-----END A-----\n",
        "-----END A-----\n",
        "-----BEGINA-----\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_err struct err *e = NULL;
        struct pem_block b;
        assert_int_equal(next_of(bad[i], &b, &e), PEM_BAD);
        assert_int_equal(e->kind, ERR_REFUSED);
    }
}

static void refuses_what_is_not_base64(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "aGk", "aG=k", "a===", "aGk=aGk=", "aG!k", "", "Proc-Type: 4\n\naGk="};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_free char *text = xasprintf("-----BEGIN A-----\n%s\n-----END A-----\n", bad[i]);
        struct pem_block b;
        unsigned char *der;
        size_t len;
        assert_int_equal(next_of(text, &b, NULL), PEM_BLOCK);
        assert_false(pem_decode(&b, &der, &len, NULL));
    }
}

/* Many BEGIN lines made others quadratic. */
static void reads_a_megabyte_of_begin_lines_once(void **state)
{
    (void)state;
    auto_buf struct buf text;
    auto_err struct err *e = NULL;
    struct pem_block b;

    buf_init(&text, 1 << 20);
    while (buf_add_str(&text, "-----BEGIN CERTIFICATE-----\n"))
        ;
    assert_int_equal(next_of(text.data, &b, &e), PEM_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_blocks_between_other_text),
        cmocka_unit_test(refuses_broken_boundaries),
        cmocka_unit_test(refuses_what_is_not_base64),
        cmocka_unit_test(reads_a_megabyte_of_begin_lines_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
