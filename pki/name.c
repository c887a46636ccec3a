#include "pki/name.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include <idn2.h>

#define NAME_MAX_OCTETS  253 /* RFC 1035 2.3.4, without the root's dot */
#define LABEL_MAX_OCTETS 63
#define TYPED_MAX        1024 /* no name that is worth converting is longer */

char *name_from_ip(const void *octets, size_t len)
{
    char text[INET6_ADDRSTRLEN];

    if (len != 4 && len != 16)
        return NULL;
    /* glibc writes RFC 5952 form: lower case, the longest run of zero groups as "::". */
    if (!inet_ntop(len == 4 ? AF_INET : AF_INET6, octets, text, sizeof(text)))
        return NULL;
    return xstrdup(text);
}

static char *ip_canonical(const char *text)
{
    unsigned char octets[16];

    if (inet_pton(AF_INET, text, octets) == 1)
        return name_from_ip(octets, 4);
    if (inet_pton(AF_INET6, text, octets) == 1)
        return name_from_ip(octets, 16);
    return NULL;
}

/* What people paste by mistake: an URL, a host with a port, an address in brackets. */
static bool refuse_paste(const char *text, struct err **err)
{
    if (strstr(text, "://") || strchr(text, '/')) {
        err_set(err, ERR_CONFIG, "\"%s\" is not a name", text);
        return err_hint(err, "write the host alone, without scheme and path");
    }
    if (strchr(text, ':') || text[0] == '[') {
        err_set(err, ERR_CONFIG, "\"%s\" is neither a name nor an IP address", text);
        return err_hint(err, "write the host alone, without port and brackets");
    }
    return true;
}

static bool is_ascii(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s >= 0x80)
            return false;
    }
    return true;
}

/* Lower-case A-labels of `text`. ASCII is only lower-cased: what libidn2 would say about hyphens
 * and characters is said below in our words, and unlike IDNA2008 host names may have "--" anywhere.
 */
static char *to_ascii(const char *text, struct err **err)
{
    if (is_ascii(text)) {
        char *lower = xstrdup(text);

        for (char *c = lower; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        return lower;
    }
    char *converted = NULL;
    int rc = idn2_to_ascii_8z(text, &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);

    if (rc != IDN2_OK) {
        err_set(err, ERR_CONFIG, "\"%s\" is no internationalised name: %s", text,
                idn2_strerror(rc));
        return NULL;
    }
    char *ascii = xstrdup(converted);

    idn2_free(converted);
    return ascii;
}

static bool check_punycode(const char *label, const char *name, struct err **err)
{
    char *decoded = NULL;
    int rc = idn2_to_unicode_8z8z(label, &decoded, 0);

    idn2_free(decoded);
    if (rc != IDN2_OK)
        return err_set(err, ERR_CONFIG, "\"%s\": the label \"%s\" is no valid A-label: %s", name,
                       label, idn2_strerror(rc));
    return true;
}

/* One label of a host name, RFC 1123 2.1: letters, digits, inner hyphens. */
static bool check_label(const char *label, size_t len, const char *name, struct err **err)
{
    if (len == 0)
        return err_set(err, ERR_CONFIG, "\"%s\" has an empty label", name);
    if (len > LABEL_MAX_OCTETS)
        return err_set(err, ERR_CONFIG, "\"%s\": a label is longer than %d characters", name,
                       LABEL_MAX_OCTETS);
    for (size_t i = 0; i < len; i++) {
        char c = label[i];

        if (c == '*')
            return err_set(err, ERR_CONFIG,
                           "\"%s\": a wildcard stands only alone as the first label (\"*.\")",
                           name);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return err_set(err, ERR_CONFIG, "\"%s\": \"%c\" cannot be part of a host name", name,
                           c);
    }
    if (label[0] == '-' || label[len - 1] == '-')
        return err_set(err, ERR_CONFIG, "\"%s\": a label begins or ends with a hyphen", name);
    if (strncmp(label, "xn--", 4) == 0) {
        auto_free char *copy = xstrndup(label, len);

        return check_punycode(copy, name, err);
    }
    return true;
}

/* `base`: the name without "*."; `name`: as shown to the user. */
static bool check_labels(const char *base, const char *name, struct err **err)
{
    const char *label = base;

    for (;;) {
        size_t len = strcspn(label, ".");

        if (!check_label(label, len, name, err))
            return false;
        if (label[len] == '\0')
            break;
        label += len + 1;
    }
    /* No top-level domain is a number; "10.0.0.256" and "127.1" are addresses gone wrong. */
    if (label[strspn(label, "0123456789")] == '\0')
        return err_set(err, ERR_CONFIG, "\"%s\" is neither a name nor an IP address", name);
    if (label == base && strcmp(base, "localhost") != 0) {
        err_set(err, ERR_CONFIG, "\"%s\" has only one label", name);
        return err_hint(err, "write the full name, such as %s.example.org", base);
    }
    return true;
}

static char *dns_canonical(const char *text, struct err **err)
{
    bool wildcard = strncmp(text, "*.", 2) == 0;
    auto_free char *base = to_ascii(text + (wildcard ? 2 : 0), err);

    if (!base)
        return NULL;
    size_t len = strlen(base);

    if (len > 1 && base[len - 1] == '.')
        base[len - 1] = '\0';
    if (!check_labels(base, text, err))
        return NULL;

    auto_free char *name = xasprintf("%s%s", wildcard ? "*." : "", base);

    if (strlen(name) > NAME_MAX_OCTETS) {
        err_set(err, ERR_CONFIG, "\"%s\" is longer than %d characters", text, NAME_MAX_OCTETS);
        return NULL;
    }
    return take(name);
}

char *name_canonical(const char *text, struct err **err)
{
    if (text[0] == '\0') {
        err_set(err, ERR_CONFIG, "a name is empty");
        return NULL;
    }
    if (strlen(text) > TYPED_MAX) {
        err_set(err, ERR_CONFIG, "a name is longer than %d characters", NAME_MAX_OCTETS);
        return NULL;
    }
    char *ip = ip_canonical(text);

    if (ip)
        return ip;
    if (!refuse_paste(text, err))
        return NULL;
    return dns_canonical(text, err);
}

enum name_type name_type(const char *canonical)
{
    unsigned char octets[16];

    return inet_pton(AF_INET, canonical, octets) == 1 || inet_pton(AF_INET6, canonical, octets) == 1
               ? NAME_IP
               : NAME_DNS;
}

bool name_is_wildcard(const char *canonical)
{
    return strncmp(canonical, "*.", 2) == 0;
}

const char *name_base(const char *canonical)
{
    return name_is_wildcard(canonical) ? canonical + 2 : canonical;
}

bool name_covers(const char *pattern, const char *host)
{
    if (strcasecmp(pattern, host) == 0)
        return true;
    if (!name_is_wildcard(pattern) || name_type(host) == NAME_IP)
        return false;
    /* RFC 6125 6.4.3: the wildcard is exactly one label. */
    const char *dot = strchr(host, '.');

    return dot && dot != host && strcasecmp(dot + 1, name_base(pattern)) == 0;
}
