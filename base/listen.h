/* Where to listen: texts of the configuration, the sockets they mean, and who has a port already.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define LISTEN_SOCKETS_MAX 2

/* ":port" (IPv4 and IPv6, as far as the machine has them), "address:port", "[v6]:port",
 * "localhost:port" (127.0.0.1 and ::1), "unix:/path". Other names are refused: an address that has
 * to be looked up may be another one tomorrow. */
NODISCARD bool listen_check(const char *text, struct err **err);

/* Opens the listening sockets (non-blocking); returns how many, 0 on error. A taken port:
 * ERR_SYSTEM with code EADDRINUSE that names the program where /proc tells. The socket file of a
 * program that is gone is replaced; one that is in use, and other files, are not. Everybody may
 * connect to it, as to a port of the loopback interface. */
NODISCARD size_t listen_open(const char *text, int ret_fds[LISTEN_SOCKETS_MAX], struct err **err);
/* Removes the file of "unix:/path"; to be called while it is still open. */
void listen_remove_file(const char *text);

/* Whether a listening socket that somebody else opened is what `text` asks for: the same port, and
 * the same address or all addresses; or the same path. */
bool listen_is_at(const char *text, int fd);

/* The program that listens on a TCP port: "nginx (pid 123)" or "a program of user id 0", new
 * string; NULL when nobody is found. */
char *listen_holder(unsigned port);
