/* The protocols of packets: LDAP (RFC 4511 4.14), PostgreSQL and MySQL. */
#include <stdint.h>
#include <string.h>

#include "pki/starttls_private.h"

/* LDAP ------------------------------------------------------------------------------------------
 */

enum {
    BER_INTEGER = 0x02,
    BER_ENUMERATED = 0x0a,
    BER_OCTETS = 0x04,
    BER_SEQUENCE = 0x30,
    LDAP_EXTENDED_RESPONSE = 0x78,
};

struct span {
    const unsigned char *data;
    size_t len;
};

/* Tag and length of the first element: how long the head is, 0: not all of it is here. Longer than
 * any message may be is told as such. RFC 4511 5.1: definite lengths, padded ones allowed. */
static size_t ber_head(struct span in, size_t *ret_content)
{
    if (in.len < 2)
        return 0;
    *ret_content = in.data[1];
    if (in.data[1] < 0x80)
        return 2;
    size_t n = in.data[1] & 0x7f, content = 0;

    if (n == 0 || n > 4) {
        *ret_content = SIZE_MAX;
        return 2;
    }
    if (in.len < 2 + n)
        return 0;
    for (size_t i = 0; i < n; i++)
        content = content << 8 | in.data[2 + i];
    *ret_content = content;
    return 2 + n;
}

static bool ber_next(struct span *in, unsigned char tag, struct span *ret)
{
    size_t content = 0, head = ber_head(*in, &content);

    if (head == 0 || in->data[0] != tag || content > in->len - head)
        return false;
    *ret = (struct span){in->data + head, content};
    *in = (struct span){in->data + head + content, in->len - head - content};
    return true;
}

static bool cut_ldap(const char *data, size_t len, size_t *ret, struct err **err)
{
    struct span in = {(const unsigned char *)data, len};
    size_t content = 0, head;

    *ret = 0;
    if (len == 0)
        return true;
    if (in.data[0] != BER_SEQUENCE)
        return err_set(err, ERR_TRANSIENT, "this is no LDAP");
    head = ber_head(in, &content);
    if (head == 0)
        return true;
    if (content > STARTTLS_MESSAGE_MAX - head)
        return err_set(err, ERR_TRANSIENT, "the server's message is longer than %d bytes",
                       STARTTLS_MESSAGE_MAX);
    if (content <= len - head)
        *ret = head + content;
    return true;
}

/* Also the notice of disconnection (message 0, RFC 4511 4.4.1): an answer of the same shape. */
static enum verdict judge_ldap(struct prelude *d, const char *message, size_t len, struct err **err)
{
    struct span in = {(const unsigned char *)message, len}, envelope, id, response, code, dn, text;

    (void)d;
    if (!ber_next(&in, BER_SEQUENCE, &envelope) || !ber_next(&envelope, BER_INTEGER, &id) ||
        !ber_next(&envelope, LDAP_EXTENDED_RESPONSE, &response) ||
        !ber_next(&response, BER_ENUMERATED, &code) || code.len != 1 ||
        !ber_next(&response, BER_OCTETS, &dn) || !ber_next(&response, BER_OCTETS, &text)) {
        err_set(err, ERR_TRANSIENT, "this is no answer of LDAP to StartTLS");
        return SAID_NO;
    }
    if (code.data[0] == 0 && id.len == 1 && id.data[0] == 1)
        return SAID_ENOUGH;
    auto_free char *result = xasprintf("the server refuses: LDAP result %d", code.data[0]);
    return starttls_refuse(err, result, (const char *)text.data, text.len);
}

static const struct prelude_step ldap_steps[] = {
    {SAY("\x30\x1d\x02\x01\x01\x77\x18\x80\x16"
         "1.3.6.1.4.1.1466.20037"),
     .judge = judge_ldap},
};

const struct starttls_protocol starttls_ldap = {
    .cut = cut_ldap, .steps = ldap_steps, .n_steps = ARRAY_LEN(ldap_steps)};

/* PostgreSQL ------------------------------------------------------------------------------------
 */

static bool cut_byte(const char *data, size_t len, size_t *ret, struct err **err)
{
    (void)data;
    (void)err;
    *ret = len > 0 ? 1 : 0;
    return true;
}

/* The text of an error is not shown: nobody has said yet who it is that says it. */
static enum verdict judge_postgres(struct prelude *d, const char *message, size_t len,
                                   struct err **err)
{
    (void)d;
    (void)len;
    if (message[0] == 'S')
        return SAID_ENOUGH;
    if (message[0] == 'N')
        err_set(err, ERR_TRANSIENT, "the server does not offer TLS");
    else if (message[0] == 'E')
        err_set(err, ERR_TRANSIENT, "the server answers the request for TLS with an error");
    else
        err_set(err, ERR_TRANSIENT, "this is no PostgreSQL");
    return SAID_NO;
}

/* SSLRequest: length 8, code 80877103 */
static const struct prelude_step postgres_steps[] = {
    {SAY("\0\0\0\x08\x04\xd2\x16\x2f"), .judge = judge_postgres},
};

const struct starttls_protocol starttls_postgres = {
    .cut = cut_byte, .steps = postgres_steps, .n_steps = ARRAY_LEN(postgres_steps)};

/* MySQL and MariaDB -----------------------------------------------------------------------------
 */

enum {
    PACKET_HEAD = 4,
    HANDSHAKE_V10 = 10,
    CLIENT_SSL = 0x0800,
};

static bool cut_mysql(const char *data, size_t len, size_t *ret, struct err **err)
{
    const unsigned char *p = (const unsigned char *)data;

    *ret = 0;
    if (len < PACKET_HEAD)
        return true;
    size_t total = PACKET_HEAD + (p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16);

    if (p[3] != 0 || total == PACKET_HEAD || total > STARTTLS_MESSAGE_MAX)
        return err_set(err, ERR_TRANSIENT, "this is no greeting of MySQL");
    if (total <= len)
        *ret = total;
    return true;
}

static enum verdict judge_mysql(struct prelude *d, const char *message, size_t len,
                                struct err **err)
{
    const unsigned char *p = (const unsigned char *)message + PACKET_HEAD;
    size_t n = len - PACKET_HEAD;

    (void)d;
    /* An error packet: its code, then the text. "Too many connections", "Host is blocked". */
    if (p[0] == 0xff && n > 3)
        return starttls_refuse(err, "the server refuses", (const char *)p + 3, n - 3);
    /* Version of the protocol, version of the server, thread (4), data (8), 0, capabilities (2) */
    const unsigned char *end = memchr(p, '\0', n);
    size_t at = end ? (size_t)(end - p) + 1 + 4 + 8 + 1 : n;

    if (p[0] != HANDSHAKE_V10 || at + 2 > n) {
        err_set(err, ERR_TRANSIENT, "this is no greeting of MySQL");
        return SAID_NO;
    }
    if (((p[at] | p[at + 1] << 8) & CLIENT_SSL) == 0) {
        err_set(err, ERR_TRANSIENT, "the server does not offer TLS");
        return SAID_NO;
    }
    return SAID_ENOUGH;
}

/* SSLRequest, sequence 1: PROTOCOL_41, SSL and SECURE_CONNECTION, packets of 16 MiB, utf8; the
 * server says nothing to it. */
static const struct prelude_step mysql_steps[] = {
    {.judge = judge_mysql},
    {SAY("\x20\0\0\x01"
         "\0\x8a\0\0"
         "\0\0\0\x01"
         "\x21"
         "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
};

const struct starttls_protocol starttls_mysql = {
    .cut = cut_mysql, .steps = mysql_steps, .n_steps = ARRAY_LEN(mysql_steps)};
