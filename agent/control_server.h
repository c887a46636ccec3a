/* A client of the control socket, for the control*.c files of the server only. */
#pragma once

#include "agent/account_request.h"
#include "agent/control.h"
#include "agent/renew.h"
#include "base/buf.h"
#include "base/loop.h"

struct client {
    struct control *control;
    struct client *next;
    int fd;
    struct io *io;
    bool may_change;
    struct buf in;
    struct buf out;
    size_t sent;         /* of out */
    struct renew *renew; /* waits for one of these */
    struct account_request *account;
    struct timer *timer; /* deadline, or what keeps a waiting client awake */
};

/* control.c ------------------------------------------------------------------------------------ */

struct manager *client_manager(const struct client *c);
const struct control_settings *client_settings(const struct client *c);
/* The answer, one of result (stolen) and e; client_continue() follows when it came later. */
void client_answer(struct client *c, json_t *result, const struct err *e);
/* An answer follows later. */
void client_wait(struct client *c);
void client_continue(struct client *c);

/* control_methods.c ---------------------------------------------------------------------------- */

/* Carries out one request: it is answered, or something is under way in the client. */
void client_ask(struct client *c, const char *line, size_t len);
