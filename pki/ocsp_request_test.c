#include <string.h>

#include "base/enc.h"
#include "pki/ocsp_private.h"
#include "pki/test_ca.h"

static struct test_pki pki;

static int make_pki(void **state)
{
    (void)state;
    test_pki_make(&pki);
    return 0;
}

static int drop_pki(void **state)
{
    (void)state;
    test_pki_done(&pki);
    return 0;
}

static void asks_for_one_certificate_without_a_nonce(void **state)
{
    (void)state;
    auto_cert struct cert *leaf = test_leaf(&pki, (struct test_spec){0});

    for (enum ocsp_hash hash = 0; hash < OCSP_HASHES; hash++) {
        size_t len;
        auto_strv struct strv ids = {0};
        auto_free unsigned char *der = ocsp_request_make(leaf, pki.ca, hash, &len);
        auto_free char *id = ocsp_id(leaf, pki.ca, hash);
        const unsigned char *at = der;
        auto_ocsp_req OCSP_REQUEST *r = d2i_OCSP_REQUEST(NULL, &at, (long)len);

        assert_int_equal(OCSP_REQUEST_get_ext_count(r), 0);
        assert_true(ocsp_request_parse(der, len, &ids, NULL));
        assert_int_equal(ids.n, 1);
        assert_string_equal(ids.items[0], id);
    }
}

static void ids_differ_by_serial_issuer_and_digest(void **state)
{
    (void)state;
    auto_cert struct cert *a = test_leaf(&pki, (struct test_spec){.serial = 1});
    auto_cert struct cert *b = test_leaf(&pki, (struct test_spec){.serial = 2});
    auto_free char *one = ocsp_id(a, pki.ca, OCSP_HASH_SHA1);
    auto_free char *serial = ocsp_id(b, pki.ca, OCSP_HASH_SHA1);
    auto_free char *issuer = ocsp_id(a, pki.root, OCSP_HASH_SHA1);
    auto_free char *digest = ocsp_id(a, pki.ca, OCSP_HASH_SHA256);

    assert_string_not_equal(one, serial);
    assert_string_not_equal(one, issuer);
    assert_string_not_equal(one, digest);
}

static void a_get_goes_there_and_back(void **state)
{
    (void)state;
    auto_cert struct cert *leaf = test_leaf(&pki, (struct test_spec){0});
    size_t len, back_len;
    unsigned char *back = NULL;
    auto_free unsigned char *der = ocsp_request_make(leaf, pki.ca, OCSP_HASH_SHA1, &len);
    auto_free char *url = ocsp_get_url("http://r.example/ocsp//", der, len);

    assert_non_null(url);
    assert_int_equal(strncmp(url, "http://r.example/ocsp/M", 23), 0);
    const char *path = url + strlen("http://r.example/ocsp");
    assert_null(strpbrk(path + 1, "/+="));
    assert_true(ocsp_path_decode(path, &back, &back_len));
    assert_int_equal(back_len, len);
    assert_memory_equal(back, der, len);
    free(back);
}

static void posts_what_is_too_long_for_a_get(void **state)
{
    (void)state;
    unsigned char der[400] = {0xfb};
    char host[300] = "http://";
    size_t n = 0;

    assert_null(ocsp_get_url("http://r.example", der, sizeof der));
    assert_null(ocsp_get_url("http://r.example/?q=", der, 30));
    memset(host + 7, 'h', sizeof host - 8);
    host[sizeof host - 1] = '\0';
    /* Exactly 255 octets is the longest: 3 octets make 4 characters without padding. */
    for (size_t len = 7; len < 299; len++) {
        char responder[300];
        snprintf(responder, sizeof responder, "%.*s", (int)len, host);
        auto_free char *url = ocsp_get_url(responder, (const unsigned char *)"abc", 3);
        if (url && strlen(url) > n)
            n = strlen(url);
    }
    assert_int_equal(n, OCSP_GET_MAX);
}

static void understands_paths_of_servers(void **state)
{
    (void)state;
    static const struct {
        const char *path, *hex;
    } cases[] = {
        {"/+/8=", "fbff"},  {"//%2B%2F8%3D", "fbff"}, {"/%2b%2f8%3d", "fbff"}, {"/-_8", "fbff"},
        {"/%2", NULL},      {"/%zz", NULL},           {"/%00", NULL},          {"/", NULL},
        {"/metrics!", NULL}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned char *der = NULL;
        size_t len;
        bool good = ocsp_path_decode(cases[i].path, &der, &len);
        assert_int_equal(good, cases[i].hex != NULL);
        if (!good)
            continue;
        auto_free char *hex = enc_hex(der, len);
        assert_string_equal(hex, cases[i].hex);
        free(der);
    }
    auto_free char *longer = xmalloc(20000);
    memset(longer, 'A', 19999);
    longer[19999] = '\0';
    unsigned char *der = NULL;
    size_t len;
    assert_false(ocsp_path_decode(longer, &der, &len));
}

static void refuses_what_is_no_request(void **state)
{
    (void)state;
    auto_cert struct cert *leaf = test_leaf(&pki, (struct test_spec){0});
    size_t len;
    struct strv ids = {0};
    auto_free unsigned char *der = ocsp_request_make(leaf, pki.ca, OCSP_HASH_SHA1, &len);

    for (size_t n = 0; n < len; n++)
        assert_false(ocsp_request_parse(der, n, &ids, NULL));
    for (size_t i = 0; i < len; i++) {
        auto_strv struct strv odd = {0};
        auto_err struct err *e = NULL;
        der[i] ^= 0x81;
        bool good = ocsp_request_parse(der, len, &odd, &e);
        assert_int_equal(good, e == NULL);
        der[i] ^= 0x81;
    }
    auto_free unsigned char *longer = xcalloc(1, OCSP_REQUEST_MAX + 1);
    assert_false(ocsp_request_parse(longer, OCSP_REQUEST_MAX + 1, &ids, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_one_certificate_without_a_nonce),
        cmocka_unit_test(ids_differ_by_serial_issuer_and_digest),
        cmocka_unit_test(a_get_goes_there_and_back),
        cmocka_unit_test(posts_what_is_too_long_for_a_get),
        cmocka_unit_test(understands_paths_of_servers),
        cmocka_unit_test(refuses_what_is_no_request),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
