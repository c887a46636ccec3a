#include <string.h>

#include "pki/starttls_private.h"

const char *const starttls_names[] = {"off",  "smtp",     "imap",  "pop3", "ftp",
                                      "ldap", "postgres", "mysql", "xmpp", NULL};

static const struct starttls_protocol *const protocols[] = {
    [STARTTLS_SMTP] = &starttls_smtp,   [STARTTLS_IMAP] = &starttls_imap,
    [STARTTLS_POP3] = &starttls_pop3,   [STARTTLS_FTP] = &starttls_ftp,
    [STARTTLS_LDAP] = &starttls_ldap,   [STARTTLS_POSTGRES] = &starttls_postgres,
    [STARTTLS_MYSQL] = &starttls_mysql, [STARTTLS_XMPP] = &starttls_xmpp,
};

enum verdict starttls_refuse(struct err **err, const char *what, const char *said, size_t len)
{
    enum { SHOWN_MAX = 200 };

    err_set(err, ERR_TRANSIENT, "%s: \"%.*s\"", what, (int)(len < SHOWN_MAX ? len : SHOWN_MAX),
            said);
    return SAID_NO;
}

/* Says what the steps from here on say, up to the first one that awaits an answer. */
static enum starttls_turn begin_steps(struct prelude *d, struct buf *out)
{
    for (; d->step < d->protocol->n_steps; d->step++) {
        const struct prelude_step *step = &d->protocol->steps[d->step];

        d->found = false;
        if (step->say)
            buf_add(out, step->say, step->say_len);
        if (step->judge)
            return STARTTLS_WAIT;
    }
    return STARTTLS_GO;
}

/* Judges the first pending message, if it is whole. */
static bool take_message(struct prelude *d, struct buf *out, enum starttls_turn *ret_turn,
                         size_t *ret_len, struct err **err)
{
    size_t len = 0;

    if (!d->protocol->cut(d->pending, d->n_pending, &len, err))
        return false;
    *ret_len = len;
    if (len == 0)
        return true;
    enum verdict verdict = d->protocol->steps[d->step].judge(d, d->pending, len, err);

    if (verdict == SAID_NO)
        return false;
    d->n_pending -= len;
    memmove(d->pending, d->pending + len, d->n_pending);
    if (verdict == SAID_ENOUGH) {
        d->step++;
        *ret_turn = begin_steps(d, out);
    }
    return true;
}

static bool add_pending(struct prelude *d, const char **data, size_t *len, struct err **err)
{
    size_t room = sizeof(d->pending) - d->n_pending;
    size_t n = *len < room ? *len : room;

    if (n == 0)
        return err_set(err, ERR_TRANSIENT, "the server's message is longer than %d bytes",
                       STARTTLS_MESSAGE_MAX);
    memcpy(d->pending + d->n_pending, *data, n);
    d->n_pending += n;
    d->total += n;
    *data += n;
    *len -= n;
    return d->total <= STARTTLS_DIALOGUE_MAX ||
           err_set(err, ERR_TRANSIENT, "the server has said more than %d bytes before TLS",
                   STARTTLS_DIALOGUE_MAX);
}

enum starttls_turn prelude_take(struct prelude *d, const char *data, size_t len, struct buf *out,
                                struct err **err)
{
    enum starttls_turn turn = STARTTLS_WAIT;

    while (turn == STARTTLS_WAIT && len > 0) {
        size_t taken = 1;

        if (!add_pending(d, &data, &len, err))
            return STARTTLS_FAILED;
        while (turn == STARTTLS_WAIT && taken > 0) {
            if (!take_message(d, out, &turn, &taken, err))
                return STARTTLS_FAILED;
        }
    }
    if (turn == STARTTLS_GO && d->n_pending + len > 0) {
        err_set(err, ERR_TRANSIENT,
                "plain text came along with the go-ahead for TLS: somebody may have put it there");
        return STARTTLS_FAILED;
    }
    return turn;
}

struct prelude *prelude_new(enum starttls protocol, const char *domain, struct buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    struct prelude *d = xcalloc(1, sizeof(*d));

    d->protocol = protocols[protocol];
    if (domain && domain[strspn(domain, plain)] == '\0')
        d->domain = xstrdup(domain);
    if (d->protocol->greet)
        d->protocol->greet(d, out);
    begin_steps(d, out);
    return d;
}

void prelude_free(struct prelude *d)
{
    if (d)
        free(d->domain);
    free(d);
}

bool starttls_parse(const char *name, enum starttls *ret)
{
    for (size_t i = 0; starttls_names[i]; i++) {
        if (strcmp(starttls_names[i], name) == 0) {
            *ret = (enum starttls)i;
            return true;
        }
    }
    return false;
}
