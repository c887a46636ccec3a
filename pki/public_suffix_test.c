#include "pki/public_suffix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void is_domain(const char *name, const char *wanted)
{
    auto_free char *domain = public_suffix_domain(name);

    if (strcmp(domain, wanted) != 0)
        fail_msg("%s: %s instead of %s", name, domain, wanted);
}

static void finds_the_registered_domain(void **state)
{
    (void)state;
    is_domain("example.org", "example.org");
    is_domain("www.example.org", "example.org");
    is_domain("a.b.c.example.co.uk", "example.co.uk");
    is_domain("*.example.org", "example.org");
    is_domain("*.x.example.org", "example.org");
    is_domain("x.www.ck", "www.ck"); /* an exception of the wildcard *.ck */
    is_domain("a.b.other.ck", "b.other.ck");
}

static void knows_private_and_international_suffixes(void **state)
{
    (void)state;
    is_domain("www.someone.github.io", "someone.github.io");
    is_domain("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn");
}

static void takes_what_has_no_registered_domain_as_it_is(void **state)
{
    (void)state;
    is_domain("co.uk", "co.uk");
    is_domain("*.co.uk", "co.uk");
    is_domain("localhost", "localhost");
    is_domain("host.internal-suffix-that-nobody-has", "host.internal-suffix-that-nobody-has");
    is_domain("", "");
}

static void counts_addresses_as_the_ca_does(void **state)
{
    (void)state;
    is_domain("192.0.2.1", "192.0.2.1");
    is_domain("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64");
    is_domain("2001:db8:0:1::", "2001:db8:0:1::/64");
    is_domain("2001:db8:0:2::5", "2001:db8:0:2::/64");
    is_domain("::1", "::/64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_registered_domain),
        cmocka_unit_test(knows_private_and_international_suffixes),
        cmocka_unit_test(takes_what_has_no_registered_domain_as_it_is),
        cmocka_unit_test(counts_addresses_as_the_ca_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
