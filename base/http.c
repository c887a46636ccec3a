/* A transfer that ended leaves curl at once and waits in `over`, from where one per turn of the
 * loop is reported: no callback runs inside curl, so each may free what it likes. */
#include "base/http.h"

#include <assert.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/http_failure.h"
#include "base/http_header.h"
#include "base/http_multi.h"
#include "base/http_proxy.h"

#define HEADERS_MAX    65536
#define CONNECT_MS_MAX 10000
#define KEEP_MS        60000
#define KEEPALIVE_S    30L
#define ROOTS_S        600L /* until a file of roots is read again */
#define TIMEOUT_MS_MAX 86400000

struct http {
    struct loop *loop;
    struct http_multi *multi; /* NULL before the first request and after a minute of silence */
    bool global;              /* curl_global_init was called */
    struct timer *turn;       /* the next of `over` */
    struct timer *silence;    /* no calls: close the connections */
    struct http_call *running;
    struct http_call *over, **over_end;
};

struct http_call {
    struct http *http;
    struct http_call *next, **at; /* in `running` or `over` */
    http_fn *fn;
    void *userdata;
    CURL *easy;
    struct curl_slist *headers;
    char *peer, *proxy, *ca_file; /* "host:port"; proxy: NULL when there is none */
    char detail[CURL_ERROR_SIZE];
    int64_t begun_ms;
    size_t header_bytes;
    bool whole; /* the empty line behind the headers was seen */
    bool too_large, called;
    CURLcode code;
    struct err *err; /* of a request that was never sent */
    struct http_reply reply;
    struct buf body;
};

/* Lists of calls
 * ----------------------------------------------------------------------------------- */

static void call_link(struct http_call *c, struct http_call **at)
{
    c->next = *at;
    c->at = at;
    if (c->next)
        c->next->at = &c->next;
    *at = c;
}

static void call_unlink(struct http_call *c)
{
    if (c->http->over_end == &c->next)
        c->http->over_end = c->at;
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
}

static void call_end(struct http_call *c)
{
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    buf_done(&c->body);
    strv_done(&c->reply.headers);
    err_free(c->err);
    free(c->peer);
    free(c->proxy);
    free(c->ca_file);
    free(c);
}

static void on_turn(void *userdata);

static void call_over(struct http_call *c)
{
    struct http *h = c->http;

    call_link(c, h->over_end);
    h->over_end = &c->next;
    if (!h->turn)
        h->turn = timer_after(h->loop, 0, on_turn, h);
}

/* The end of a call
 * -------------------------------------------------------------------------------- */

static enum http_failure_kind failure_kind(const struct http_call *c)
{
    switch ((int)c->code) {
    case CURLE_URL_MALFORMAT:
        return HTTP_BAD_URL;
    case CURLE_COULDNT_RESOLVE_PROXY:
        return HTTP_NO_PROXY_ADDRESS;
    case CURLE_COULDNT_RESOLVE_HOST:
        return HTTP_NO_ADDRESS;
    case CURLE_COULDNT_CONNECT:
        return HTTP_NOT_CONNECTED;
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_TIMED_OUT;
    case CURLE_SSL_CONNECT_ERROR:
        return HTTP_NO_TLS;
    case CURLE_PEER_FAILED_VERIFICATION:
        return HTTP_NOT_TRUSTED;
    case CURLE_SSL_CACERT_BADFILE:
        return HTTP_NO_ROOTS;
    default:
        return c->too_large ? HTTP_TOO_LARGE : HTTP_OTHER;
    }
}

static bool call_failed(const struct http_call *c, struct err **err)
{
    bool headers = c->header_bytes > HEADERS_MAX;
    struct http_failure f = {
        .kind = failure_kind(c),
        .peer = c->peer,
        .proxy = c->proxy,
        .ca_file = c->ca_file,
        .detail = c->detail[0] ? c->detail : curl_easy_strerror(c->code),
        .max = headers ? HEADERS_MAX : c->body.max,
    };
    long errnum = 0;

    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &errnum);
    curl_easy_getinfo(c->easy, CURLINFO_SSL_VERIFYRESULT, &f.verdict);
    f.errnum = (int)errnum;
    return http_failure_set(err, &f);
}

static void call_report(struct http_call *c)
{
    auto_err struct err *e = take(c->err);
    struct http_reply *r = &c->reply;

    if (c->code == CURLE_OK && !c->whole) /* curl takes an end within the headers for their end */
        c->code = CURLE_GOT_NOTHING;
    if (!e && c->code != CURLE_OK) {
        call_failed(c, &e);
    } else if (!e) {
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &r->status);
        r->body = c->body.data;
        r->body_len = c->body.len;
        const char *date = http_header(r, "date");
        if (date && !clock_parse_http_date(date, &r->date))
            r->date = 0;
    }
    r->took_ms = clock_boot_ms() - c->begun_ms;
    curl_easy_cleanup(take(c->easy));
    c->called = true;
    c->fn(e ? NULL : r, e, c->userdata);
    call_end(c);
}

static void on_silence(void *userdata)
{
    struct http *h = userdata;

    timer_free(take(h->silence));
    http_multi_free(take(h->multi));
}

static void http_rest(struct http *h)
{
    if (h->multi && !h->running && !h->over && !h->silence)
        h->silence = timer_after(h->loop, KEEP_MS, on_silence, h);
}

static void on_turn(void *userdata)
{
    struct http *h = userdata;
    struct http_call *c = h->over;

    timer_free(take(h->turn));
    if (!c)
        return;
    call_unlink(c);
    if (h->over)
        h->turn = timer_after(h->loop, 0, on_turn, h);
    http_rest(h);
    call_report(c); /* may free h */
}

/* What arrives
 * ---- */

static size_t on_body(char *data, size_t size, size_t n, void *userdata)
{
    struct http_call *c = userdata;

    if (buf_add(&c->body, data, size * n))
        return size * n;
    c->too_large = true;
    return 0; /* CURLE_WRITE_ERROR */
}

static size_t on_header(char *line, size_t size, size_t n, void *userdata)
{
    struct http_call *c = userdata;

    c->header_bytes += size * n;
    c->too_large = c->header_bytes > HEADERS_MAX;
    if (c->too_large)
        return 0;
    c->whole = size * n <= 2 || (c->whole && strncmp(line, "HTTP/", 5) != 0);
    http_header_line(&c->reply.headers, line, size * n);
    return size * n;
}

/* Requests
 * ----------------------------------------------------------------------------------------- */

static bool curl_must(CURLcode code, struct err **err)
{
    return code == CURLE_OK || err_set(err, ERR_BUG, "libcurl: %s", curl_easy_strerror(code));
}

static char *url_part(CURLU *u, CURLUPart part)
{
    char *text = NULL;

    if (curl_url_get(u, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK)
        return xstrdup("");
    char *copy = xstrdup(text);
    curl_free(text);
    return copy;
}

/* "host:port", of a proxy's URL without the password. */
static char *url_peer(CURLU *u)
{
    auto_free char *host = url_part(u, CURLUPART_HOST), *port = url_part(u, CURLUPART_PORT);

    return xasprintf("%s%s%s", host, *port ? ":" : "", port);
}

static char *proxy_peer(const char *proxy)
{
    CURLU *u = curl_url();
    bool ok = u && curl_url_set(u, CURLUPART_URL, proxy,
                                CURLU_DEFAULT_SCHEME | CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK;
    char *peer = ok ? url_peer(u) : xstrdup("of the environment");

    curl_url_cleanup(u);
    return peer;
}

static bool call_check_url(struct http_call *c, const struct http_request *r,
                           const char **ret_proxy, struct err **err)
{
    CURLU *u = curl_url();
    CURLUcode code =
        u ? curl_url_set(u, CURLUPART_URL, r->url, CURLU_DISALLOW_USER) : CURLUE_OUT_OF_MEMORY;
    auto_free char *scheme = url_part(u, CURLUPART_SCHEME), *host = url_part(u, CURLUPART_HOST);

    c->peer = r->socket ? xstrdup(r->socket) : url_peer(u);
    curl_url_cleanup(u);
    if (code != CURLUE_OK) {
        err_set(err, ERR_CONFIG, "%s is no URL that can be used: %s", r->url,
                curl_url_strerror(code));
        return err_hint(err, "a URL is like https://ca.example.org/directory");
    }
    if (strcmp(scheme, "https") != 0 && !(r->allow_http && strcmp(scheme, "http") == 0))
        return err_set(err, ERR_CONFIG, "%s is not an https URL", r->url);
    *ret_proxy = r->direct || r->socket ? NULL : http_proxy_chosen(r->proxy, scheme, host);
    if (*ret_proxy)
        c->proxy = proxy_peer(*ret_proxy);
    return true;
}

/* Sets an option while all is well; `code` and `c` are the caller's. */
#define SET(option, value)                                                                         \
    do {                                                                                           \
        if (code == CURLE_OK)                                                                      \
            code = curl_easy_setopt(c->easy, option, value);                                       \
    } while (0)

/* Whom we talk to, and how far we trust. */
static CURLcode call_set_peer(struct http_call *c, const struct http_request *r, const char *proxy)
{
    CURLcode code = CURLE_OK;

    SET(CURLOPT_URL, r->url);
    SET(CURLOPT_PROTOCOLS_STR, r->allow_http ? "https,http" : "https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (r->ca_file) /* the system's roots are not even read */
        SET(CURLOPT_CAINFO, r->ca_file);
    /* libcurl keeps parsed roots for the next connection only when they come from a file alone. */
    if (r->ca_file || curl_version_info(CURLVERSION_NOW)->cainfo)
        SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CA_CACHE_TIMEOUT, ROOTS_S);
    if (r->socket)
        SET(CURLOPT_UNIX_SOCKET_PATH, r->socket);
    SET(CURLOPT_PROXY, proxy ? proxy : ""); /* "" keeps curl from looking for itself */
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_FRESH_CONNECT, r->fresh ? 1L : 0L);
    SET(CURLOPT_PIPEWAIT, 1L); /* rather wait for the connection to be shared than make another */
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
    SET(CURLOPT_TCP_KEEPINTVL, KEEPALIVE_S / 3);
    return code;
}

static CURLcode call_set_limits(struct http_call *c, const struct http_request *r)
{
    int64_t at_most = r->timeout_ms < TIMEOUT_MS_MAX ? r->timeout_ms : TIMEOUT_MS_MAX;
    int64_t timeout = at_most > 0 ? at_most : 1; /* curl takes 0 for no limit */
    int64_t connect = timeout / 3 < CONNECT_MS_MAX ? timeout / 3 : CONNECT_MS_MAX;
    int64_t slow_s = timeout / 2000;
    CURLcode code = CURLE_OK;

    SET(CURLOPT_TIMEOUT_MS, (long)timeout);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(connect > 0 ? connect : 1)); /* 0 means 300 s */
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, (long)(slow_s > 0 ? slow_s : 1));
    SET(CURLOPT_NOSIGNAL, 1L);
    /* Or an end while a name is looked up would wait for the resolver's thread, on the loop. */
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_ERRORBUFFER, c->detail);
    SET(CURLOPT_PRIVATE, c);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, c);
    return code;
}

static void call_add_header(struct http_call *c, const char *header)
{
    struct curl_slist *longer = curl_slist_append(c->headers, header);

    if (longer)
        c->headers = longer;
}

static CURLcode call_set_message(struct http_call *c, const struct http_request *r)
{
    auto_free char *agent = xasprintf("everleaf/" EVERLEAF_VERSION " libcurl/%s",
                                      curl_version_info(CURLVERSION_NOW)->version);
    bool put = strcmp(r->method, "PUT") == 0, post = put || strcmp(r->method, "POST") == 0,
         head = strcmp(r->method, "HEAD") == 0, typed = false, hosted = !r->socket;
    CURLcode code = CURLE_OK;

    assert(post || head || strcmp(r->method, "GET") == 0);
    SET(CURLOPT_USERAGENT, agent);
    call_add_header(c, "Accept-Language: en");
    for (size_t i = 0; r->headers && r->headers[i]; i++) {
        call_add_header(c, r->headers[i]);
        typed = typed || strncasecmp(r->headers[i], "content-type:", 13) == 0;
        hosted = hosted || strncasecmp(r->headers[i], "host:", 5) == 0;
    }
    if (!hosted)
        call_add_header(c, "Host;"); /* RFC 9112 3.2: no host, no value; Caddy insists */
    if (post) {
        call_add_header(c, "Expect:"); /* curl's own additions, taken away */
        if (!typed)
            call_add_header(c, "Content-Type:");
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_len);
        SET(CURLOPT_COPYPOSTFIELDS, r->body ? r->body : "");
    }
    if (put) /* but for its name it is the same */
        SET(CURLOPT_CUSTOMREQUEST, "PUT");
    if (head)
        SET(CURLOPT_NOBODY, 1L);
    SET(CURLOPT_HTTPHEADER, c->headers);
    return code;
}

static void on_ended(void *easy, int code, void *userdata)
{
    struct http_call *c = NULL;

    (void)userdata;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &c);
    call_unlink(c);
    c->code = (CURLcode)code;
    call_over(c);
}

static bool http_wake(struct http *h, struct err **err)
{
    timer_free(take(h->silence));
    if (h->multi)
        return true;
    if (!h->global && !curl_must(curl_global_init(CURL_GLOBAL_DEFAULT), err))
        return false;
    h->global = true;
    h->multi = http_multi_new(h->loop, on_ended, h, err);
    return h->multi;
}

static bool call_send(struct http_call *c, const struct http_request *r, struct err **err)
{
    const char *proxy = NULL;

    if (!http_wake(c->http, err) || !call_check_url(c, r, &proxy, err))
        return false;
    c->easy = curl_easy_init();
    if (!curl_must(c->easy ? CURLE_OK : CURLE_OUT_OF_MEMORY, err) ||
        !curl_must(call_set_peer(c, r, proxy), err) || !curl_must(call_set_limits(c, r), err) ||
        !curl_must(call_set_message(c, r), err))
        return false;
    return http_multi_add(c->http->multi, c->easy, err);
}

struct http_call *http_start(struct http *h, const struct http_request *request, http_fn *fn,
                             void *userdata)
{
    struct http_call *c = xcalloc(1, sizeof(*c));

    *c = (struct http_call){.http = h, .fn = fn, .userdata = userdata};
    c->begun_ms = clock_boot_ms();
    c->ca_file = xstrdup(request->ca_file);
    buf_init(&c->body, request->body_max);
    if (call_send(c, request, &c->err))
        call_link(c, &h->running);
    else
        call_over(c);
    return c;
}

void http_call_free(struct http_call *c)
{
    if (!c || c->called)
        return;
    struct http *h = c->http;

    if (c->easy)
        http_multi_remove(h->multi, c->easy); /* harmless when it left already */
    call_unlink(c);
    call_end(c);
    http_rest(h);
}

struct http *http_new(struct loop *l, struct err **err)
{
    struct http *h = xcalloc(1, sizeof(*h));

    (void)err;
    h->loop = l;
    h->over_end = &h->over;
    unsetenv("SSLKEYLOGFILE"); /* libcurl would write the secrets of all connections there */
    return h;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    while (h->running)
        http_call_free(h->running);
    while (h->over)
        http_call_free(h->over);
    timer_free(h->turn);
    timer_free(h->silence);
    http_multi_free(h->multi);
    if (h->global)
        curl_global_cleanup();
    free(h);
}
