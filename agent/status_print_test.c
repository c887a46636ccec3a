#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/status.h"

static const char failing[] =
    "{\"time\": \"2026-11-24T10:00:00Z\", \"exit\": 1,"
    " \"agent\": {\"running\": true, \"config\": {\"ok\": true, \"error\": null}},"
    " \"certificates\": ["
    "  {\"name\": \"www\", \"exit\": 0, \"state\": \"proven\", \"issuer\": \"letsencrypt\","
    "   \"names\": [\"www.example.org\", \"example.org\"], \"generation\": 12,"
    "   \"newest_generation\": 12, \"live\": {\"sha256\": \"ab\", \"serial\": \"4711\","
    "    \"not_before\": \"2026-10-01T00:00:00Z\", \"not_after\": \"2027-01-07T13:00:00Z\","
    "    \"issuer_cn\": \"R10\", \"key_type\": \"ecdsa-p256\"},"
    "   \"staple\": {\"status\": \"none\"},"
    "   \"renew\": {\"at\": \"2026-12-08T12:00:00Z\", \"reason\": \"lifetime\"}, \"failures\": 0,"
    "   \"outputs\": [{\"type\": \"files\", \"path\": \"/etc/tls/www\", \"generation\": 12}],"
    "   \"servers\": [{\"name\": \"nginx\", \"state\": \"proven\", \"endpoints\": ["
    "     {\"connect\": \"127.0.0.1:443\", \"address\": \"127.0.0.1:443\","
    "      \"sni\": \"www.example.org\", \"serves_live\": true, \"sha256\": \"ab\"}]}],"
    "   \"history\": [{\"at\": \"2026-10-01T01:02:03Z\", \"event\": \"issued\","
    "                 \"text\": \"4711\"}]},"
    "  {\"name\": \"mail\", \"exit\": 1, \"state\": \"backoff\", \"issuer\": \"letsencrypt\","
    "   \"live\": null, \"renew\": {\"at\": null}, \"failures\": 2,"
    "   \"next_try\": \"2026-11-24T10:09:00Z\", \"activity\": \"waiting\\u001b[2J\","
    "   \"error\": {\"step\": \"authorize\", \"text\": \"refused \\u001b[31mred\\u202e\","
    "              \"hint\": \"open port 80\"}, \"servers\": []}]}";

static char *print(const char *document, bool detail, bool color)
{
    auto_json json_t *j = json_parse(document, strlen(document), NULL);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(j);
    status_print(out, j, detail, color);
    fclose(out);
    return text;
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" is missing in:\n%s", part, text);
}

static void the_table_has_a_line_for_each_and_more_below_those_that_fail(void **state)
{
    (void)state;
    auto_free char *text = print(failing, false, false);

    expect(text, "NAME  STATE    EXPIRES  RENEWS  SERVED           ISSUER\n");
    expect(text, "www   proven   44d 3h   14d 2h  1 of 1 endpoint  letsencrypt\n");
    expect(text, "mail  backoff  -        -       -                letsencrypt\n");
    expect(text, "    error: authorize: refused ");
    expect(text, "next try:     2026-11-24T10:09:00Z (in 9m)\n");
    expect(text, "hint:         open port 80\n");
}

static void nothing_raw_reaches_the_terminal(void **state)
{
    (void)state;
    auto_free char *table = print(failing, false, false);
    auto_free char *detail = print(failing, true, false);

    for (const char *c = table; *c; c++)
        assert_true(*c == '\n' || ((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f));
    for (const char *c = detail; *c; c++)
        assert_true(*c == '\n' || ((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f));
    expect(table, "\\x1b[31mred");
    expect(table, "waiting\\x1b[2J");
}

static void colors_only_where_asked_for(void **state)
{
    (void)state;
    auto_free char *plain = print(failing, false, false);
    auto_free char *colored = print(failing, false, true);

    assert_null(strchr(plain, '\033'));
    expect(colored, "\033[32mproven\033[0m");
    expect(colored, "\033[33mbackoff\033[0m");
}

static void the_detail_has_outputs_endpoints_and_history(void **state)
{
    (void)state;
    auto_free char *text = print(failing, true, false);

    expect(text, "  names         www.example.org, example.org\n");
    expect(text, "  generation    12 (newest 12)\n");
    expect(text, "(44d 3h left)\n");
    expect(text, "  renewal       2026-12-08T12:00:00Z (in 14d 2h), lifetime\n");
    expect(text, "  output        files /etc/tls/www: generation 12\n");
    expect(text, "  server        nginx: proven\n");
    expect(text, "    endpoint      127.0.0.1:443 as www.example.org: serves it\n");
    expect(text, "    2026-10-01T01:02:03Z  issued        4711\n");
    expect(text, "  certificate   none\n");
    expect(text, "  failures      2 in a row\n");
}

static void tells_that_no_agent_runs_and_that_a_configuration_was_refused(void **state)
{
    (void)state;
    auto_free char *none =
        print("{\"agent\": {\"running\": false}, \"certificates\": []}", false, false);
    auto_free char *bad =
        print("{\"agent\": {\"running\": true, \"config\": {\"ok\": false, \"error\": {\"text\":"
              " \"unknown key\", \"where\": \"a.yaml:3:5\"}}}, \"certificates\": []}",
              false, false);

    expect(none, "No certificates are configured.");
    expect(none, "No agent is running");
    expect(bad, "The configuration was refused");
    expect(bad, "error: unknown key");
    expect(bad, "a.yaml:3:5");
}

static void a_document_of_another_shape_does_no_harm(void **state)
{
    (void)state;
    static const char odd[] =
        "{\"certificates\": [{\"servers\": [7, {\"endpoints\": [null]}], \"outputs\": [[]],"
        " \"names\": {}, \"history\": [3], \"error\": \"text\", \"live\": 5}]}";
    static const char *const documents[] = {
        "{}",
        "[]",
        "{\"certificates\": [1, null, \"x\", {}]}",
        odd,
    };

    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        auto_free char *table = print(documents[i], false, false);
        auto_free char *detail = print(documents[i], true, false);
        assert_non_null(table);
        assert_non_null(detail);
    }
}

static void a_certificate_without_endpoints_is_not_proven(void **state)
{
    (void)state;
    auto_free char *text = print(
        "{\"time\": \"2026-11-24T10:00:00Z\", \"certificates\": [{\"name\": \"a\", \"exit\": 0,"
        " \"state\": \"deployed\", \"issuer\": \"ca\", \"live\": {\"sha256\": \"ab\","
        " \"not_after\": \"2026-11-24T09:00:00Z\"}, \"servers\": []}]}",
        false, false);

    expect(text, "a     deployed  expired  -       not proven: no endpoint  ca\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_has_a_line_for_each_and_more_below_those_that_fail),
        cmocka_unit_test(nothing_raw_reaches_the_terminal),
        cmocka_unit_test(colors_only_where_asked_for),
        cmocka_unit_test(the_detail_has_outputs_endpoints_and_history),
        cmocka_unit_test(tells_that_no_agent_runs_and_that_a_configuration_was_refused),
        cmocka_unit_test(a_document_of_another_shape_does_no_harm),
        cmocka_unit_test(a_certificate_without_endpoints_is_not_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
