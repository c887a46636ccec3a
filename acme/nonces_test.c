#include "acme/nonces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void gives_each_nonce_once_newest_first(void **state)
{
    (void)state;
    struct nonces p = {0};

    nonces_put(&p, "first", 0);
    nonces_put(&p, "second", 10);
    auto_free char *a = nonces_take(&p, 20);
    auto_free char *b = nonces_take(&p, 20);
    assert_string_equal(a, "second");
    assert_string_equal(b, "first");
    assert_null(nonces_take(&p, 20));
    nonces_done(&p);
}

static void ignores_what_is_no_nonce(void **state)
{
    (void)state;
    struct nonces p = {0};
    char long_one[NONCE_LEN_MAX + 2];

    memset(long_one, 'a', sizeof(long_one) - 1);
    long_one[sizeof(long_one) - 1] = '\0';
    nonces_put(&p, NULL, 0);
    nonces_put(&p, "", 0);
    nonces_put(&p, "has space", 0);
    nonces_put(&p, "padded=", 0);
    nonces_put(&p, "\"},\"", 0);
    nonces_put(&p, long_one, 0);
    assert_null(nonces_take(&p, 0));
}

static void forgets_the_oldest_when_full(void **state)
{
    (void)state;
    struct nonces p = {0};

    for (int i = 0; i < NONCES_MAX + 5; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", i);
        nonces_put(&p, name, 0);
    }
    assert_int_equal(p.n, NONCES_MAX);
    assert_string_equal(p.items[0], "n5");
    nonces_done(&p);
}

static void drops_all_after_an_idle_while(void **state)
{
    (void)state;
    struct nonces p = {0};

    nonces_put(&p, "a", 0);
    nonces_put(&p, "b", 1000);
    assert_null(nonces_take(&p, 1000 + NONCES_IDLE_MS + 1));
    assert_int_equal(p.n, 0);
    nonces_done(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_each_nonce_once_newest_first),
        cmocka_unit_test(ignores_what_is_no_nonce),
        cmocka_unit_test(forgets_the_oldest_when_full),
        cmocka_unit_test(drops_all_after_an_idle_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
