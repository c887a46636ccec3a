#include "hooks/apache_config.h"

#include "hooks/test_hooks.h"

/* The pairs of a configuration as "cert=key cert=key", the test's folder shown as "~". */
static char *pairs_of(struct test_hooks *t, const char *text)
{
    auto_strv struct strv pairs = {0}, shown = {0};
    size_t len = strlen(t->dir);

    test_put(test_path(t, "httpd.conf"), text, 0644);
    apache_config_pairs(test_path(t, "httpd.conf"), &pairs);
    assert_int_equal(pairs.n % 2, 0);
    for (size_t i = 0; i < pairs.n; i += 2) {
        const char *cert = pairs.items[i], *key = pairs.items[i + 1];
        bool cert_here = strncmp(cert, t->dir, len) == 0, key_here = strncmp(key, t->dir, len) == 0;
        strv_addf(&shown, "%s%s=%s%s", cert_here ? "~" : "", cert + (cert_here ? len : 0),
                  key_here ? "~" : "", key + (key_here ? len : 0));
    }
    return strv_join(&shown, " ");
}

static void check(void **state, const char *text, const char *want)
{
    auto_free char *got = pairs_of(*state, text);

    assert_string_equal(got, want);
}

static void files_of_a_host_are_paired_in_order(void **state)
{
    check(state,
          "<VirtualHost *:443>\n"
          "  SSLCertificateFile /a.pem\n\tsslcertificatekeyfile \"/a b.key\"\n"
          "  SSLCertificateFile '/b.pem'\n"
          "  SSLCertificateKeyFile /b.key\n"
          "</VirtualHost>\n"
          "<virtualhost *:444>\nSSLCertificateFile /both.pem\n</virtualhost>\n",
          "/a.pem=/a b.key /b.pem=/b.key /both.pem=/both.pem");
}

static void what_is_outside_of_hosts_is_a_section_of_its_own(void **state)
{
    check(state,
          "SSLCertificateFile /g.pem\n"
          "<VirtualHost *:443>\nSSLCertificateFile /a.pem\nSSLCertificateKeyFile /a.key\n"
          "</VirtualHost>\nSSLCertificateKeyFile /g.key",
          "/a.pem=/a.key /g.pem=/g.key");
}

static void paths_are_relative_to_the_root(void **state)
{
    check(state, "SSLCertificateFile tls/a.pem\nServerRoot /srv\nSSLCertificateKeyFile tls/a.key\n",
          "~/tls/a.pem=/srv/tls/a.key");
}

static void includes_are_followed(void **state)
{
    struct test_hooks *t = *state;

    assert_int_equal(mkdir(test_path(t, "sites"), 0755), 0);
    test_put(test_path(t, "sites/b.conf"), "SSLCertificateFile /b.pem\n", 0644);
    test_put(test_path(t, "sites/a.conf"), "SSLCertificateFile /a.pem\n", 0644);
    test_put(test_path(t, "sites/c.txt"), "SSLCertificateFile /c.pem\n", 0644);
    test_put(test_path(t, "loop.conf"), "Include loop.conf\nSSLCertificateFile /l.pem\n", 0644);
    check(state, "IncludeOptional sites/*.conf\n", "/a.pem=/a.pem /b.pem=/b.pem");
    check(state, "Include sites\n", "/a.pem=/a.pem /b.pem=/b.pem /c.pem=/c.pem");
    check(state, "IncludeOptional nothing/*.conf\nInclude /nonexistent\n", "");
    auto_free char *looped = pairs_of(t, "Include loop.conf\n");
    assert_true(strlen(looped) < 1000);
}

static void variables_are_replaced_or_the_line_is_left_out(void **state)
{
    check(state,
          "Define dir /etc/tls\nDefine name www\n"
          "SSLCertificateFile ${dir}/${name}.pem\nSSLCertificateKeyFile ${dir}/${name}.key\n",
          "/etc/tls/www.pem=/etc/tls/www.key");
    check(state, "SSLCertificateFile ${UNKNOWN}/a.pem\n", "");
    check(state, "<VirtualHost ${IP}:443>\nSSLCertificateFile /a.pem\n</VirtualHost>\n",
          "/a.pem=/a.pem");
    check(state, "SSLCertificateFile /a${.pem\n", "");
}

static void what_depends_on_conditions_is_left_out(void **state)
{
    check(state,
          "<IfDefine X>\nSSLCertificateFile /no.pem\n<IfModule y>\nSSLCertificateFile /no2.pem\n"
          "</IfModule>\nSSLCertificateFile /no3.pem\n</IfDefine>\n"
          "<Macro M $a>\nSSLCertificateFile $a\n</Macro>\n"
          "<IfModule ssl_module>\nSSLCertificateFile /yes.pem\n</IfModule>\n"
          "# SSLCertificateFile /comment.pem\n",
          "/yes.pem=/yes.pem");
}

static void lines_may_be_continued(void **state)
{
    check(state, "SSLCertificateFile \\\n  /a.pem\nSSLCertificateKey\\\nFile /a.key\n\\",
          "/a.pem=/a.key");
}

static void garbage_pairs_nothing(void **state)
{
    struct test_hooks *t = *state;
    auto_strv struct strv pairs = {0};
    char *large = xmalloc(40001);

    check(state, "SSLCertificateFile\nSSLCertificateFile \"\n</VirtualHost>\n<\n>\n\"\n</\n", "");
    check(state, "\xff\xfe\x01<VirtualHost\n${\n${}\nDefine\nServerRoot\n", "");
    memset(large, 'x', 40000);
    large[40000] = '\0';
    check(state, large, "");
    free(large);
    apache_config_pairs(test_path(t, "absent"), &pairs);
    apache_config_pairs(t->dir, &pairs);
    assert_int_equal(pairs.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOOK_TEST(files_of_a_host_are_paired_in_order),
        HOOK_TEST(what_is_outside_of_hosts_is_a_section_of_its_own),
        HOOK_TEST(paths_are_relative_to_the_root),
        HOOK_TEST(includes_are_followed),
        HOOK_TEST(variables_are_replaced_or_the_line_is_left_out),
        HOOK_TEST(what_depends_on_conditions_is_left_out),
        HOOK_TEST(lines_may_be_continued),
        HOOK_TEST(garbage_pairs_nothing),
    };

    return cmocka_run_group_tests_name("apache_config", tests, NULL, NULL);
}
