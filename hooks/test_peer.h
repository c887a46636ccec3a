/* A scripted peer at a socket: for each connection it waits for the end of the request, writes it
 * down and gives the next answer. */
#pragma once

#include "hooks/test_hooks.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

struct test_answer {
    const char *until; /* the request ends with it; NULL: nothing is read */
    const char *text;  /* NULL: silence for ever */
    size_t len;        /* 0: of the text */
    bool stay;         /* the connection stays open behind the answer */
    bool endless;      /* again and again */
};

static inline void test_peer_one(int fd, const struct test_answer *a, const char *log)
{
    char request[65536];
    size_t len = 0;

    request[0] = '\0';
    while (a->until && len < sizeof(request) - 1 &&
           (len < strlen(a->until) || strcmp(request + len - strlen(a->until), a->until) != 0)) {
        ssize_t n = read(fd, request + len, sizeof(request) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        request[len] = '\0';
    }
    int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)!write(out, request, len);
    (void)!write(out, "|", 1);
    close(out);
    do {
        if (a->text && write(fd, a->text, a->len ? a->len : strlen(a->text)) < 0)
            break;
    } while (a->endless);
    if (!a->text || a->stay)
        pause();
    close(fd);
}

static inline void test_peer_run(struct test_hooks *t, int listener,
                                 const struct test_answer *answers, size_t n)
{
    const char *log = test_path(t, "requests");

    t->child = fork();
    if (t->child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        for (size_t i = 0; i < n; i++)
            test_peer_one(accept(listener, NULL, NULL), &answers[i], log);
        close(listener);
        for (;;)
            pause();
    }
    close(listener);
}

/* At the socket "sock" in the test's folder. */
static inline const char *test_peer(struct test_hooks *t, const struct test_answer *answers,
                                    size_t n)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *path = test_path(t, "sock");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    test_peer_run(t, fd, answers, n);
    return path;
}

/* On loopback; gives the port. */
static inline uint16_t test_peer_tcp(struct test_hooks *t, const struct test_answer *answers,
                                     size_t n)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    test_peer_run(t, fd, answers, n);
    return ntohs(a.sin_port);
}

/* All requests so far, "|" behind each; caller frees. */
static inline char *test_peer_requests(struct test_hooks *t)
{
    char *text = test_read(test_path(t, "requests"));

    return text ? text : xstrdup("");
}
