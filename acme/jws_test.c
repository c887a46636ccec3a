#include "acme/jws.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/enc.h"

static json_t *decode(const char *text)
{
    auto_free unsigned char *data = NULL;
    size_t len;

    assert_true(dec_base64url(text, &data, &len));
    json_t *j = json_parse((const char *)data, len, NULL);
    assert_non_null(j);
    return j;
}

static json_t *header_of(const char *signing_input)
{
    auto_free char *first = xstrndup(signing_input, strcspn(signing_input, "."));

    return decode(first);
}

static void the_header_has_the_four_members(void **state)
{
    (void)state;
    auto_free char *start = jws_header_kid("ES256", "https://ca.example/acct/1");
    auto_free char *input =
        jws_signing_input(start, "nonce-1", "https://ca.example/order", "cGF5bG9hZA");
    auto_json json_t *header = header_of(input);

    assert_int_equal(json_object_size(header), 4);
    assert_string_equal(json_str(header, "alg"), "ES256");
    assert_string_equal(json_str(header, "kid"), "https://ca.example/acct/1");
    assert_string_equal(json_str(header, "nonce"), "nonce-1");
    assert_string_equal(json_str(header, "url"), "https://ca.example/order");
    assert_string_equal(strchr(input, '.'), ".cGF5bG9hZA");
}

static void a_new_account_sends_its_key(void **state)
{
    (void)state;
    auto_free char *start = jws_header_jwk("RS256", "{\"kty\":\"RSA\"}");
    auto_free char *input = jws_signing_input(start, "n", "https://ca.example/acct", "");
    auto_json json_t *header = header_of(input);

    assert_null(json_get(header, "kid"));
    assert_string_equal(json_str(json_get(header, "jwk"), "kty"), "RSA");
}

static void the_body_is_flattened_json(void **state)
{
    (void)state;
    auto_free char *body = jws_body("aGVhZGVy.cGF5bG9hZA", (const unsigned char *)"\x01\x02", 2);
    auto_free char *as_get = jws_body("aGVhZGVy.", (const unsigned char *)"\xff", 1);

    assert_string_equal(
        body, "{\"protected\":\"aGVhZGVy\",\"payload\":\"cGF5bG9hZA\",\"signature\":\"AQI\"}");
    assert_string_equal(as_get,
                        "{\"protected\":\"aGVhZGVy\",\"payload\":\"\",\"signature\":\"_w\"}");
}

/* The signature was computed with Python's hmac module. */
static void the_external_account_binding_is_an_inner_jws(void **state)
{
    (void)state;
    auto_secret struct secret *hmac = secret_new("key", 3);
    auto_json json_t *jws =
        jws_external_account(hmac, "kid \"1\"", "https://ca.example/acct", "{\"kty\":\"EC\"}");
    auto_json json_t *header = decode(json_str(jws, "protected"));
    auto_json json_t *payload = decode(json_str(jws, "payload"));

    assert_int_equal(json_object_size(header), 3); /* no nonce: RFC 8555 7.3.4 */
    assert_string_equal(json_str(header, "alg"), "HS256");
    assert_string_equal(json_str(header, "kid"), "kid \"1\"");
    assert_string_equal(json_str(header, "url"), "https://ca.example/acct");
    assert_string_equal(json_str(payload, "kty"), "EC");
    assert_string_equal(json_str(jws, "signature"), "zt7jP3KETigWSLOP44_qsQMV6fC8fnTOI0jo--KYaLs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_has_the_four_members),
        cmocka_unit_test(a_new_account_sends_its_key),
        cmocka_unit_test(the_body_is_flattened_json),
        cmocka_unit_test(the_external_account_binding_is_an_inner_jws),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
