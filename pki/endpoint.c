#include "pki/endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define HOST_MAX      253
#define ADDRESSES_MAX 16

void endpoint_done(struct endpoint *e)
{
    set_string(&e->host, NULL);
    set_string(&e->port, NULL);
    set_string(&e->path, NULL);
}

static bool parse_unix(const char *text, const char *path, struct endpoint *ret, struct err **err)
{
    if (path[0] != '/')
        return err_set(err, ERR_CONFIG, "\"%s\": the path of a socket begins with /", text);
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return err_set(err, ERR_CONFIG, "\"%s\": the path of a socket has at most %zu characters",
                       text, sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
    *ret = (struct endpoint){.path = xstrdup(path)};
    return true;
}

static bool check_port(const char *text, const char *port, struct err **err)
{
    size_t len = strlen(port);
    bool number = len >= 1 && len <= 5 && strspn(port, "0123456789") == len;
    long n = number ? strtol(port, NULL, 10) : 0;

    if (n < 1 || n > 65535) {
        err_set(err, ERR_CONFIG, "\"%s\" has no port from 1 to 65535", text);
        return err_hint(err, "write HOST:PORT, [IPv6]:PORT or unix:/PATH");
    }
    return true;
}

/* In brackets: an IPv6 address, maybe with a zone. Else what a resolver may know: also names of one
 * label and with underscores, as containers have them. */
static bool check_host(const char *text, const char *host, bool bracketed, struct err **err)
{
    static const char name_chars[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    unsigned char octets[16];

    if (bracketed) {
        auto_free char *address = xstrndup(host, strcspn(host, "%"));

        if (inet_pton(AF_INET6, address, octets) != 1)
            return err_set(err, ERR_CONFIG, "\"%s\": no IPv6 address in the brackets", text);
        return true;
    }
    if (strchr(host, ':')) {
        err_set(err, ERR_CONFIG, "\"%s\": where does the address end and the port begin?", text);
        return err_hint(err, "write IPv6 addresses in brackets: [::1]:443");
    }
    if (host[0] == '\0' || strlen(host) > HOST_MAX || host[strspn(host, name_chars)] != '\0')
        return err_set(err, ERR_CONFIG, "\"%s\": no host name or address before the port", text);
    return true;
}

bool endpoint_parse(const char *text, struct endpoint *ret, struct err **err)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(text, text + 5, ret, err);

    bool bracketed = text[0] == '[';
    const char *bracket = bracketed ? strchr(text, ']') : NULL;
    const char *colon = bracketed ? (bracket ? bracket + 1 : NULL) : strrchr(text, ':');

    if (!colon || *colon != ':')
        return check_port(text, "", err);

    size_t host_len = (size_t)(colon - text) - (bracketed ? 2 : 0);
    auto_free char *host = xstrndup(text + bracketed, host_len);

    if (!check_host(text, host, bracketed, err) || !check_port(text, colon + 1, err))
        return false;
    *ret = (struct endpoint){.host = take(host), .port = xstrdup(colon + 1)};
    return true;
}

/* Resolving
 * ---------------------------------------------------------------------------------------- */

struct resolve {
    struct job *job;
    struct endpoint endpoint;
    resolve_fn *fn;
    void *userdata;
    bool called;

    struct address addresses[ADDRESSES_MAX]; /* the result */
    size_t n;
    struct err *err;
};

static void resolve_end(struct resolve *r)
{
    endpoint_done(&r->endpoint);
    err_free(r->err);
    free(r);
}

static void add_address(struct resolve *r, const struct sockaddr *addr, socklen_t len)
{
    struct address *a = &r->addresses[r->n];
    char host[INET6_ADDRSTRLEN + 32], port[8];

    if (r->n == ADDRESSES_MAX || len > sizeof(a->addr))
        return;
    if (getnameinfo(addr, len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    *a = (struct address){.len = len};
    memcpy(&a->addr, addr, len);
    snprintf(a->text, sizeof(a->text), addr->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host,
             port);
    for (size_t i = 0; i < r->n; i++) {
        if (strcmp(r->addresses[i].text, a->text) == 0) /* hosts files may name one twice */
            return;
    }
    r->n++;
}

static void resolve_unix(struct resolve *r)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct address *a = &r->addresses[r->n++];

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", r->endpoint.path);
    memcpy(&a->addr, &addr, sizeof(addr));
    a->len = sizeof(addr);
    snprintf(a->text, sizeof(a->text), "unix:%s", r->endpoint.path);
}

/* No AI_ADDRCONFIG: it hides ::1 on a machine whose only IPv6 address is that one. */
static void resolve_name(struct resolve *r)
{
    const struct endpoint *e = &r->endpoint;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    int rc = getaddrinfo(e->host, e->port, &hints, &list);

    if (rc != 0) {
        int errnum = rc == EAI_SYSTEM ? errno : 0;

        err_set(&r->err, ERR_TRANSIENT, "finding the addresses of %s: %s", e->host,
                errnum ? strerror(errnum) : gai_strerror(rc));
        r->err->code = errnum;
        return;
    }
    for (const struct addrinfo *ai = list; ai; ai = ai->ai_next)
        add_address(r, ai->ai_addr, ai->ai_addrlen);
    freeaddrinfo(list);
    if (r->n == 0)
        err_set(&r->err, ERR_TRANSIENT, "%s has no address", e->host);
}

static void run_resolve(void *task)
{
    struct resolve *r = task;

    if (r->endpoint.path)
        resolve_unix(r);
    else
        resolve_name(r);
}

static void on_resolved(void *task)
{
    struct resolve *r = task;

    r->called = true;
    r->fn(r->err ? NULL : r->addresses, r->err ? 0 : r->n, r->err, r->userdata);
    resolve_end(r);
}

static void drop_resolve(void *task)
{
    resolve_end(task);
}

struct resolve *resolve_start(struct worker *w, const struct endpoint *e, resolve_fn *fn,
                              void *userdata)
{
    struct resolve *r = xcalloc(1, sizeof(*r));

    *r = (struct resolve){
        .endpoint = {.host = xstrdup(e->host), .port = xstrdup(e->port), .path = xstrdup(e->path)},
        .fn = fn,
        .userdata = userdata};
    r->job = job_start(w, run_resolve, on_resolved, drop_resolve, r);
    return r;
}

void resolve_free(struct resolve *r)
{
    if (r && !r->called)
        job_free(r->job);
}
