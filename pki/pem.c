#include "pki/pem.h"

#include <limits.h>
#include <string.h>

#include <openssl/evp.h>

/* A line without its end and trailing white space. */
struct line {
    const char *text;
    size_t len;
};

void pem_init(struct pem_reader *r, const void *text, size_t len)
{
    *r = (struct pem_reader){.at = text, .end = (const char *)text + len, .line = 1};
}

static bool next_line(struct pem_reader *r, struct line *ret)
{
    if (r->at == r->end)
        return false;
    size_t left = (size_t)(r->end - r->at);
    const char *newline = memchr(r->at, '\n', left);
    size_t len = newline ? (size_t)(newline - r->at) : left;

    *ret = (struct line){.text = r->at, .len = len};
    r->at += newline ? len + 1 : len;
    r->line++;
    while (ret->len > 0 && strchr(" \t\r", ret->text[ret->len - 1]) && ret->text[ret->len - 1])
        ret->len--;
    return true;
}

static bool starts_with(const struct line *l, const char *prefix)
{
    size_t len = strlen(prefix);

    return l->len >= len && memcmp(l->text, prefix, len) == 0;
}

/* "-----BEGIN X-----" gives X; empty labels are legal (RFC 7468 3) but nothing we know. */
static bool read_boundary(const struct line *l, const char *prefix, const char **ret_label,
                          size_t *ret_len)
{
    size_t prefix_len = strlen(prefix);

    if (!starts_with(l, prefix) || l->len <= prefix_len + 5 ||
        memcmp(l->text + l->len - 5, "-----", 5) != 0)
        return false;
    *ret_label = l->text + prefix_len;
    *ret_len = l->len - prefix_len - 5;
    return memchr(*ret_label, '-', *ret_len) == NULL;
}

static enum pem_next read_body(struct pem_reader *r, struct pem_block *b, struct err **err)
{
    struct line l;

    b->body = r->at;
    while (next_line(r, &l)) {
        const char *label;
        size_t label_len;

        if (!starts_with(&l, "-----"))
            continue;
        if (!read_boundary(&l, "-----END ", &label, &label_len) || label_len != b->label_len ||
            memcmp(label, b->label, label_len) != 0)
            break;
        b->body_len = (size_t)(l.text - b->body);
        return PEM_BLOCK;
    }
    err_set(err, ERR_REFUSED, "the PEM block that begins in line %u has no matching END line",
            b->line);
    return PEM_BAD;
}

enum pem_next pem_next(struct pem_reader *r, struct pem_block *ret, struct err **err)
{
    struct line l;

    while (next_line(r, &l)) {
        *ret = (struct pem_block){.line = r->line - 1};
        if (read_boundary(&l, "-----BEGIN ", &ret->label, &ret->label_len))
            return read_body(r, ret, err);
        if (starts_with(&l, "-----BEGIN") || starts_with(&l, "-----END")) {
            err_set(err, ERR_REFUSED, "line %u looks like a PEM boundary and is none", ret->line);
            return PEM_BAD;
        }
        if (r->strict && l.len > 0) {
            err_set(err, ERR_REFUSED, "line %u has text outside the PEM blocks", ret->line);
            return PEM_BAD;
        }
    }
    return PEM_END;
}

bool pem_block_is(const struct pem_block *b, const char *label)
{
    return strlen(label) == b->label_len && memcmp(label, b->label, b->label_len) == 0;
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Copies the base64 characters; padding only at the end. EVP_DecodeBlock takes '=' anywhere, and
 * EVP_DecodeUpdate silently ends at a '-'. */
static bool collect_base64(const struct pem_block *b, char *to, size_t *ret_len,
                           size_t *ret_padding)
{
    size_t len = 0, padding = 0;

    for (size_t i = 0; i < b->body_len; i++) {
        char c = b->body[i];

        if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
            continue;
        if (c == '=')
            padding++;
        else if (padding > 0 || !is_base64(c))
            return false;
        to[len++] = c;
    }
    *ret_len = len;
    *ret_padding = padding;
    return len > 0 && len % 4 == 0 && padding <= 2;
}

bool pem_decode(const struct pem_block *b, unsigned char **ret_der, size_t *ret_len,
                struct err **err)
{
    if (b->body_len > INT_MAX)
        return err_set(err, ERR_REFUSED, "the PEM block in line %u is too long", b->line);

    auto_free char *text = xmalloc(b->body_len + 1);
    size_t len, padding;

    if (!collect_base64(b, text, &len, &padding))
        return err_set(err, ERR_REFUSED, "the PEM block in line %u is not base64", b->line);

    auto_free unsigned char *der = xmalloc(len / 4 * 3);
    int n = EVP_DecodeBlock(der, (const unsigned char *)text, (int)len);

    if (n < 0)
        return err_set(err, ERR_REFUSED, "the PEM block in line %u is not base64", b->line);
    *ret_der = take(der);
    *ret_len = (size_t)n - padding;
    return true;
}
