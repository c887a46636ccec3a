#include "acme/link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void finds(const char *value, const char *expected)
{
    auto_strv struct strv found = {0};

    link_parse(value, "alternate", "https://ca.example/cert/1", &found);
    auto_free char *text = strv_join(&found, " ");
    assert_string_equal(text, expected);
}

static void finds_links_of_a_relation(void **state)
{
    (void)state;
    finds("<https://ca.example/2>; rel=\"alternate\"", "https://ca.example/2");
    finds("<https://ca.example/2>;rel=alternate", "https://ca.example/2");
    finds("<https://ca.example/2> ; title=\"a, b; c\" ; REL = \"up Alternate\"",
          "https://ca.example/2");
    finds("<https://ca.example/dir>;rel=\"index\"", "");
    finds("<https://ca.example/2>; rel=\"alternates\"", "");
    finds("<https://ca.example/2>", "");
}

static void finds_several_in_one_header(void **state)
{
    (void)state;
    finds("<https://ca.example/dir>;rel=\"index\", </2>;rel=\"alternate\",<3>; rel=alternate",
          "https://ca.example/2 https://ca.example/cert/3");
    finds(", ,<2>;rel=alternate,,", "https://ca.example/cert/2");
}

static void only_the_first_rel_counts(void **state)
{
    (void)state;
    finds("<2>; rel=up; rel=alternate", "");
    finds("<2>; rel=alternate; rel=up", "https://ca.example/cert/2");
}

static void skips_links_with_an_anchor(void **state)
{
    (void)state;
    finds("<2>; rel=alternate; anchor=\"/other\"", "");
}

static void ends_at_what_is_malformed(void **state)
{
    (void)state;
    finds("", "");
    finds("<", "");
    finds("<2", "");
    finds("nonsense, <2>; rel=alternate", "");
    finds("<2>; rel=\"alternate", "");
    finds("<1>; rel=alternate, <2>; rel=\"alternate\\", "https://ca.example/cert/1");
    finds("<1>; rel=alternate nonsense <2>; rel=alternate", "https://ca.example/cert/1");
    finds("<1>;;;; rel=alternate", "https://ca.example/cert/1");
}

static void keeps_a_bounded_number(void **state)
{
    (void)state;
    auto_strv struct strv found = {0};
    auto_buf struct buf value;

    buf_init(&value, 1 << 20);
    for (int i = 0; i < 1000; i++)
        buf_addf(&value, "%s<%d>;rel=alternate", i ? "," : "", i);
    link_parse(value.data, "alternate", "https://ca.example/", &found);
    assert_int_equal(found.n, LINK_MAX);
}

static void reads_every_link_header_of_a_reply(void **state)
{
    (void)state;
    struct http_reply reply = {0};
    auto_strv struct strv found = {0};

    strv_add(&reply.headers, "link: <https://ca.example/dir>;rel=\"index\"");
    strv_add(&reply.headers, "content-type: text/plain");
    strv_add(&reply.headers, "link: <https://ca.example/2>;rel=\"alternate\"");
    strv_add(&reply.headers, "link:</3>;rel=\"alternate\"");
    link_find(&reply, "alternate", "https://ca.example/cert/1", &found);
    auto_free char *text = strv_join(&found, " ");
    assert_string_equal(text, "https://ca.example/2 https://ca.example/3");
    strv_done(&reply.headers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_links_of_a_relation),
        cmocka_unit_test(finds_several_in_one_header),
        cmocka_unit_test(only_the_first_rel_counts),
        cmocka_unit_test(skips_links_with_an_anchor),
        cmocka_unit_test(ends_at_what_is_malformed),
        cmocka_unit_test(keeps_a_bounded_number),
        cmocka_unit_test(reads_every_link_header_of_a_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
