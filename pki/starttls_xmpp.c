/* XMPP (RFC 6120 5). A stream is read tag by tag, without its tree: what counts are the names of
 * tags. Comments, sections and the like are forbidden in streams (RFC 6120 11.1). */
#include <string.h>

#include "pki/starttls_private.h"

/* The name of a tag without its prefix; *ret_end: it closes what was open. */
static size_t tag_name(const char *tag, size_t len, const char **ret_name, bool *ret_end)
{
    size_t at = 1, n = 0;

    *ret_end = len > 1 && tag[1] == '/';
    if (*ret_end)
        at++;
    for (size_t i = at; i < len && !memchr(" \t\r\n/>", tag[i], 6); i++) {
        n++;
        if (tag[i] == ':') {
            at = i + 1;
            n = 0;
        }
    }
    *ret_name = tag + at;
    return n;
}

struct tag {
    bool opens, closes; /* <a/> does both */
    const char *name;
    size_t len;
};

/* The message is text, maybe none, and a tag. */
static struct tag read_tag(const char *message, size_t len)
{
    const char *start = memchr(message, '<', len); /* never NULL: cut_tag() found it */
    size_t n = len - (size_t)(start - message);
    struct tag tag = {0};
    bool end;

    tag.len = tag_name(start, n, &tag.name, &end);
    tag.opens = !end;
    tag.closes = end || (n > 2 && start[n - 2] == '/');
    return tag;
}

static bool is(const struct tag *t, const char *name)
{
    return t->len == strlen(name) && memcmp(t->name, name, t->len) == 0;
}

/* Up to the end of the first tag; '>' may stand in the value of an attribute. */
static bool cut_tag(const char *data, size_t len, size_t *ret, struct err **err)
{
    bool inside = false;
    char quote = '\0';

    (void)err;
    *ret = 0;
    for (size_t i = 0; i < len; i++) {
        if (!inside) {
            inside = data[i] == '<';
        } else if (quote) {
            if (data[i] == quote)
                quote = '\0';
        } else if (data[i] == '"' || data[i] == '\'') {
            quote = data[i];
        } else if (data[i] == '>') {
            *ret = i + 1;
            return true;
        }
    }
    return true;
}

static enum verdict no(struct err **err, const char *text)
{
    err_set(err, ERR_TRANSIENT, "%s", text);
    return SAID_NO;
}

/* What ends a stream at any time. The reason is the tag after <stream:error>. */
static bool is_end(struct prelude *d, const struct tag *t, enum verdict *ret, struct err **err)
{
    if (d->code[0])
        *ret = starttls_refuse(err, "the server refuses", t->name, t->len);
    else if (is(t, "stream") && t->closes)
        *ret = no(err, "the server ends the stream");
    else if (!is(t, "error") || t->closes)
        return false;
    else {
        d->code[0] = 'e';
        *ret = SAID_PART;
    }
    return true;
}

static enum verdict judge_features(struct prelude *d, const char *message, size_t len,
                                   struct err **err)
{
    struct tag t = read_tag(message, len);
    enum verdict verdict;

    if (is_end(d, &t, &verdict, err))
        return verdict;
    if (is(&t, "starttls"))
        d->found = true;
    if (!is(&t, "features") || !t.closes)
        return SAID_PART;
    return d->found ? SAID_ENOUGH : no(err, "the server does not offer starttls");
}

static enum verdict judge_proceed(struct prelude *d, const char *message, size_t len,
                                  struct err **err)
{
    struct tag t = read_tag(message, len);
    enum verdict verdict;

    if (is_end(d, &t, &verdict, err))
        return verdict;
    if (is(&t, "proceed"))
        return t.closes ? SAID_ENOUGH : SAID_PART;
    return starttls_refuse(err, "the server refuses", t.name, t.len);
}

static void open_stream(struct prelude *d, struct buf *out)
{
    buf_add_str(out, "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                     "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'");
    if (d->domain)
        buf_addf(out, " to='%s'", d->domain);
    buf_add_str(out, ">");
}

static const struct prelude_step steps[] = {
    {.judge = judge_features},
    {SAY("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), .judge = judge_proceed},
};

const struct starttls_protocol starttls_xmpp = {
    .cut = cut_tag, .greet = open_stream, .steps = steps, .n_steps = ARRAY_LEN(steps)};
