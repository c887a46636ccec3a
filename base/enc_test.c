#include "base/enc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void encodes_the_vectors_of_the_rfc(void **state)
{
    static const struct {
        const char *plain, *base64, *base64url;
    } vectors[] = {
        /* RFC 4648 10 */
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        size_t len = strlen(vectors[i].plain), back_len;
        auto_free char *base64 = enc_base64(vectors[i].plain, len);
        auto_free char *base64url = enc_base64url(vectors[i].plain, len);
        auto_free unsigned char *back = NULL;

        assert_string_equal(base64, vectors[i].base64);
        assert_string_equal(base64url, vectors[i].base64url);
        assert_true(dec_base64url(base64url, &back, &back_len));
        assert_int_equal(back_len, len);
        assert_string_equal((char *)back, vectors[i].plain);
    }
}

static void every_byte_comes_back(void **state)
{
    unsigned char bytes[259];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 7);
    for (size_t len = 250; len <= sizeof(bytes); len++) {
        auto_free char *url = enc_base64url(bytes, len);
        auto_free char *plain = enc_base64(bytes, len);
        auto_free char *hex = enc_hex(bytes, len);
        auto_free unsigned char *a = NULL, *b = NULL, *c = NULL;
        size_t a_len, b_len, c_len;

        assert_true(dec_base64url(url, &a, &a_len));
        assert_true(dec_base64_any(plain, &b, &b_len));
        assert_true(dec_hex(hex, &c, &c_len));
        assert_true(a_len == len && b_len == len && c_len == len);
        assert_memory_equal(a, bytes, len);
        assert_memory_equal(b, bytes, len);
        assert_memory_equal(c, bytes, len);
        assert_int_equal(a[len], 0);
    }
}

static void base64url_is_strict(void **state)
{
    static const char *const bad[] = {
        "Zg==",                 /* padding */
        "Zm9v\n",               /* white space */
        "Zm 9v",       "+/+/",  /* the other alphabet */
        "Z",           "Zm9vY", /* a lone character */
        "Zh",          "Zm9",   /* bits behind the last byte */
        "Zm9\xc3\xa4", "=",     "Zm9v.",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        unsigned char *data = NULL;
        size_t len = 99;

        if (dec_base64url(bad[i], &data, &len))
            fail_msg("\"%s\" was decoded", bad[i]);
        assert_null(data);
        assert_int_equal(len, 99);
    }
}

static void typed_keys_may_have_any_alphabet_and_white_space(void **state)
{
    static const char *const good[] = {"++//", "--__", "+-/_", " +\t+\r\n//", "++//\n"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        auto_free unsigned char *data = NULL;
        size_t len;

        assert_true(dec_base64_any(good[i], &data, &len));
        assert_int_equal(len, 3);
        assert_memory_equal(data, "\xfb\xef\xff", 3);
    }
    static const char *const padded[] = {"Zg==", "Zg", "Zg =\n=", "Zg="};
    for (size_t i = 0; i < ARRAY_LEN(padded); i++) {
        auto_free unsigned char *data = NULL;
        size_t len;

        assert_true(dec_base64_any(padded[i], &data, &len));
        assert_int_equal(len, 1);
        assert_string_equal((char *)data, "f");
    }
}

static void typed_keys_that_lost_something_are_refused(void **state)
{
    static const char *const bad[] = {"Z", "Zm9vY", "Zg===", "Zg==Zg==", "Zh==", "Zm9v!", "Zm=9"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        unsigned char *data = NULL;
        size_t len;

        if (dec_base64_any(bad[i], &data, &len))
            fail_msg("\"%s\" was decoded", bad[i]);
        assert_null(data);
    }
}

static void hex_takes_both_cases_and_nothing_else(void **state)
{
    auto_free unsigned char *data = NULL;
    unsigned char *none = NULL;
    size_t len;

    (void)state;
    assert_true(dec_hex("00aBFf", &data, &len));
    assert_int_equal(len, 3);
    assert_memory_equal(data, "\x00\xab\xff", 4);
    assert_false(dec_hex("0", &none, &len));
    assert_false(dec_hex("0g", &none, &len));
    assert_false(dec_hex("00:11", &none, &len));
    assert_false(dec_hex(" 0", &none, &len));
    assert_null(none);
}

static void tokens_are_told_from_paths(void **state)
{
    (void)state;
    assert_true(enc_is_base64url("a", 1));
    assert_true(enc_is_base64url("AZaz09-_", 8));
    assert_false(enc_is_base64url("", 8));
    assert_false(enc_is_base64url("AZaz09-_", 7));
    assert_false(enc_is_base64url("../../etc/passwd", 64));
    assert_false(enc_is_base64url("a/b", 64));
    assert_false(enc_is_base64url("a.b", 64));
    assert_false(enc_is_base64url("a=", 64));
    assert_false(enc_is_base64url("a\n", 64));
    assert_false(enc_is_base64url("\xc3\xa4", 64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encodes_the_vectors_of_the_rfc),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(base64url_is_strict),
        cmocka_unit_test(typed_keys_may_have_any_alphabet_and_white_space),
        cmocka_unit_test(typed_keys_that_lost_something_are_refused),
        cmocka_unit_test(hex_takes_both_cases_and_nothing_else),
        cmocka_unit_test(tokens_are_told_from_paths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
