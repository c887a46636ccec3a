#include "pki/test_ca.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static struct test_pki pki;
static char roots[] = "/tmp/everleaf-roots-XXXXXX";

static int make_pki(void **state)
{
    (void)state;
    test_pki_make(&pki);
    auto_chain struct chain *c = xcalloc(1, sizeof(*c));
    chain_add(c, test_copy(pki.root));
    auto_free char *pem = chain_to_pem(c, 0);
    int fd = mkstemp(roots);

    if (fd < 0 || write(fd, pem, strlen(pem)) != (ssize_t)strlen(pem))
        return -1;
    close(fd);
    return 0;
}

static int drop_pki(void **state)
{
    (void)state;
    unlink(roots);
    test_pki_done(&pki);
    return 0;
}

static void is(struct chain *c, const char *ca_file, const char *host, const char *word)
{
    auto_free char *text = NULL;
    const char *trust = chain_trust(c, ca_file, host, clock_now(), &text);

    assert_string_equal(trust, word);
    assert_non_null(text);
    chain_free(c);
}

static struct chain *whole(struct test_spec spec)
{
    return test_chain(&pki, test_leaf(&pki, spec));
}

static void trusts_what_leads_to_a_known_root(void **state)
{
    (void)state;
    is(whole((struct test_spec){0}), roots, "www.example.org", "ok");
    is(whole((struct test_spec){0}), roots, NULL, "ok");
    is(whole((struct test_spec){.names = "IP:127.0.0.1"}), roots, "127.0.0.1", "ok");
    is(whole((struct test_spec){.names = "DNS:*.example.org"}), roots, "a.example.org", "ok");
}

static void names_what_is_wrong(void **state)
{
    (void)state;
    is(whole((struct test_spec){0}), roots, "other.example", "name-mismatch");
    is(whole((struct test_spec){0}), NULL, "www.example.org", "unknown-ca");
    is(whole((struct test_spec){.from_s = -100, .to_s = -10}), roots, NULL, "expired");
    is(whole((struct test_spec){.from_s = 100, .to_s = 1000}), roots, NULL, "expired");
    is(whole((struct test_spec){0}), "/nonexistent", NULL, "unknown-ca");

    struct chain *self = xcalloc(1, sizeof(*self));
    chain_add(self, test_cert(&(struct test_spec){.cn = "x", .names = "DNS:x.example"}));
    is(self, roots, NULL, "self-signed");
}

static void tells_a_missing_intermediate_from_an_unknown_ca(void **state)
{
    (void)state;
    struct chain *bare = xcalloc(1, sizeof(*bare));

    chain_add(bare, test_leaf(&pki, (struct test_spec){0}));
    chain_add(bare, test_copy(pki.root)); /* the intermediate was forgotten */
    is(bare, roots, NULL, "incomplete");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trusts_what_leads_to_a_known_root),
        cmocka_unit_test(names_what_is_wrong),
        cmocka_unit_test(tells_a_missing_intermediate_from_an_unknown_ca),
    };
    return cmocka_run_group_tests(tests, make_pki, drop_pki);
}
