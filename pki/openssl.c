#include "pki/openssl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#include "base/buf.h"

/* The oldest entries say what went wrong, later ones only who passed it on. */
#define REASONS_MAX 3

static void add_reason(struct buf *b, unsigned long code)
{
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

    if (reason && !strstr(b->data, reason)) {
        buf_add_str(b, b->len ? ": " : "");
        buf_add_str(b, reason);
    }
}

bool err_from_openssl(struct err **err, enum err_kind kind, const char *fmt, ...)
{
    auto_buf struct buf reasons;
    unsigned long code;
    va_list ap;

    buf_init(&reasons, 1024);
    for (int i = 0; i < REASONS_MAX && (code = ERR_get_error()) != 0; i++)
        add_reason(&reasons, code);
    ERR_clear_error();

    va_start(ap, fmt);
    auto_free char *text = xvasprintf(fmt, ap);
    va_end(ap);
    return err_set(err, kind, "%s%s%s", text, reasons.len ? ": " : "", reasons.data);
}

void openssl_must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "everleaf: OpenSSL failed in %s (out of memory?)\n", what);
    ERR_print_errors_fp(stderr);
    abort();
}
