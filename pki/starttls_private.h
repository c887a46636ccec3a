/* The parts of a prelude: a protocol is a way to cut messages and a table of steps. */
#pragma once

#include "pki/starttls.h"

enum verdict {
    SAID_ENOUGH, /* on to the next step; after the last one TLS begins */
    SAID_PART,   /* more messages belong to this step */
    SAID_NO,     /* see err */
};

struct prelude_step {
    const char *say; /* sent when the step begins, or NULL */
    size_t say_len;
    /* Judges one whole message; NULL: no answer is awaited. */
    enum verdict (*judge)(struct prelude *d, const char *message, size_t len, struct err **err);
    const char *expect; /* for judges that serve several steps: the reply that is good, ... */
    const char *need;   /* ... and what it has to list, or NULL */
};
#define SAY(text) .say = (text), .say_len = sizeof(text) - 1

struct starttls_protocol {
    /* The length of the first message, 0: it is not all here yet. What can never become a message
     * is an error. */
    bool (*cut)(const char *data, size_t len, size_t *ret, struct err **err);
    void (*greet)(struct prelude *d, struct buf *out); /* before the first step; may be NULL */
    const struct prelude_step *steps;
    size_t n_steps;
};

struct prelude {
    const struct starttls_protocol *protocol;
    char *domain; /* fit to be sent, or NULL */
    size_t step;
    char pending[STARTTLS_MESSAGE_MAX];
    size_t n_pending;
    size_t total;
    bool found;   /* a reply of several messages listed what the step needs */
    char code[4]; /* of a reply of several lines that has not ended, else "" */
};

extern const struct starttls_protocol starttls_smtp, starttls_imap, starttls_pop3, starttls_ftp,
    starttls_ldap, starttls_postgres, starttls_mysql, starttls_xmpp;

/* SAID_NO and the error: what was awaited, and what came instead. */
enum verdict starttls_refuse(struct err **err, const char *what, const char *said, size_t len);
