#include "pki/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/clock.h"
#include "pki/name.h"
#include "pki/openssl.h"

struct probe {
    struct address address;
    int fd;
    struct loop *loop;
    struct io *io;
    struct timer *timer; /* the deadline; or the next turn, when `err` is set at the start */
    int64_t started_ms;
    int64_t timeout_ms;
    bool connected;

    enum starttls starttls;
    struct prelude *prelude; /* before TLS; NULL: it is over, or there is none */
    struct buf out;          /* of the prelude, not sent yet */
    bool go;                 /* it is over as soon as `out` is sent */

    SSL_CTX *ctx;
    SSL *ssl;
    BIO_METHOD *method;
    int io_errno; /* of the last read or write that failed for good; 0 after an end of file */

    struct err *err;
    probe_fn *fn;
    void *userdata;
    bool called; /* inside the callback: probe_free there does nothing */
};

static void result_done(struct probe_result *r)
{
    chain_free(r->chain);
    free(r->staple);
}

static void probe_end(struct probe *p)
{
    timer_free(p->timer);
    if (p->io)
        io_free(p->io);
    if (p->fd >= 0)
        close(p->fd);
    prelude_free(p->prelude);
    buf_done(&p->out);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    BIO_meth_free(p->method);
    err_free(p->err);
    free(p);
}

/* The callback may free whatever it likes, the loop included: nothing of p that belongs to the loop
 * is left when it is called. */
static void report(struct probe *p, const struct probe_result *r, const struct err *e)
{
    timer_free(take(p->timer));
    if (p->io)
        io_free(take(p->io));
    close_p(&p->fd);
    p->fd = -1;
    p->called = true;
    p->fn(r, e, p->userdata);
    probe_end(p);
}

/* The socket as a BIO. OpenSSL's own writes with write(2), and a peer that closes would send us
 * SIGPIPE. */

static int on_bio_write(BIO *bio, const char *data, int len)
{
    struct probe *p = BIO_get_data(bio);
    ssize_t n = send(p->fd, data, (size_t)len, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    else if (n < 0)
        p->io_errno = errno;
    return (int)n;
}

static int on_bio_read(BIO *bio, char *data, int len)
{
    struct probe *p = BIO_get_data(bio);
    ssize_t n = recv(p->fd, data, (size_t)len, 0);

    BIO_clear_retry_flags(bio);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(bio);
    else if (n < 0)
        p->io_errno = errno;
    return (int)n;
}

static long on_bio_ctrl(BIO *bio, int command, long number, void *data)
{
    (void)bio;
    (void)number;
    (void)data;
    return command == BIO_CTRL_FLUSH;
}

static BIO *socket_bio(struct probe *p)
{
    p->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "probe");
    openssl_must(p->method && BIO_meth_set_write(p->method, on_bio_write) == 1 &&
                     BIO_meth_set_read(p->method, on_bio_read) == 1 &&
                     BIO_meth_set_ctrl(p->method, on_bio_ctrl) == 1,
                 "BIO_meth_new");
    BIO *bio = BIO_new(p->method);

    openssl_must(bio, "BIO_new");
    BIO_set_data(bio, p);
    BIO_set_init(bio, 1);
    return bio;
}

/* TLS
 * ---------------------------------------------------------------------------------------------- */

/* With which kinds of key the server may sign: TLS 1.3 looks at the signature algorithms only,
 * older versions at the cipher suites, too. Level 0: old servers and small keys are to be seen, not
 * refused. */
static void offer(SSL_CTX *ctx, enum probe_key key)
{
    static const struct {
        const char *ciphers;
        const char *sigalgs;
    } offers[] = {
        [PROBE_ANY] = {"DEFAULT:@SECLEVEL=0", NULL},
        [PROBE_ECDSA] = {"aECDSA:!eNULL:@SECLEVEL=0",
                         "ECDSA+SHA256:ECDSA+SHA384:ECDSA+SHA512:ECDSA+SHA1"},
        [PROBE_RSA] = {"aRSA:!eNULL:@SECLEVEL=0",
                       "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512:"
                       "RSA+SHA256:RSA+SHA384:RSA+SHA512:RSA+SHA1"},
    };

    openssl_must(SSL_CTX_set_cipher_list(ctx, offers[key].ciphers) == 1, "SSL_CTX_set_cipher_list");
    /* A copy, because the macro casts const away. */
    auto_free char *sigalgs = xstrdup(offers[key].sigalgs);
    if (sigalgs)
        openssl_must(SSL_CTX_set1_sigalgs_list(ctx, sigalgs) == 1, "SSL_CTX_set1_sigalgs_list");
}

/* One context per probe, without roots: making one costs less than the handshake, and nothing is
 * shared. Nothing is verified either: the proof is that the served leaf equals ours, and
 * chain_trust tells the rest. */
static void prepare_tls(struct probe *p, const char *sni, enum probe_key key)
{
    p->ctx = SSL_CTX_new(TLS_client_method());
    openssl_must(p->ctx && SSL_CTX_set_min_proto_version(p->ctx, 0) == 1, "SSL_CTX_new");
    SSL_CTX_set_verify(p->ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_options(p->ctx, SSL_OP_LEGACY_SERVER_CONNECT | SSL_OP_NO_TICKET);
    offer(p->ctx, key);

    p->ssl = SSL_new(p->ctx);
    openssl_must(p->ssl, "SSL_new");
    BIO *bio = socket_bio(p);

    SSL_set_bio(p->ssl, bio, bio);
    SSL_set_tlsext_status_type(p->ssl, TLSEXT_STATUSTYPE_ocsp);
    auto_free char *name = xstrdup(sni); /* as above */
    /* RFC 6066 3: no addresses in SNI. */
    if (sni && sni[0] && strlen(sni) <= TLSEXT_MAXLEN_host_name && name_type(sni) == NAME_DNS)
        openssl_must(SSL_set_tlsext_host_name(p->ssl, name) == 1, "SSL_set_tlsext_host_name");
}

static bool collect_chain(struct probe *p, struct probe_result *r, struct err **err)
{
    STACK_OF(X509) *peer = SSL_get_peer_cert_chain(p->ssl);
    int n = sk_X509_num(peer);

    r->chain = xcalloc(1, sizeof(*r->chain));
    /* Some servers send a whole CA bundle; more than the maximum tells nothing new. */
    for (int i = 0; i < n && i < CHAIN_CERTS_MAX; i++) {
        auto_openssl unsigned char *der = NULL;
        int len = i2d_X509(sk_X509_value(peer, i), &der);
        struct cert *cert = len > 0 ? cert_from_der(der, (size_t)len, err) : NULL;

        if (!cert)
            return err_wrap(err, "certificate %d", i + 1);
        chain_add(r->chain, cert);
    }
    if (r->chain->n == 0)
        return err_set(err, ERR_TRANSIENT, "the server sent no certificate");
    return true;
}

static bool collect(struct probe *p, struct probe_result *r, struct err **err)
{
    const unsigned char *staple;
    long staple_len = SSL_get_tlsext_status_ocsp_resp(p->ssl, &staple);

    if (!collect_chain(p, r, err))
        return false;
    if (staple_len > 0) {
        r->staple = xmemdup(staple, (size_t)staple_len);
        r->staple_len = (size_t)staple_len;
    }
    snprintf(r->version, sizeof(r->version), "%s", SSL_get_version(p->ssl));
    snprintf(r->cipher, sizeof(r->cipher), "%s", SSL_get_cipher_name(p->ssl));
    r->handshake_ms = clock_boot_ms() - p->started_ms;
    return true;
}

static void succeed(struct probe *p)
{
    auto_err struct err *err = NULL;
    struct probe_result r = {0};
    bool ok = collect(p, &r, &err);

    if (!ok) {
        err_wrap(&err, "%s", p->address.text);
        err->kind = ERR_TRANSIENT;
    }
    SSL_shutdown(p->ssl); /* a close_notify if it fits; nobody waits for the answer */
    ERR_clear_error();
    report(p, ok ? &r : NULL, err);
    result_done(&r);
}

static void fail(struct probe *p, struct err **e)
{
    auto_err struct err *err = take(*e);

    ERR_clear_error();
    report(p, NULL, err);
}

static void fail_errno(struct probe *p, int errnum)
{
    struct err *err = NULL;

    err_set_errno(&err, errnum, "%s", p->address.text);
    err->kind = ERR_TRANSIENT;
    fail(p, &err);
}

/* A server that wants a certificate of the client refuses us up to TLS 1.2 only after it has shown
 * its own and signed with it: that is all we came for. (In TLS 1.3 its refusal comes after our
 * end.) */
static bool has_seen_everything(const struct probe *p)
{
    return SSL_get_state(p->ssl) == TLS_ST_CW_FINISHED;
}

static void fail_tls(struct probe *p, int error)
{
    struct err *err = NULL;

    if (error == SSL_ERROR_SSL)
        err_from_openssl(&err, ERR_TRANSIENT, "%s: TLS handshake", p->address.text);
    else if (p->io_errno)
        err_set(&err, ERR_TRANSIENT, "%s: TLS handshake: %s", p->address.text,
                strerror(p->io_errno));
    else
        err_set(&err, ERR_TRANSIENT, "%s: the server closed the connection during the handshake",
                p->address.text);
    fail(p, &err);
}

static void step_handshake(struct probe *p)
{
    ERR_clear_error();
    int rc = SSL_connect(p->ssl);
    int error = SSL_get_error(p->ssl, rc);

    if (rc == 1)
        succeed(p);
    else if (error == SSL_ERROR_WANT_READ)
        io_set(p->io, EPOLLIN);
    else if (error == SSL_ERROR_WANT_WRITE)
        io_set(p->io, EPOLLOUT);
    else if (has_seen_everything(p))
        succeed(p);
    else
        fail_tls(p, error);
}

/* STARTTLS
 * ----------------------------------------------------------------------------------------- */

/* 1: all is sent, 0: the socket takes no more now, -1: failed, the probe is gone. */
static int send_out(struct probe *p)
{
    ssize_t n = send(p->fd, p->out.data, p->out.len, MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        fail_errno(p, errno);
        return -1;
    }
    if (n > 0) {
        p->out.len -= (size_t)n;
        memmove(p->out.data, p->out.data + n, p->out.len + 1); /* its NUL, too */
    }
    return p->out.len == 0;
}

static void fail_prelude(struct probe *p, struct err **e)
{
    err_wrap(e, "%s: %s", p->address.text, starttls_names[p->starttls]);
    fail(p, e);
}

/* One read per turn of the loop: whoever talks without end does not get the loop for it. */
static bool listen_once(struct probe *p)
{
    char data[STARTTLS_MESSAGE_MAX];
    struct err *err = NULL;
    ssize_t n = recv(p->fd, data, sizeof(data), 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n < 0) {
        fail_errno(p, errno);
        return false;
    }
    if (n == 0)
        err_set(&err, ERR_TRANSIENT, "the server closed the connection before TLS");
    enum starttls_turn turn =
        n == 0 ? STARTTLS_FAILED : prelude_take(p->prelude, data, (size_t)n, &p->out, &err);
    if (turn == STARTTLS_FAILED) {
        fail_prelude(p, &err);
        return false;
    }
    p->go = turn == STARTTLS_GO;
    return true;
}

/* What comes between the go-ahead and our first TLS record goes to OpenSSL, which takes it for
 * records: plain text ends the handshake, it is never read as an answer. */
static void step_prelude(struct probe *p, uint32_t events)
{
    if (p->out.len == 0 && (events & ~(uint32_t)EPOLLOUT) && !listen_once(p))
        return;
    int sent = p->out.len > 0 ? send_out(p) : 1;

    if (sent > 0 && p->go) {
        prelude_free(take(p->prelude));
        step_handshake(p);
    } else if (sent >= 0) {
        io_set(p->io, sent ? EPOLLIN : EPOLLOUT);
    }
}

/* Socket
 * ------------------------------------------------------------------------------------------- */

static void on_io(struct io *io, uint32_t events, void *userdata)
{
    struct probe *p = userdata;

    (void)io;
    if (!p->connected) {
        int errnum = 0;
        socklen_t len = sizeof(errnum);

        if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0)
            errnum = errno;
        if (errnum) {
            fail_errno(p, errnum);
            return;
        }
        p->connected = true;
    }
    if (p->prelude)
        step_prelude(p, events);
    else
        step_handshake(p);
}

static void on_deadline(void *userdata)
{
    struct probe *p = userdata;
    struct err *err = NULL;
    const char *what = "the TLS handshake did not finish";

    if (!p->connected)
        what = "no connection";
    else if (p->prelude)
        what = "the server did not come to TLS";
    err_set(&err, ERR_TRANSIENT, "%s: %s within %lld ms", p->address.text, what,
            (long long)p->timeout_ms);
    if (!p->connected)
        err->code = ETIMEDOUT;
    fail(p, &err);
}

static void on_failed_start(void *userdata)
{
    struct probe *p = userdata;
    struct err *err = take(p->err);

    fail(p, &err);
}

static bool start_connect(struct probe *p, struct err **err)
{
    const struct sockaddr *addr = (const struct sockaddr *)&p->address.addr;

    p->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || (connect(p->fd, addr, p->address.len) < 0 && errno != EINPROGRESS))
        return err_set_errno(err, errno, "%s", p->address.text);
    p->io = io_new(p->loop, p->fd, EPOLLOUT, on_io, p, err);
    return p->io != NULL;
}

struct probe *probe_start(struct loop *l, const struct address *address,
                          const struct probe_spec *spec, probe_fn *fn, void *userdata)
{
    struct probe *p = xcalloc(1, sizeof(*p));

    *p = (struct probe){.address = *address,
                        .fd = -1,
                        .loop = l,
                        .started_ms = clock_boot_ms(),
                        .timeout_ms = spec->timeout_ms,
                        .starttls = spec->starttls,
                        .fn = fn,
                        .userdata = userdata};
    buf_init(&p->out, STARTTLS_MESSAGE_MAX);
    if (start_connect(p, &p->err)) {
        prepare_tls(p, spec->sni, spec->key);
        if (p->starttls != STARTTLS_OFF)
            p->prelude = prelude_new(p->starttls, spec->sni, &p->out);
        p->timer = timer_after(l, p->timeout_ms, on_deadline, p);
    } else {
        p->err->kind = ERR_TRANSIENT;
        p->timer = timer_after(l, 0, on_failed_start, p);
    }
    return p;
}

void probe_free(struct probe *p)
{
    if (p && !p->called)
        probe_end(p);
}
