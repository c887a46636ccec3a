#include "pki/test_ca.h"

#include <string.h>

#include "base/clock.h"
#include "pki/chain.h"

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

static struct strv names_of(const char *name)
{
    struct strv names = {0};

    strv_add(&names, name);
    return names;
}

/* The text of the refusal; NULL when the chain is accepted. */
static char *refusal(struct chain *c, const char *name)
{
    auto_strv struct strv names = names_of(name);
    auto_err struct err *e = NULL;
    char *text = NULL;

    if (!chain_accept(c, pki.leaf_key, &names, clock_now(), &e)) {
        assert_int_equal(e->kind, ERR_REFUSED);
        text = xstrdup(e->text);
    }
    chain_free(c);
    return text;
}

static void expect_refusal(struct chain *c, const char *part)
{
    auto_free char *text = refusal(c, "www.example.org");

    assert_non_null(text);
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void accepts_what_was_asked_for(void **state)
{
    (void)state;
    auto_free char *text =
        refusal(test_chain(&pki, test_leaf(&pki, (struct test_spec){0})), "www.example.org");
    assert_null(text);
}

static void accepts_names_in_another_order_and_ip_addresses(void **state)
{
    (void)state;
    auto_chain struct chain *c = test_chain(
        &pki,
        test_leaf(&pki, (struct test_spec){.names = "IP:2001:db8::1,DNS:B.example,DNS:a.example"}));
    auto_strv struct strv names = names_of("a.example");

    strv_add(&names, "b.example");
    strv_add(&names, "2001:db8::1");
    assert_true(chain_accept(c, pki.leaf_key, &names, clock_now(), NULL));
}

static void accepts_a_short_lived_certificate_without_cn(void **state)
{
    (void)state;
    struct test_spec spec = {.from_s = -60, .to_s = 300};
    auto_free char *text = refusal(test_chain(&pki, test_leaf(&pki, spec)), "www.example.org");
    assert_null(text);
}

static void refuses_a_certificate_for_another_key(void **state)
{
    (void)state;
    auto_key struct key *other = test_key();
    expect_refusal(test_chain(&pki, test_leaf(&pki, (struct test_spec){.key = other})),
                   "another key");
}

static void refuses_missing_and_surplus_names(void **state)
{
    (void)state;
    expect_refusal(
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.names = "DNS:www.example.com"})),
        "names");
    expect_refusal(
        test_chain(
            &pki,
            test_leaf(&pki, (struct test_spec){.names = "DNS:www.example.org,DNS:evil.example"})),
        "evil.example");
}

static void refuses_what_is_expired_or_not_yet_valid(void **state)
{
    (void)state;
    expect_refusal(
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.from_s = -7200, .to_s = -60})),
        "expired");
    expect_refusal(
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.from_s = 7200, .to_s = 86400})),
        "not valid before");
    expect_refusal(
        test_chain(&pki, test_leaf(&pki, (struct test_spec){.from_s = 600, .to_s = 300})),
        "ends before it begins");
}

static void refuses_ca_and_self_signed_leaves(void **state)
{
    (void)state;
    expect_refusal(test_chain(&pki, test_leaf(&pki, (struct test_spec){.ca = true})),
                   "one of a CA");

    struct chain *c = xcalloc(1, sizeof(*c));
    chain_add(c, test_cert(&(struct test_spec){
                     .cn = "x", .names = "DNS:www.example.org", .key = pki.leaf_key}));
    expect_refusal(c, "self-signed");
}

static void refuses_a_chain_that_does_not_link(void **state)
{
    (void)state;
    expect_refusal(test_chain(&pki, test_leaf(&pki, (struct test_spec){.spoil = true})),
                   "does not sign");

    struct chain *c = xcalloc(1, sizeof(*c));
    chain_add(c, test_leaf(&pki, (struct test_spec){0}));
    chain_add(c, test_copy(pki.root));
    expect_refusal(c, "does not sign");

    c = xcalloc(1, sizeof(*c));
    chain_add(c, test_leaf(&pki, (struct test_spec){0}));
    chain_add(c, test_leaf(&pki, (struct test_spec){0}));
    expect_refusal(c, "none of a CA");
}

static void tells_whether_pair_and_links_hold(void **state)
{
    (void)state;
    auto_chain struct chain *c = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    auto_key struct key *other = test_key();

    assert_true(chain_matches_key(c, pki.leaf_key, NULL));
    assert_false(chain_matches_key(c, other, NULL));
}

static struct chain *parse(const char *text, struct err **err)
{
    return chain_from_pem(text, strlen(text), err);
}

static void reads_back_what_it_wrote(void **state)
{
    (void)state;
    auto_chain struct chain *c = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    auto_free char *pem = chain_to_pem(c, 0);
    auto_free char *commented = xasprintf("\r\n\n%s\n \n", pem);
    auto_chain struct chain *again = parse(commented, NULL);

    assert_non_null(again);
    assert_int_equal(again->n, 2);
    assert_string_equal(again->items[0]->sha256_hex, c->items[0]->sha256_hex);
    auto_free char *rest = chain_to_pem(c, 1);
    auto_chain struct chain *one = parse(rest, NULL);
    assert_non_null(one);
    assert_int_equal(one->n, 1);
}

static void refuses_anything_but_certificates(void **state)
{
    (void)state;
    auto_chain struct chain *c = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));
    auto_free char *pem = chain_to_pem(c, 0);
    auto_secret struct secret *key = key_to_pem(pki.leaf_key);
    auto_free char *planted = xasprintf("%s%s", pem, (char *)key->data);
    auto_free char *other =
        xasprintf("%s-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", pem);
    auto_free char *before = xasprintf("Dear customer\n%s", pem);
    auto_free char *after = xasprintf("%s; ssl_certificate x;\n", pem);
    auto_free char *torn = xstrndup(pem, strlen(pem) - 10);
    const char *bad[] = {planted,
                         other,
                         before,
                         after,
                         torn,
                         "",
                         "no PEM at all",
                         "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
                         "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                         "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        auto_err struct err *e = NULL;
        assert_null(parse(bad[i], &e));
        assert_int_equal(e->kind, ERR_REFUSED);
    }
    auto_chain struct chain *lenient = chain_from_pem_file_text(planted, strlen(planted), NULL);
    assert_non_null(lenient);
    assert_int_equal(lenient->n, 2);
}

static void bounds_the_number_of_certificates(void **state)
{
    (void)state;
    auto_chain struct chain *c = xcalloc(1, sizeof(*c));

    for (int i = 0; i <= CHAIN_CERTS_MAX; i++)
        chain_add(c, test_copy(pki.root));
    auto_free char *pem = chain_to_pem(c, 0);
    auto_err struct err *e = NULL;
    assert_null(parse(pem, &e));
    assert_non_null(strstr(e->text, "more than"));
}

static void knows_the_preferred_chain(void **state)
{
    (void)state;
    auto_chain struct chain *c = test_chain(&pki, test_leaf(&pki, (struct test_spec){0}));

    assert_true(chain_is_preferred(c, "root")); /* issuer of the topmost */
    assert_true(chain_is_preferred(c, "Intermediate"));
    assert_true(chain_is_preferred(c, pki.ca->sha256_hex));
    assert_false(chain_is_preferred(c, "Other Root"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_what_was_asked_for),
        cmocka_unit_test(accepts_names_in_another_order_and_ip_addresses),
        cmocka_unit_test(accepts_a_short_lived_certificate_without_cn),
        cmocka_unit_test(refuses_a_certificate_for_another_key),
        cmocka_unit_test(refuses_missing_and_surplus_names),
        cmocka_unit_test(refuses_what_is_expired_or_not_yet_valid),
        cmocka_unit_test(refuses_ca_and_self_signed_leaves),
        cmocka_unit_test(refuses_a_chain_that_does_not_link),
        cmocka_unit_test(tells_whether_pair_and_links_hold),
        cmocka_unit_test(reads_back_what_it_wrote),
        cmocka_unit_test(refuses_anything_but_certificates),
        cmocka_unit_test(bounds_the_number_of_certificates),
        cmocka_unit_test(knows_the_preferred_chain),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
