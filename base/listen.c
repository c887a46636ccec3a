#include "base/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define FORMS                                                                                      \
    "write \":80\", \"192.0.2.1:80\", \"[2001:db8::1]:80\", \"localhost:80\" or \"unix:/path\""

struct place {
    struct sockaddr_storage addr;
    socklen_t len;
};

struct places {
    struct place items[LISTEN_SOCKETS_MAX];
    size_t n;
    unsigned port; /* 0: unix */
};

static bool bad_text(struct err **err, const char *text, const char *why)
{
    err_set(err, ERR_CONFIG, "\"%s\" is no address to listen on: %s", text, why);
    return err_hint(err, FORMS);
}

static bool parse_unix(const char *text, const char *path, struct places *ret, struct err **err)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    if (path[0] != '/')
        return bad_text(err, text, "the path of the socket must begin with /");
    if (strlen(path) >= sizeof(addr.sun_path))
        return bad_text(err, text, "the path of a socket has at most 107 bytes");
    memcpy(addr.sun_path, path, strlen(path));
    memcpy(&ret->items[0].addr, &addr, sizeof(addr));
    ret->items[0].len = sizeof(addr);
    ret->n = 1;
    return true;
}

/* Numeric addresses only: nothing is looked up, nothing blocks. */
static bool add_address(struct places *ret, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;

    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    struct place *p = &ret->items[ret->n++];
    p->len = found->ai_addrlen;
    memcpy(&p->addr, found->ai_addr, p->len);
    freeaddrinfo(found);
    return true;
}

static bool parse_port(const char *text, unsigned *ret)
{
    unsigned port = 0;

    if (!*text || strlen(text) > 5 || text[strspn(text, "0123456789")])
        return false;
    for (; *text; text++)
        port = port * 10 + (unsigned)(*text - '0');
    *ret = port;
    return port >= 1 && port <= 65535;
}

static bool parse_host(const char *text, char *host, const char *port, struct places *ret,
                       struct err **err)
{
    size_t len = strlen(host);
    struct in_addr v4;

    if (len > 0 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        return (strchr(host, ':') && add_address(ret, host + 1, port)) ||
               bad_text(err, text, "between the brackets is no IPv6 address");
    }
    if (strchr(host, ':'))
        return bad_text(err, text, "an IPv6 address stands in brackets");
    if (len == 0)
        return (add_address(ret, "0.0.0.0", port) && add_address(ret, "::", port)) ||
               bad_text(err, text, "it is not understood");
    if (strcmp(host, "localhost") == 0)
        return (add_address(ret, "127.0.0.1", port) && add_address(ret, "::1", port)) ||
               bad_text(err, text, "it is not understood");
    /* getaddrinfo() would take "10.1" and "012" as well. */
    return (inet_pton(AF_INET, host, &v4) == 1 && add_address(ret, host, port)) ||
           bad_text(err, text, "before the port stands no address of this machine");
}

static bool parse(const char *text, struct places *ret, struct err **err)
{
    const char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');

    *ret = (struct places){0};
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text, text + 5, ret, err);
    if (!colon || (bracket && colon < bracket))
        return bad_text(err, text, "the port is missing");
    if (!parse_port(colon + 1, &ret->port))
        return bad_text(err, text, "a port is a number from 1 to 65535");
    auto_free char *host = xstrndup(text, (size_t)(colon - text));
    return parse_host(text, host, colon + 1, ret, err);
}

bool listen_check(const char *text, struct err **err)
{
    struct places places;

    return parse(text, &places, err);
}

/* Port and, unless it is the wildcard, address in network order; false for other families. */
static bool inet_place(const struct sockaddr_storage *addr, in_port_t *ret_port, bool *ret_any)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (addr->ss_family == AF_INET) {
        memcpy(&v4, addr, sizeof(v4));
        *ret_port = v4.sin_port;
        *ret_any = v4.sin_addr.s_addr == htonl(INADDR_ANY);
        return true;
    }
    if (addr->ss_family != AF_INET6)
        return false;
    memcpy(&v6, addr, sizeof(v6));
    *ret_port = v6.sin6_port;
    *ret_any = IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr);
    return true;
}

static bool is_same_place(const struct place *wanted, const struct sockaddr_storage *have)
{
    in_port_t wanted_port, have_port;
    bool wanted_any, have_any;

    if (wanted->addr.ss_family == AF_UNIX)
        return have->ss_family == AF_UNIX && memcmp(&wanted->addr, have, wanted->len) == 0;
    return inet_place(&wanted->addr, &wanted_port, &wanted_any) &&
           inet_place(have, &have_port, &have_any) && wanted_port == have_port &&
           (wanted_any || have_any || memcmp(&wanted->addr, have, wanted->len) == 0);
}

bool listen_is_at(const char *text, int fd)
{
    struct sockaddr_storage have = {0};
    socklen_t len = sizeof(have);
    struct places places;

    if (!parse(text, &places, NULL) || getsockname(fd, (struct sockaddr *)&have, &len) < 0)
        return false;
    for (size_t i = 0; i < places.n; i++) {
        if (is_same_place(&places.items[i], &have))
            return true;
    }
    return false;
}

/* Whether somebody answers at the path of a socket. */
static bool is_alive(const struct place *p)
{
    auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 || connect(fd, (const struct sockaddr *)&p->addr, p->len) == 0 ||
           errno != ECONNREFUSED; /* EAGAIN: it has a queue, so it lives */
}

static bool remove_stale(const struct place *p, const char *text, struct err **err)
{
    const char *path = text + strlen("unix:");
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT || err_set_errno(err, errno, "no listener on %s", text);
    if (!S_ISSOCK(st.st_mode))
        return err_set_errno(err, EADDRINUSE,
                             "no listener on %s: a file that is no socket is there", text);
    if (is_alive(p))
        return err_set_errno(err, EADDRINUSE, "no listener on %s: another program listens there",
                             text);
    return unlink(path) == 0 || errno == ENOENT ||
           err_set_errno(err, errno, "the old socket %s cannot be removed", path);
}

static int open_socket(const struct place *p)
{
    int family = p->addr.ss_family, on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    /* Connections of an earlier listener may linger; each family has a socket of its own. */
    if (family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&p->addr, p->len) == 0 &&
        (family != AF_UNIX ||
         chmod(((const struct sockaddr_un *)&p->addr)->sun_path, 0666) == 0) && /* before listen */
        listen(fd, SOMAXCONN) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static bool not_opened(const char *text, unsigned port, int errnum, struct err **err)
{
    auto_free char *holder = errnum == EADDRINUSE && port ? listen_holder(port) : NULL;

    if (holder)
        return err_set_errno(err, errnum, "no listener on %s: port %u is taken by %s", text, port,
                             holder);
    err_set_errno(err, errnum, "no listener on %s", text);
    if (errnum == EADDRINUSE)
        return err_hint(err, "`ss -ltnp`, as root, names the program that has the port");
    if (errnum == EACCES)
        return err_hint(err, port ? "ports below 1024 need CAP_NET_BIND_SERVICE"
                                  : "the agent's user must be able to write to that folder");
    return false;
}

/* A pair may lack the family that this machine does not have. */
static bool is_optional(const struct places *places, int errnum)
{
    return places->n > 1 && (errnum == EAFNOSUPPORT || errnum == EADDRNOTAVAIL);
}

size_t listen_open(const char *text, int ret_fds[LISTEN_SOCKETS_MAX], struct err **err)
{
    struct places places;
    int last = 0;
    size_t n = 0;

    if (!parse(text, &places, err) ||
        (places.port == 0 && !remove_stale(&places.items[0], text, err)))
        return 0;
    for (size_t i = 0; i < places.n; i++) {
        int fd = open_socket(&places.items[i]);
        last = errno;
        if (fd >= 0) {
            ret_fds[n++] = fd;
        } else if (!is_optional(&places, last)) {
            while (n > 0)
                close(ret_fds[--n]);
            break;
        }
    }
    if (n == 0)
        not_opened(text, places.port, last, err);
    return n;
}

void listen_remove_file(const char *text)
{
    if (strncmp(text, "unix:", 5) == 0)
        unlink(text + 5);
}
