/* The protocols of lines: SMTP (RFC 3207), IMAP (RFC 9051 6.2.1), POP3 (RFC 2595), FTP (RFC 4217).
 */
#include <string.h>
#include <strings.h>

#include "pki/starttls_private.h"

static bool cut_line(const char *data, size_t len, size_t *ret, struct err **err)
{
    const char *end = len > 0 ? memchr(data, '\n', len) : NULL;

    (void)err;
    *ret = end ? (size_t)(end - data) + 1 : 0;
    return true;
}

static size_t without_newline(const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    return len;
}

/* Whether the line begins with the word, alone or before a space; in any case. */
static bool has_word(const char *line, size_t len, const char *word)
{
    size_t n = strlen(word);

    return len >= n && strncasecmp(line, word, n) == 0 && (len == n || line[n] == ' ');
}

/* Replies with a code: SMTP and FTP -------------------------------------------------------------
 */

static bool has_code(const char *line, size_t len)
{
    for (size_t i = 0; i < 3; i++) {
        if (len <= i || line[i] < '0' || line[i] > '9')
            return false;
    }
    return len == 3 || line[3] == ' ' || line[3] == '-';
}

/* The end of a reply: what it had to list must have come. */
static enum verdict end_reply(struct prelude *d, const char *need, struct err **err)
{
    d->code[0] = '\0';
    if (!need || d->found)
        return SAID_ENOUGH;
    err_set(err, ERR_TRANSIENT, "the server does not offer %s", need);
    return SAID_NO;
}

/* A line with a code. FTP may say that it will reply later (120) before it does. */
static enum verdict judge_code(struct prelude *d, const char *line, size_t len, bool is_ftp,
                               struct err **err)
{
    const struct prelude_step *step = &d->protocol->steps[d->step];
    bool preliminary = is_ftp && line[0] == '1';

    if (!preliminary && strncmp(line, step->expect, 3) != 0)
        return starttls_refuse(err, "the server refuses", line, len);
    if (step->need && len > 4 && has_word(line + 4, len - 4, step->need))
        d->found = true;
    if (len > 3 && line[3] == '-') {
        memcpy(d->code, line, 3);
        return SAID_PART;
    }
    if (!preliminary)
        return end_reply(d, step->need, err);
    d->code[0] = '\0';
    return SAID_PART;
}

/* In the middle of a reply FTP allows lines of any kind (RFC 959 4.2). */
static enum verdict judge_coded(struct prelude *d, const char *line, size_t len, bool is_ftp,
                                struct err **err)
{
    len = without_newline(line, len);
    bool coded = has_code(line, len);

    if (d->code[0] && !(coded && strncmp(line, d->code, 3) == 0)) {
        if (is_ftp)
            return SAID_PART;
        coded = false;
    }
    if (!coded)
        return starttls_refuse(err, "this is no reply", line, len);
    return judge_code(d, line, len, is_ftp, err);
}

static enum verdict judge_smtp(struct prelude *d, const char *line, size_t len, struct err **err)
{
    return judge_coded(d, line, len, false, err);
}

static enum verdict judge_ftp(struct prelude *d, const char *line, size_t len, struct err **err)
{
    return judge_coded(d, line, len, true, err);
}

/* RFC 5321 4.1.3: an address literal where there is no name; ours is nobody's business. */
static const struct prelude_step smtp_steps[] = {
    {.judge = judge_smtp, .expect = "220"},
    {SAY("EHLO [127.0.0.1]\r\n"), .judge = judge_smtp, .expect = "250", .need = "STARTTLS"},
    {SAY("STARTTLS\r\n"), .judge = judge_smtp, .expect = "220"},
};

const struct starttls_protocol starttls_smtp = {
    .cut = cut_line, .steps = smtp_steps, .n_steps = ARRAY_LEN(smtp_steps)};

static const struct prelude_step ftp_steps[] = {
    {.judge = judge_ftp, .expect = "220"},
    {SAY("AUTH TLS\r\n"), .judge = judge_ftp, .expect = "234"},
};

const struct starttls_protocol starttls_ftp = {
    .cut = cut_line, .steps = ftp_steps, .n_steps = ARRAY_LEN(ftp_steps)};

/* IMAP and POP3 ---------------------------------------------------------------------------------
 */

static enum verdict judge_prefix(struct prelude *d, const char *line, size_t len, struct err **err)
{
    len = without_newline(line, len);
    if (has_word(line, len, d->protocol->steps[d->step].expect))
        return SAID_ENOUGH;
    return starttls_refuse(err, "the server refuses", line, len);
}

/* Untagged lines may come at any time; they tell nothing that we want to know. */
static enum verdict judge_tagged(struct prelude *d, const char *line, size_t len, struct err **err)
{
    len = without_newline(line, len);
    if (has_word(line, len, "*") && !has_word(line, len, "* BYE"))
        return SAID_PART;
    return judge_prefix(d, line, len, err);
}

/* A greeting with PREAUTH is refused like BYE: STARTTLS is not possible any more. */
static const struct prelude_step imap_steps[] = {
    {.judge = judge_prefix, .expect = "* OK"},
    {SAY("a1 STARTTLS\r\n"), .judge = judge_tagged, .expect = "a1 OK"},
};

const struct starttls_protocol starttls_imap = {
    .cut = cut_line, .steps = imap_steps, .n_steps = ARRAY_LEN(imap_steps)};

static const struct prelude_step pop3_steps[] = {
    {.judge = judge_prefix, .expect = "+OK"},
    {SAY("STLS\r\n"), .judge = judge_prefix, .expect = "+OK"},
};

const struct starttls_protocol starttls_pop3 = {
    .cut = cut_line, .steps = pop3_steps, .n_steps = ARRAY_LEN(pop3_steps)};
