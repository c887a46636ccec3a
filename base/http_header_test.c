#include "base/http_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/http.h"

static void add(struct http_reply *r, const char *line)
{
    http_header_line(&r->headers, line, strlen(line));
}

static void finds_headers_whatever_their_case_and_spaces(void **state)
{
    (void)state;
    struct http_reply r = {0};

    add(&r, "HTTP/1.1 200 OK\r\n");
    add(&r, "Replay-NONCE: abc\r\n");
    add(&r, "Link:<a>;rel=\"x\"\r\n");
    add(&r, "link: \t <b>  \r\n");
    add(&r, "Empty:\r\n");
    add(&r, "\r\n");
    assert_string_equal(http_header(&r, "replay-nonce"), "abc");
    assert_string_equal(http_header(&r, "link"), "<a>;rel=\"x\"");
    assert_string_equal(r.headers.items[2], "link: <b>");
    assert_string_equal(http_header(&r, "empty"), "");
    assert_null(http_header(&r, "replay"));
    assert_null(http_header(&r, "replay-nonces"));
    strv_done(&r.headers);
    assert_null(http_header(&r, "link"));
}

static void forgets_the_headers_of_an_interim_response(void **state)
{
    (void)state;
    struct http_reply r = {0};

    add(&r, "HTTP/1.1 103 Early Hints\r\n");
    add(&r, "Link: <early>\r\n");
    add(&r, "\r\n");
    add(&r, "HTTP/2 200\r\n");
    add(&r, "Date: x\r\n");
    assert_null(http_header(&r, "link"));
    assert_int_equal(r.headers.n, 1);
    strv_done(&r.headers);
}

static void skips_what_is_no_header(void **state)
{
    (void)state;
    struct http_reply r = {0};
    static const char nul[] = "a: b\0c: d\r\n";

    add(&r, "no colon\r\n");
    add(&r, ": no name\r\n");
    add(&r, " folded: line\r\n");
    add(&r, "\tfolded: line\r\n");
    add(&r, "");
    add(&r, "HTTP/");
    assert_int_equal(r.headers.n, 0);
    http_header_line(&r.headers, nul, sizeof(nul) - 1);
    assert_string_equal(http_header(&r, "a"), "b");
    strv_done(&r.headers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_headers_whatever_their_case_and_spaces),
        cmocka_unit_test(forgets_the_headers_of_an_interim_response),
        cmocka_unit_test(skips_what_is_no_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
