#include "pki/test_ca.h"

#include <string.h>

#include <openssl/ec.h>
#include <openssl/param_build.h>

#include "base/enc.h"
#include "pki/openssl.h"

static struct loop *loop;
static struct worker *worker;

static int start(void **state)
{
    (void)state;
    loop = loop_new(NULL);
    worker = worker_new(loop, 2, NULL);
    return loop && worker ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    worker_free(worker);
    loop_free(loop);
    return 0;
}

static void on_made(struct key *key, const struct err *e, void *userdata)
{
    assert_null(e);
    *(struct key **)userdata = key;
    loop_exit(loop, 0);
}

static struct key *make(enum key_type type)
{
    struct key *key = NULL;

    key_generate(worker, type, on_made, &key);
    assert_int_equal(loop_run(loop), 0);
    assert_non_null(key);
    return key;
}

static void keeps_a_key_through_pem(void **state)
{
    (void)state;
    for (enum key_type type = KEY_ECDSA_P256; type <= KEY_RSA_2048; type++) {
        auto_key struct key *key = make(type);
        auto_secret struct secret *pem = key_to_pem(key);
        auto_key struct key *again = key_from_pem(pem->data, pem->len, NULL);

        assert_non_null(strstr((char *)pem->data, "-----BEGIN PRIVATE KEY-----"));
        assert_non_null(again);
        assert_int_equal(key_type(again), type);
        assert_true(key_equal(key, again));
    }
}

static void makes_a_new_key_each_time(void **state)
{
    (void)state;
    auto_key struct key *a = make(KEY_ECDSA_P256);
    auto_key struct key *b = make(KEY_ECDSA_P256);

    assert_false(key_equal(a, b));
}

static void names_its_types(void **state)
{
    enum key_type type;

    (void)state;
    assert_true(key_type_parse("rsa-3072", &type));
    assert_int_equal(type, KEY_RSA_3072);
    assert_false(key_type_parse("rsa-1024", &type));
    assert_string_equal(key_type_name(KEY_ECDSA_P384), "ecdsa-p384");
}

static void refuses_what_is_no_usable_key(void **state)
{
    (void)state;
    static const char encrypted[] =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHs\n-----END ENCRYPTED PRIVATE KEY-----\n";
    const char *bad[] = {
        "", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", encrypted};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_err struct err *e = NULL;
        assert_null(key_from_pem(bad[i], strlen(bad[i]), &e));
        assert_int_equal(e->kind, ERR_SYSTEM);
    }
}

static void refuses_a_curve_and_sizes_we_do_not_use(void **state)
{
    (void)state;
    auto_err struct err *e = NULL;

    assert_null(key_from_pkey(EVP_EC_gen("P-521"), &e));
    assert_non_null(e->hint);
    assert_null(key_from_pkey(EVP_RSA_gen(1024), NULL));
}

/* The public half is what every check against a certificate sees; the private one signs. */
static void refuses_a_private_key_with_another_public_key_beside_it(void **state)
{
    (void)state;
    auto_key struct key *a = test_key();
    auto_key struct key *b = test_key();
    auto_openssl unsigned char *der_a = NULL, *der_b = NULL;
    int len_a = i2d_PrivateKey(a->pkey, &der_a);
    int len_b = i2d_PrivateKey(b->pkey, &der_b);

    assert_int_equal(len_a, len_b);
    /* ECPrivateKey: the public point is the BIT STRING at the end. */
    memcpy(der_a + len_a - 64, der_b + len_b - 64, 64);
    auto_free char *text = enc_base64(der_a, (size_t)len_a);
    auto_free char *pem = xasprintf(
        "-----BEGIN EC PRIVATE KEY-----\n%.64s\n%.64s\n%s\n-----END EC PRIVATE KEY-----\n", text,
        text + 64, text + 128);
    auto_err struct err *e = NULL;
    assert_null(key_from_pem(pem, strlen(pem), &e));
    assert_non_null(strstr(e->text, "does not belong"));
}

/* RFC 7638 3.1 */
static void computes_the_thumbprint_of_the_rfc(void **state)
{
    (void)state;
    static const char n64[] =
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
        "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_"
        "FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-"
        "bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    unsigned char *n = NULL;
    size_t len;

    assert_true(dec_base64url(n64, &n, &len));
    BIGNUM *modulus = BN_bin2bn(n, (int)len, NULL), *exponent = BN_new();
    BN_set_word(exponent, 65537);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(builder, "n", modulus);
    OSSL_PARAM_BLD_push_BN(builder, "e", exponent);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    auto_pkey_ctx EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_fromdata_init(ctx);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params), 1);
    auto_key struct key *key = key_from_pkey(pkey, NULL);
    auto_free char *thumbprint = key_thumbprint(key);

    assert_string_equal(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    free(n);
}

struct signature {
    unsigned char bytes[512];
    size_t len;
};

static void on_signed(const unsigned char *sig, size_t len, const struct err *e, void *userdata)
{
    struct signature *s = userdata;

    assert_null(e);
    memcpy(s->bytes, sig, len);
    s->len = len;
    loop_exit(loop, 0);
}

/* JWS wants r and s at full width: one signature in 128 has a short one. */
static void signs_with_fixed_width(void **state)
{
    (void)state;
    static const struct {
        enum key_type type;
        const char *alg;
        size_t len;
    } cases[] = {{KEY_ECDSA_P256, "ES256", 64}, {KEY_ECDSA_P384, "ES384", 96}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_key struct key *key = make(cases[i].type);

        assert_string_equal(key_jws_alg(key), cases[i].alg);
        for (int n = 0; n < 300; n++) {
            struct signature s = {0};
            key_sign(worker, key, &n, sizeof(n), on_signed, &s);
            loop_run(loop);
            assert_int_equal(s.len, cases[i].len);
        }
    }
}

static void signs_what_others_can_verify(void **state)
{
    (void)state;
    auto_key struct key *key = make(KEY_ECDSA_P256);
    struct signature s = {0};

    key_sign(worker, key, "abc", 3, on_signed, &s);
    loop_run(loop);
    ECDSA_SIG *sig = ECDSA_SIG_new();
    ECDSA_SIG_set0(sig, BN_bin2bn(s.bytes, 32, NULL), BN_bin2bn(s.bytes + 32, 32, NULL));
    auto_openssl unsigned char *der = NULL;
    int len = i2d_ECDSA_SIG(sig, &der);
    auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey);
    assert_int_equal(EVP_DigestVerify(ctx, der, (size_t)len, (const unsigned char *)"abc", 3), 1);
    ECDSA_SIG_free(sig);
}

static void never(struct key *key, const struct err *e, void *userdata)
{
    (void)key, (void)e, (void)userdata;
    fail_msg("called after it was freed");
}

static void on_nothing(void *userdata)
{
    (void)userdata;
    loop_exit(loop, 0);
}

static void a_freed_job_ends_unheard(void **state)
{
    (void)state;
    struct key_job *j = key_generate(worker, KEY_RSA_2048, never, NULL);

    key_job_free(j);
    struct timer *t = timer_after(loop, 20, on_nothing, NULL);
    loop_run(loop);
    timer_free(t);
}

/* RFC 4231, test case 2 */
static void computes_hmac_sha256(void **state)
{
    (void)state;
    auto_secret struct secret *key = secret_new("Jefe", 4);
    unsigned char mac[32];

    hmac_sha256(key, "what do ya want for nothing?", 28, mac);
    auto_free char *hex = enc_hex(mac, sizeof(mac));
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_key_through_pem),
        cmocka_unit_test(makes_a_new_key_each_time),
        cmocka_unit_test(names_its_types),
        cmocka_unit_test(refuses_what_is_no_usable_key),
        cmocka_unit_test(refuses_a_curve_and_sizes_we_do_not_use),
        cmocka_unit_test(refuses_a_private_key_with_another_public_key_beside_it),
        cmocka_unit_test(computes_the_thumbprint_of_the_rfc),
        cmocka_unit_test(signs_with_fixed_width),
        cmocka_unit_test(signs_what_others_can_verify),
        cmocka_unit_test(a_freed_job_ends_unheard),
        cmocka_unit_test(computes_hmac_sha256),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
