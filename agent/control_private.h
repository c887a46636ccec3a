/* What both ends of the control socket share. */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "base/err.h"

#define CONTROL_KEEPALIVE_MS 15000 /* a waiting client hears something that often */
#define CONTROL_SILENCE_MS   60000 /* an agent that says nothing for so long hangs */

/* Where the socket is. Paths longer than the 107 octets of a sockaddr_un are reached through a
 * descriptor of their folder. */
struct control_address {
    struct sockaddr_un addr;
    socklen_t len;
    int dirfd;        /* of the folder; -1: not open */
    const char *name; /* in it; borrowed from the path */
};
NODISCARD bool control_address(const char *path, struct control_address *ret, struct err **err);
void control_address_done(struct control_address *a);
/* A socket of the right kind; -1 on error. */
NODISCARD int control_socket(int flags, struct err **err);
