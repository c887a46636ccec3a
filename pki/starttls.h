/* What a client says in plain text before TLS begins, where a protocol has both on one port. A
 * prelude knows no socket: it is given what came and tells what to send.
 *
 * Nothing that was said in plain text is believed beyond the go-ahead, and nothing may come with or
 * after it: whoever sits between could have put it there (CVE-2011-0411 and its kin). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

#define STARTTLS_MESSAGE_MAX  4096        /* one line, packet or tag */
#define STARTTLS_DIALOGUE_MAX (64 * 1024) /* all that a server may say */

enum starttls {
    STARTTLS_OFF, /* TLS from the first byte */
    STARTTLS_SMTP,
    STARTTLS_IMAP,
    STARTTLS_POP3,
    STARTTLS_FTP,
    STARTTLS_LDAP,
    STARTTLS_POSTGRES,
    STARTTLS_MYSQL,
    STARTTLS_XMPP,
};
extern const char *const starttls_names[]; /* "off", "smtp", ...; ends with NULL */
/* The protocol of a name ("off" is one); false: there is none. */
bool starttls_parse(const char *name, enum starttls *ret);

enum starttls_turn {
    STARTTLS_WAIT,   /* send what is in `out`, if anything, and wait for more */
    STARTTLS_GO,     /* send what is in `out`, if anything, then begin TLS */
    STARTTLS_FAILED, /* see err (ERR_TRANSIENT) */
};

/* domain: whom to ask for (XMPP); may be NULL. What the client says first is added to `out`. */
struct prelude;
struct prelude *prelude_new(enum starttls protocol, const char *domain, struct buf *out);
/* What came, in pieces of any size. No more of it after GO or FAILED. */
NODISCARD enum starttls_turn prelude_take(struct prelude *d, const char *data, size_t len,
                                          struct buf *out, struct err **err);
void prelude_free(struct prelude *d);
