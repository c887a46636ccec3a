#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "pki/starttls.h"

/* Text that may hold NUL bytes. */
struct bytes {
    const char *data;
    size_t len;
};
#define BYTES(text)                                                                                \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

#define POSTGRES_REQUEST "\0\0\0\x08\x04\xd2\x16\x2f"
#define LDAP_REQUEST                                                                               \
    "\x30\x1d\x02\x01\x01\x77\x18\x80\x16"                                                         \
    "1.3.6.1.4.1.1466.20037"
#define LDAP_YES "\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"
#define MYSQL_GREETING(capabilities)                                                               \
    "\x1b\0\0\0"                                                                                   \
    "\x0a"                                                                                         \
    "8.0.36\0"                                                                                     \
    "\x01\0\0\0"                                                                                   \
    "12345678\0" capabilities "\x21\x02\0\xff"
#define MYSQL_REQUEST                                                                              \
    "\x20\0\0\x01\0\x8a\0\0\0\0\0\x01\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define XMPP_OPEN                                                                                  \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "                                   \
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"
#define XMPP_STREAM                                                                                \
    "<?xml version='1.0'?><stream:stream id=\"a>b\" xmlns:stream='x' from='example.org'>"
#define XMPP_STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

struct exchange {
    enum starttls protocol;
    const char *domain;
    struct bytes hello; /* what the client says unasked */
    struct {
        struct bytes server, client;
    } turns[5]; /* the last one with a server ends in STARTTLS_GO */
};

static const struct exchange good[] = {
    {STARTTLS_SMTP,
     NULL,
     {0},
     {{BYTES("220 mail ESMTP\r\n"), BYTES("EHLO [127.0.0.1]\r\n")},
      {BYTES("250-mail\r\n250-SIZE\r\n250 STARTTLS\r\n"), BYTES("STARTTLS\r\n")},
      {BYTES("220 2.0.0 ready\r\n"), {0}}}},
    {STARTTLS_SMTP,
     NULL,
     {0},
     {{BYTES("220-wait\r\n220-a bit\r\n220 mail\r\n"), BYTES("EHLO [127.0.0.1]\r\n")},
      {BYTES("250-mail\n250-starttls\n250 HELP\n"), BYTES("STARTTLS\r\n")},
      {BYTES("220\n"), {0}}}},
    {STARTTLS_IMAP,
     NULL,
     {0},
     {{BYTES("* OK [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n"), BYTES("a1 STARTTLS\r\n")},
      {BYTES("* CAPABILITY IMAP4rev1\r\n* OK still here\r\n"), {0}},
      {BYTES("A1 OK begin\r\n"), {0}}}},
    {STARTTLS_POP3,
     NULL,
     {0},
     {{BYTES("+OK hello\r\n"), BYTES("STLS\r\n")}, {BYTES("+OK\r\n"), {0}}}},
    {STARTTLS_FTP,
     NULL,
     {0},
     {{BYTES("120 in a minute\r\n"), {0}},
      {BYTES("220-hello\r\n  any line\r\n221 not the end\r\n220 now\r\n"), BYTES("AUTH TLS\r\n")},
      {BYTES("234 go\r\n"), {0}}}},
    {STARTTLS_LDAP, NULL, BYTES(LDAP_REQUEST), {{BYTES(LDAP_YES), {0}}}},
    {STARTTLS_LDAP,
     NULL,
     BYTES(LDAP_REQUEST),
     {/* padded lengths, and the name of the extension */
      {BYTES("\x30\x84\0\0\0\x2a\x02\x01\x01\x78\x84\0\0\0\x21\x0a\x01\0\x04\0\x04\0\x8a\x16"
             "1.3.6.1.4.1.1466.20037\0\0"),
       {0}}}},
    {STARTTLS_POSTGRES, NULL, BYTES(POSTGRES_REQUEST), {{BYTES("S"), {0}}}},
    {STARTTLS_MYSQL, NULL, {0}, {{BYTES(MYSQL_GREETING("\xff\xff")), BYTES(MYSQL_REQUEST)}}},
    {STARTTLS_XMPP,
     "example.org",
     BYTES(XMPP_OPEN " to='example.org'>"),
     {{BYTES(XMPP_STREAM "<stream:features><starttls xmlns='x'><required/></starttls>"
                         "<mechanisms><mechanism>PLAIN</mechanism></mechanisms></stream:features>"),
       BYTES(XMPP_STARTTLS)},
      {BYTES("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), {0}}}},
    {STARTTLS_XMPP,
     "a'><b",
     BYTES(XMPP_OPEN ">"),
     {{BYTES(XMPP_STREAM "<features><starttls/></features>"), BYTES(XMPP_STARTTLS)},
      {BYTES("<proceed></proceed>"), {0}}}},
};

static void feed(struct prelude *d, struct bytes server, size_t piece, struct buf *out, bool last)
{
    for (size_t at = 0; at < server.len; at += piece) {
        size_t n = server.len - at < piece ? server.len - at : piece;
        struct err *err = NULL;
        enum starttls_turn turn = prelude_take(d, server.data + at, n, out, &err);

        if (err)
            fail_msg("%s", err->text);
        assert_int_equal(turn, last && at + n == server.len ? STARTTLS_GO : STARTTLS_WAIT);
    }
}

static void assert_says(struct buf *out, struct bytes expected)
{
    assert_int_equal(out->len, expected.len);
    assert_memory_equal(out->data, expected.data ? expected.data : "", expected.len);
    buf_clear(out);
}

static void speaks_each_protocol_in_pieces_of_any_size(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 3, 4096};

    for (size_t i = 0; i < ARRAY_LEN(good) * ARRAY_LEN(pieces); i++) {
        const struct exchange *e = &good[i / ARRAY_LEN(pieces)];
        auto_buf struct buf out;

        buf_init(&out, 4096);
        struct prelude *d = prelude_new(e->protocol, e->domain, &out);
        assert_says(&out, e->hello);
        for (size_t t = 0; e->turns[t].server.data; t++) {
            feed(d, e->turns[t].server, pieces[i % ARRAY_LEN(pieces)], &out,
                 !e->turns[t + 1].server.data);
            assert_says(&out, e->turns[t].client);
        }
        prelude_free(d);
    }
}

/* All that a server says, whether it was asked or not, until it is refused. */
static char *refusal(enum starttls protocol, const char *data, size_t len, size_t piece)
{
    auto_buf struct buf out;
    auto_err struct err *err = NULL;
    enum starttls_turn turn = STARTTLS_WAIT;

    buf_init(&out, 4096);
    struct prelude *d = prelude_new(protocol, "example.org", &out);
    for (size_t at = 0; turn == STARTTLS_WAIT && at < len; at += piece)
        turn = prelude_take(d, data + at, len - at < piece ? len - at : piece, &out, &err);
    prelude_free(d);
    assert_int_equal(turn == STARTTLS_FAILED, err != NULL);
    if (err)
        assert_int_equal(err->kind, ERR_TRANSIENT);
    return xstrdup(err ? err->text : turn == STARTTLS_GO ? "GO" : "WAIT");
}

static const struct {
    enum starttls protocol;
    struct bytes server;
    const char *error;
} bad[] = {
    {STARTTLS_SMTP, BYTES("554 go away\r\n"), "refuses: \"554 go away\""},
    {STARTTLS_SMTP, BYTES("SSH-2.0-OpenSSH\r\n"), "no reply: \"SSH-2.0-OpenSSH\""},
    {STARTTLS_SMTP, BYTES("\r\n"), "no reply"},
    {STARTTLS_SMTP, BYTES("22x hello\r\n"), "no reply"},
    {STARTTLS_SMTP, BYTES("220hello\r\n"), "no reply"},
    {STARTTLS_SMTP, BYTES("220-a\r\n250 b\r\n"), "no reply"},
    {STARTTLS_SMTP, BYTES("220 a\r\n250-b\r\nSTARTTLS\r\n"), "no reply"},
    {STARTTLS_SMTP, BYTES("220 a\r\n250-b\r\n250 SIZE\r\n"), "does not offer STARTTLS"},
    {STARTTLS_SMTP, BYTES("220 a\r\n250 STARTTLSX\r\n"), "does not offer STARTTLS"},
    {STARTTLS_SMTP, BYTES("220 STARTTLS\r\n250 b\r\n"), "does not offer STARTTLS"},
    {STARTTLS_SMTP, BYTES("220 a\r\n250 STARTTLS\r\n454 later\r\n"), "refuses: \"454 later\""},
    {STARTTLS_SMTP, BYTES("220 \x1b[31m\r\n250 STARTTLS\r\n5\x1b[2J\r\n"), "\\x1b[2J"},
    {STARTTLS_IMAP, BYTES("* PREAUTH hello\r\n"), "refuses: \"* PREAUTH hello\""},
    {STARTTLS_IMAP, BYTES("* BYE\r\n"), "refuses"},
    {STARTTLS_IMAP, BYTES("* OKAY\r\n"), "refuses"},
    {STARTTLS_IMAP, BYTES("* OK\r\n* BYE over\r\n"), "refuses: \"* BYE over\""},
    {STARTTLS_IMAP, BYTES("* OK\r\na1 NO\r\n"), "refuses: \"a1 NO\""},
    {STARTTLS_IMAP, BYTES("* OK\r\na1 BAD\r\n"), "refuses"},
    {STARTTLS_IMAP, BYTES("* OK\r\na2 OK\r\n"), "refuses"},
    {STARTTLS_POP3, BYTES("-ERR no\r\n"), "refuses: \"-ERR no\""},
    {STARTTLS_POP3, BYTES("+OK\r\n-ERR\r\n"), "refuses"},
    {STARTTLS_FTP, BYTES("421 full\r\n"), "refuses: \"421 full\""},
    {STARTTLS_FTP, BYTES("220 a\r\n500 what?\r\n"), "refuses: \"500 what?\""},
    {STARTTLS_FTP, BYTES("220 a\r\n534 no\r\n"), "refuses"},
    {STARTTLS_LDAP, BYTES("HTTP/1.1 400\r\n"), "no LDAP"},
    {STARTTLS_LDAP, BYTES("\x30\x80"), "longer than 4096"},
    {STARTTLS_LDAP, BYTES("\x30\x84\xff\xff\xff\xff"), "longer than 4096"},
    {STARTTLS_LDAP, BYTES("\x30\x88\xff\xff\xff\xff"), "longer than 4096"},
    {STARTTLS_LDAP, BYTES("\x30\0"), "no answer of LDAP"},
    {STARTTLS_LDAP, BYTES("\x30\x03\x02\x7f\x01"), "no answer of LDAP"},
    {STARTTLS_LDAP, BYTES("\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\x7f\x04\0"), "no answer"},
    {STARTTLS_LDAP, BYTES("\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\0\x04\0\x04\0"), "refuses"},
    {STARTTLS_LDAP, BYTES("\x30\x10\x02\x01\x01\x78\x0b\x0a\x01\x02\x04\0\x04\x04nope"),
     "result 2: \"nope\""},
    {STARTTLS_POSTGRES, BYTES("N"), "does not offer TLS"},
    {STARTTLS_POSTGRES, BYTES("E"), "with an error"},
    {STARTTLS_POSTGRES, BYTES("\0"), "no PostgreSQL"},
    {STARTTLS_MYSQL, BYTES("\x19\0\0\0\xff\x69\x04Host is blocked, sure"), "WAIT"},
    {STARTTLS_MYSQL, BYTES("\x12\0\0\0\xff\x69\x04Host is blocked"), "\"Host is blocked\""},
    {STARTTLS_MYSQL, BYTES("\x01\0\0\0\xff"), "no greeting of MySQL"},
    {STARTTLS_MYSQL, BYTES("\0\0\0\0"), "no greeting of MySQL"},
    {STARTTLS_MYSQL, BYTES("220 hello\r\n"), "no greeting of MySQL"},
    {STARTTLS_MYSQL, BYTES("\xff\xff\xff\0"), "no greeting of MySQL"},
    {STARTTLS_MYSQL,
     BYTES("\x08\0\0\0\x0a"
           "8.0.36\0"),
     "no greeting of MySQL"},
    {STARTTLS_MYSQL,
     BYTES("\x05\0\0\0\x0a"
           "8.0."),
     "no greeting of MySQL"},
    {STARTTLS_MYSQL, BYTES(MYSQL_GREETING("\xff\xf7")), "does not offer TLS"},
    {STARTTLS_XMPP, BYTES(XMPP_STREAM "<stream:features/>"), "does not offer starttls"},
    {STARTTLS_XMPP, BYTES(XMPP_STREAM "<stream:features><bind/></stream:features>"),
     "does not offer starttls"},
    {STARTTLS_XMPP, BYTES(XMPP_STREAM "<stream:error><host-unknown xmlns='x'/>"),
     "refuses: \"host-unknown\""},
    {STARTTLS_XMPP, BYTES(XMPP_STREAM "</stream:stream>"), "ends the stream"},
    {STARTTLS_XMPP, BYTES(XMPP_STREAM "<features><starttls/></features><failure/>"),
     "refuses: \"failure\""},
    {STARTTLS_XMPP, BYTES("<>"), "WAIT"},
    {STARTTLS_XMPP, BYTES("HTTP/1.1 400 Bad Request\r\n"), "WAIT"},
};

static void says_what_a_server_did_instead(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad) * 2; i++) {
        size_t n = i / 2;
        auto_free char *text =
            refusal(bad[n].protocol, bad[n].server.data, bad[n].server.len, i % 2 ? 1 : 4096);

        if (!strstr(text, bad[n].error))
            fail_msg("%s, %zu: \"%s\" instead of \"%s\"", starttls_names[bad[n].protocol], n, text,
                     bad[n].error);
    }
}

/* The class of CVE-2011-0411: what comes in plain text with the go-ahead must never be taken for
 * something that was said under TLS. */
static void refuses_plain_text_behind_the_go_ahead(void **state)
{
    (void)state;
    static const struct {
        enum starttls protocol;
        struct bytes server;
    } cases[] = {
        {STARTTLS_SMTP, BYTES("220 a\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n")},
        {STARTTLS_SMTP, BYTES("220 a\r\n250-b\r\n250 STARTTLS\r\n220 go\r\n\x16")},
        {STARTTLS_IMAP, BYTES("* OK\r\na1 OK\r\n* 1 EXISTS\r\n")},
        {STARTTLS_POP3, BYTES("+OK\r\n+OK\r\n+OK injected\r\n")},
        {STARTTLS_FTP, BYTES("220 a\r\n234 go\r\n230 logged in\r\n")},
        {STARTTLS_LDAP, BYTES(LDAP_YES LDAP_YES)},
        {STARTTLS_POSTGRES, BYTES("SR\0\0\0\x08\0\0\0\0")},
        {STARTTLS_MYSQL, BYTES(MYSQL_GREETING("\xff\xff") "\0")},
        {STARTTLS_XMPP, BYTES(XMPP_STREAM "<features><starttls/></features><proceed/> ")},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        auto_free char *text =
            refusal(cases[i].protocol, cases[i].server.data, cases[i].server.len, 4096);

        if (!strstr(text, "plain text came along"))
            fail_msg("case %zu: %s", i, text);
    }
}

static void listens_to_no_server_for_ever(void **state)
{
    (void)state;
    static const struct {
        enum starttls protocol;
        const char *start, *again, *error;
    } cases[] = {
        {STARTTLS_SMTP, "", "220-hello\r\n", "more than 65536 bytes"},
        {STARTTLS_SMTP, "220-", "hello", "longer than 4096"},
        {STARTTLS_FTP, "220-", "hello\r\n", "more than 65536 bytes"},
        {STARTTLS_FTP, "", "120 wait\r\n", "more than 65536 bytes"},
        {STARTTLS_IMAP, "* OK\r\n", "* OK again\r\n", "more than 65536 bytes"},
        {STARTTLS_IMAP, "* OK", "y", "longer than 4096"},
        {STARTTLS_POP3, "+OK", "y", "longer than 4096"},
        {STARTTLS_XMPP, "<stream:stream>", "<a/>", "more than 65536 bytes"},
        {STARTTLS_XMPP, "<stream:stream a='", ">", "longer than 4096"},
        {STARTTLS_XMPP, "", "text", "longer than 4096"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases) * 2; i++) {
        auto_buf struct buf server;
        size_t piece = i % 2 ? 1 : 4096;

        buf_init(&server, 128 * 1024);
        buf_add_str(&server, cases[i / 2].start);
        while (buf_add_str(&server, cases[i / 2].again))
            ;
        auto_free char *text = refusal(cases[i / 2].protocol, server.data, server.len, piece);
        if (!strstr(text, cases[i / 2].error))
            fail_msg("case %zu: %s", i / 2, text);
    }
}

/* Good dialogues with some bytes replaced, from a generator of known start: whatever comes of it,
 * it is one of the three turns, and the sanitizers watch. */
static void survives_damaged_dialogues(void **state)
{
    (void)state;
    uint32_t seed = 1;

    for (size_t i = 0; i < 20000; i++) {
        const struct exchange *e = &good[i % ARRAY_LEN(good)];
        auto_buf struct buf server;

        buf_init(&server, 4096);
        for (size_t t = 0; e->turns[t].server.data; t++)
            buf_add(&server, e->turns[t].server.data, e->turns[t].server.len);
        for (size_t n = 0; n < 1 + i % 3; n++) {
            seed = seed * 1664525 + 1013904223;
            server.data[(seed >> 8) % server.len] = (char)(seed >> 24);
        }
        auto_free char *text = refusal(e->protocol, server.data, server.len, 1 + seed % 40);
        assert_non_null(text);
    }
}

static void knows_protocols_by_name(void **state)
{
    (void)state;
    enum starttls protocol = STARTTLS_FTP;

    assert_true(starttls_parse("xmpp", &protocol));
    assert_int_equal(protocol, STARTTLS_XMPP);
    assert_true(starttls_parse("off", &protocol));
    assert_int_equal(protocol, STARTTLS_OFF);
    assert_false(starttls_parse("smtps", &protocol));
    assert_false(starttls_parse("", &protocol));
    assert_int_equal(protocol, STARTTLS_OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(speaks_each_protocol_in_pieces_of_any_size),
        cmocka_unit_test(says_what_a_server_did_instead),
        cmocka_unit_test(refuses_plain_text_behind_the_go_ahead),
        cmocka_unit_test(listens_to_no_server_for_ever),
        cmocka_unit_test(survives_damaged_dialogues),
        cmocka_unit_test(knows_protocols_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
