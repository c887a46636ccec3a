#include "acme/problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "acme/request.h"
#include "base/buf.h"

#define NOW   ((time_t)1790000000)
#define URN   ACME_ERROR_URN
#define PJSON "application/problem+json"

static struct err *read_problem(int status, const char *type, const char *body,
                                const char *retry_after)
{
    struct err *e = NULL;

    err_from_problem(&e, status, type, body, strlen(body), retry_after, NOW);
    assert_non_null(e);
    assert_int_equal(e->code, status);
    return e;
}

static void has(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("\"%s\" lacks \"%s\"", text ? text : "(null)", part);
}

static void reads_type_and_detail(void **state)
{
    (void)state;
    auto_err struct err *e =
        read_problem(400, PJSON, "{\"type\":\"" URN "badCSR\",\"detail\":\"weak key\"}", NULL);

    assert_int_equal(e->kind, ERR_REFUSED);
    assert_string_equal(e->problem, "badCSR");
    assert_string_equal(e->text, "weak key (badCSR, HTTP 400)");
    has(e->hint, "key");
}

static void the_kind_follows_type_and_status(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *type, *retry_after;
        enum err_kind kind;
    } cases[] = {
        {403, URN "rateLimited", NULL, ERR_LIMITED},
        {429, URN "malformed", NULL, ERR_LIMITED},
        {503, "about:blank", "10", ERR_LIMITED},
        {503, "about:blank", NULL, ERR_TRANSIENT},
        {500, URN "serverInternal", NULL, ERR_TRANSIENT},
        {400, URN "serverInternal", NULL, ERR_TRANSIENT},
        {400, URN "badNonce", NULL, ERR_TRANSIENT},
        {502, "https://cdn.example/oops", NULL, ERR_TRANSIENT},
        {408, "about:blank", NULL, ERR_TRANSIENT},
        {403, URN "unauthorized", "10", ERR_REFUSED},
        {400, URN "brandNew", NULL, ERR_REFUSED},
        {404, "about:blank", NULL, ERR_REFUSED},
        {302, "about:blank", NULL, ERR_REFUSED},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *body = xasprintf("{\"type\":\"%s\"}", cases[i].type);
        auto_err struct err *e = read_problem(cases[i].status, PJSON, body, cases[i].retry_after);
        if (e->kind != cases[i].kind)
            fail_msg("%d %s: %s", cases[i].status, cases[i].type, err_kind_name(e->kind));
    }
}

static void retry_after_comes_in_both_forms_and_is_clamped(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        time_t at;
    } cases[] = {
        {"120", NOW + 120},
        {"Mon, 21 Sep 2026 13:00:00 GMT", NOW + 1}, /* past: the minimum */
        {"99999999", NOW + 7 * 24 * 3600},
        {"0", NOW + 1},
        {"soon", 0},
        {NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_err struct err *e = read_problem(429, PJSON, "{}", cases[i].text);
        assert_int_equal(e->retry_at, cases[i].at);
    }
}

static void shows_every_subproblem_with_its_name(void **state)
{
    (void)state;
    auto_err struct err *e =
        read_problem(403, PJSON,
                     "{\"type\":\"" URN "compound\",\"detail\":\"some\",\"subproblems\":["
                     "{\"type\":\"" URN "caa\",\"detail\":\"forbidden\","
                     "\"identifier\":{\"type\":\"dns\",\"value\":\"a.example\"}},"
                     "\"nonsense\",{},"
                     "{\"type\":\"" URN "dns\",\"detail\":\"NXDOMAIN\","
                     "\"identifier\":{\"type\":\"dns\",\"value\":\"b.example\"}}]}",
                     NULL);

    has(e->text, "some; a.example: forbidden (caa)");
    has(e->text, "; no detail;");
    has(e->text, "b.example: NXDOMAIN (dns)");
}

static void foreign_text_is_escaped(void **state)
{
    (void)state;
    auto_err struct err *e = read_problem(400, PJSON,
                                          "{\"type\":\"" URN "x\\u001b[2J\",\"detail\":\"a\\nb"
                                          "\\u202ec\"}",
                                          NULL);

    assert_null(strchr(e->text, '\n'));
    assert_null(strchr(e->text, 0x1b));
    assert_null(strchr(e->problem, 0x1b));
    has(e->text, "\\x0a");
    has(e->text, "\\u202e");
}

static void bodies_that_are_no_problem_are_not_repeated(void **state)
{
    (void)state;
    auto_err struct err *html =
        read_problem(502, "text/html", "<h1>secret of an inner host</h1>", NULL);
    auto_err struct err *broken = read_problem(500, PJSON, "{\"detail\":\"secr", NULL);
    auto_err struct err *list = read_problem(400, PJSON, "[\"secret\"]", NULL);
    auto_err struct err *none = read_problem(404, "", "", NULL);

    assert_int_equal(html->kind, ERR_TRANSIENT);
    has(html->text, "HTTP 502");
    has(html->text, "text/html");
    assert_null(strstr(html->text, "secret"));
    assert_null(strstr(broken->text, "secr"));
    assert_null(strstr(list->text, "secret"));
    has(none->text, "no content type");
}

static void members_of_wrong_types_do_no_harm(void **state)
{
    (void)state;
    auto_err struct err *e = read_problem(
        400, PJSON,
        "{\"type\":7,\"detail\":[],\"title\":\"t\",\"subproblems\":{},\"algorithms\":5,"
        "\"identifier\":1}",
        NULL);

    has(e->text, "t (HTTP 400)");
    assert_null(e->problem);
}

static void user_action_shows_the_instance(void **state)
{
    (void)state;
    auto_err struct err *e =
        read_problem(403, PJSON,
                     "{\"type\":\"" URN "userActionRequired\",\"detail\":\"new terms\","
                     "\"instance\":\"https://ca.example/terms\"}",
                     NULL);

    has(e->hint, "https://ca.example/terms");
}

static void bad_signature_algorithm_lists_the_good_ones(void **state)
{
    (void)state;
    auto_err struct err *e =
        read_problem(400, PJSON,
                     "{\"type\":\"" URN "badSignatureAlgorithm\",\"detail\":\"no\","
                     "\"algorithms\":[\"RS256\",\"ES256\"]}",
                     NULL);

    has(e->text, "RS256, ES256");
}

static void huge_documents_are_cut(void **state)
{
    (void)state;
    auto_buf struct buf body;

    buf_init(&body, 1 << 20);
    buf_add_str(&body, "{\"type\":\"" URN "x\",\"detail\":\"d\",\"subproblems\":[{}");
    for (int i = 0; i < 10000; i++)
        buf_add_str(&body, ",{\"detail\":\"aaaaaaaaaaaaaaaa\"}");
    buf_add_str(&body, "]}");
    auto_err struct err *e = read_problem(400, PJSON, body.data, NULL);
    assert_true(strlen(e->text) <= 4096);
}

static void reads_the_error_of_an_object(void **state)
{
    (void)state;
    auto_json json_t *j =
        json_pack("{s:s,s:s,s:i}", "type", URN "connection", "detail", "refused", "status", 500);
    auto_err struct err *e = NULL;

    assert_true(err_from_problem_object(&e, j));
    assert_int_equal(e->kind, ERR_REFUSED);
    assert_string_equal(e->problem, "connection");
    assert_string_equal(e->text, "refused (connection)");
    has(e->hint, "port 80");
    assert_false(err_from_problem_object(&e, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_type_and_detail),
        cmocka_unit_test(the_kind_follows_type_and_status),
        cmocka_unit_test(retry_after_comes_in_both_forms_and_is_clamped),
        cmocka_unit_test(shows_every_subproblem_with_its_name),
        cmocka_unit_test(foreign_text_is_escaped),
        cmocka_unit_test(bodies_that_are_no_problem_are_not_repeated),
        cmocka_unit_test(members_of_wrong_types_do_no_harm),
        cmocka_unit_test(user_action_shows_the_instance),
        cmocka_unit_test(bad_signature_algorithm_lists_the_good_ones),
        cmocka_unit_test(huge_documents_are_cut),
        cmocka_unit_test(reads_the_error_of_an_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
