#include "base/http_failure.h"

#include <errno.h>
#include <string.h>

/* Of OpenSSL: X509_V_ERR_UNSPECIFIED, ..._CERT_NOT_YET_VALID, ..._CERT_HAS_EXPIRED. libcurl leaves
 * the first one when the chain was fine and the names are not. */
enum { VERIFY_UNSPECIFIED = 1, VERIFY_NOT_YET_VALID = 9, VERIFY_EXPIRED = 10 };

static bool set_code(struct err **err, int code)
{
    if (err && *err)
        (*err)->code = code;
    return false;
}

static bool not_trusted(struct err **err, const struct http_failure *f)
{
    err_set(err, ERR_REFUSED, "%s is not trusted: %s", f->peer, f->detail);
    if (f->verdict <= VERIFY_UNSPECIFIED)
        return err_hint(err, "its certificate is for other names than the one in the URL");
    if (f->verdict == VERIFY_NOT_YET_VALID || f->verdict == VERIFY_EXPIRED)
        return err_hint(err,
                        "its certificate is out of date, or the clock of this machine is wrong");
    if (f->ca_file)
        return err_hint(err,
                        "the roots in %s do not vouch for it: set `ca_file` to the right root "
                        "certificate, unless somebody between reads along",
                        f->ca_file);
    return err_hint(err,
                    "the roots of this system do not vouch for it: for a private CA set `ca_file` "
                    "to its root certificate, unless somebody between reads along");
}

static bool not_connected(struct err **err, const struct http_failure *f)
{
    const char *why = f->errnum ? strerror(f->errnum) : f->detail;

    if (f->proxy)
        err_set(err, ERR_TRANSIENT, "no connection to the proxy %s (for %s): %s", f->proxy, f->peer,
                why);
    else
        err_set(err, ERR_TRANSIENT, "no connection to %s: %s", f->peer, why);
    return set_code(err, f->errnum);
}

static bool no_roots(struct err **err, const struct http_failure *f)
{
    err_set(err, ERR_CONFIG, "the root certificates for %s cannot be used: %s", f->peer, f->detail);
    if (f->ca_file)
        return err_hint(err, "%s must be a readable PEM file with certificates", f->ca_file);
    return err_hint(err, "install the package ca-certificates");
}

bool http_failure_set(struct err **err, const struct http_failure *f)
{
    auto_free char *via = f->proxy ? xasprintf(" (through the proxy %s)", f->proxy) : xstrdup("");

    switch (f->kind) {
    case HTTP_BAD_URL:
        return err_set(err, ERR_CONFIG, "a URL of %s: %s", f->peer, f->detail);
    case HTTP_NO_PROXY_ADDRESS:
        err_set(err, ERR_TRANSIENT, "the proxy %s (for %s) has no address: %s", f->proxy, f->peer,
                f->detail);
        return err_hint(err, "the proxy is named by https_proxy, http_proxy or all_proxy");
    case HTTP_NO_ADDRESS:
        return err_set(err, ERR_TRANSIENT, "%s has no address: %s", f->peer, f->detail);
    case HTTP_NOT_CONNECTED:
        return not_connected(err, f);
    case HTTP_TIMED_OUT:
        err_set(err, ERR_TRANSIENT, "no answer from %s%s: %s", f->peer, via, f->detail);
        return set_code(err, ETIMEDOUT);
    case HTTP_NO_TLS:
        err_set(err, ERR_TRANSIENT, "no TLS with %s%s: %s", f->peer, via, f->detail);
        return err_hint(err, "the server must speak TLS 1.2 or newer on that port");
    case HTTP_NOT_TRUSTED:
        return not_trusted(err, f);
    case HTTP_NO_ROOTS:
        return no_roots(err, f);
    case HTTP_TOO_LARGE:
        return err_set(err, ERR_REFUSED, "the reply of %s is over the maximum of %zu bytes",
                       f->peer, f->max);
    case HTTP_OTHER:
        break;
    }
    return err_set(err, ERR_TRANSIENT, "%s%s: %s", f->peer, via, f->detail);
}
