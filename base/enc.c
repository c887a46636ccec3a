#include "base/enc.h"

#include <stdint.h>
#include <string.h>

/* By hand: OpenSSL's decoders skip white space, take '=' anywhere and ignore trailing bits, and
 * know no base64url. */

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static char *encode(const unsigned char *data, size_t len, const char *alphabet, bool padding)
{
    char *text = xmalloc(len / 3 * 4 + 5), *at = text;
    uint32_t bits = 0;
    unsigned n_bits = 0;

    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | data[i]) & 0xffff;
        for (n_bits += 8; n_bits >= 6; n_bits -= 6)
            *at++ = alphabet[bits >> (n_bits - 6) & 63];
    }
    if (n_bits > 0)
        *at++ = alphabet[bits << (6 - n_bits) & 63];
    while (padding && (at - text) % 4 != 0)
        *at++ = '=';
    *at = '\0';
    return text;
}

char *enc_base64url(const void *data, size_t len)
{
    return encode(data, len, url_safe, false);
}

char *enc_base64(const void *data, size_t len)
{
    return encode(data, len, standard, true);
}

char *enc_hex(const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *bytes = data;
    char *text = xmalloc(2 * len + 1);

    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * len] = '\0';
    return text;
}

/* 0..63, or -1 */
static int value_of(const char *alphabet, char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;

    return at ? (int)(at - alphabet) : -1;
}

/* Characters of base64 on their way to bytes. */
struct decoder {
    unsigned char *data;
    size_t len;
    uint32_t bits;
    unsigned n_bits;
};

static void decoder_push(struct decoder *d, int value)
{
    d->bits = (d->bits << 6 | (uint32_t)value) & 0xffff;
    d->n_bits += 6;
    if (d->n_bits >= 8) {
        d->n_bits -= 8;
        d->data[d->len++] = (unsigned char)(d->bits >> d->n_bits);
    }
}

/* A last group of one character, or bits behind the last byte, say that something was cut off. */
static bool decoder_is_whole(const struct decoder *d)
{
    return d->n_bits < 6 && (d->bits & ((1u << d->n_bits) - 1)) == 0;
}

static bool decoder_give(struct decoder *d, bool good, unsigned char **ret_data, size_t *ret_len)
{
    if (!good || !decoder_is_whole(d)) {
        explicit_bzero(d->data, d->len); /* it may be most of a key */
        free(d->data);
        return false;
    }
    d->data[d->len] = '\0';
    *ret_data = d->data;
    *ret_len = d->len;
    return true;
}

static struct decoder decoder_new(const char *text)
{
    return (struct decoder){.data = xmalloc(strlen(text) / 4 * 3 + 4)};
}

bool dec_base64url(const char *text, unsigned char **ret_data, size_t *ret_len)
{
    struct decoder d = decoder_new(text);
    bool good = true;

    for (const char *c = text; *c && good; c++) {
        int value = value_of(url_safe, *c);
        good = value >= 0;
        if (good)
            decoder_push(&d, value);
    }
    return decoder_give(&d, good, ret_data, ret_len);
}

bool dec_base64_any(const char *text, unsigned char **ret_data, size_t *ret_len)
{
    struct decoder d = decoder_new(text);
    size_t padding = 0;
    bool good = true;

    for (const char *c = text; *c && good; c++) {
        if (strchr(" \t\r\n", *c))
            continue;
        if (*c == '=') {
            good = ++padding <= 2;
            continue;
        }
        int value = value_of(standard, *c);
        if (value < 0)
            value = value_of(url_safe, *c);
        good = value >= 0 && padding == 0;
        if (good)
            decoder_push(&d, value);
    }
    return decoder_give(&d, good, ret_data, ret_len);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool dec_hex(const char *text, unsigned char **ret_data, size_t *ret_len)
{
    size_t len = strlen(text);

    if (len % 2 != 0)
        return false;

    auto_free unsigned char *data = xmalloc(len / 2 + 1);
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        data[i] = (unsigned char)(high << 4 | low);
    }
    data[len / 2] = '\0';
    *ret_data = take(data);
    *ret_len = len / 2;
    return true;
}

bool enc_is_base64url(const char *text, size_t max)
{
    size_t len = 0;

    for (; text[len]; len++)
        if (len >= max || value_of(url_safe, text[len]) < 0)
            return false;
    return len > 0;
}
