#include "base/http_proxy.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX   256
#define SEPARATORS ", \t"

struct ip {
    unsigned char bytes[16];
    unsigned bits; /* 32 or 128; 0: no address */
};

static struct ip ip_parse(const char *text)
{
    struct ip ip = {0};

    if (inet_pton(AF_INET, text, ip.bytes) == 1)
        ip.bits = 32;
    else if (inet_pton(AF_INET6, text, ip.bytes) == 1)
        ip.bits = 128;
    return ip;
}

/* text without brackets and without the dot of the root; empty when it does not fit. */
static void trim(char out[HOST_MAX], const char *text, size_t len)
{
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len > 0 && text[len - 1] == '.')
        len--;
    if (len >= HOST_MAX)
        len = 0;
    memcpy(out, text, len);
    out[len] = '\0';
}

/* entry: "192.0.2.1", "192.0.2.0/24", "2001:db8::/32". */
static bool covers_ip(char *entry, const struct ip *ip)
{
    char *slash = strchr(entry, '/');
    unsigned long bits = ip->bits;

    if (slash) {
        char *end;
        *slash = '\0';
        bits = strtoul(slash + 1, &end, 10);
        if (end == slash + 1 || *end || bits > ip->bits)
            return false;
    }
    struct ip net = ip_parse(entry);
    if (net.bits != ip->bits || memcmp(net.bytes, ip->bytes, bits / 8) != 0)
        return false;
    unsigned mask = 0xff00u >> bits % 8 & 0xff;
    return bits % 8 == 0 || ((net.bytes[bits / 8] ^ ip->bytes[bits / 8]) & mask) == 0;
}

/* entry: "example.org" or ".example.org"; both mean the name and everything below it. */
static bool covers_name(const char *entry, const char *host)
{
    entry += *entry == '.';
    size_t n = strlen(entry), len = strlen(host);

    return n > 0 && n <= len && strcasecmp(host + len - n, entry) == 0 &&
           (n == len || host[len - n - 1] == '.');
}

static bool is_exempt(const char *list, const char *host)
{
    struct ip ip = ip_parse(host);

    while (*(list += strspn(list, SEPARATORS))) {
        char entry[HOST_MAX];
        size_t len = strcspn(list, SEPARATORS);

        trim(entry, list, len);
        if (strcmp(entry, "*") == 0 || (ip.bits ? covers_ip(entry, &ip) : covers_name(entry, host)))
            return true;
        list += len;
    }
    return false;
}

static const char *environment(const char *lower, const char *upper)
{
    const char *value = getenv(lower);

    return value || !upper ? value : getenv(upper);
}

/* $HTTP_PROXY is not looked at: in a CGI program it is a header of the request. */
const char *http_proxy_for(const char *scheme, const char *host)
{
    const char *proxy = strcmp(scheme, "https") == 0 ? environment("https_proxy", "HTTPS_PROXY")
                                                     : environment("http_proxy", NULL);
    const char *exempt = environment("no_proxy", "NO_PROXY");
    char name[HOST_MAX];

    if (!proxy)
        proxy = environment("all_proxy", "ALL_PROXY");
    if (!proxy || !*proxy)
        return NULL;
    trim(name, host, strlen(host));
    return exempt && is_exempt(exempt, name) ? NULL : proxy;
}

const char *http_proxy_chosen(const char *chosen, const char *scheme, const char *host)
{
    if (!chosen)
        return http_proxy_for(scheme, host);
    return strcmp(chosen, "off") == 0 ? NULL : chosen;
}

bool http_proxy_check(const char *text, struct err **err)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    const char *host = NULL;

    if (strcmp(text, "off") == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(schemes) && !host; i++) {
        if (strncmp(text, schemes[i], strlen(schemes[i])) == 0)
            host = text + strlen(schemes[i]);
    }
    if (host && strchr(host, '@')) {
        err_set(err, ERR_CONFIG, "a proxy's password does not belong into this file");
        return err_hint(err, "leave it out and set https_proxy in the environment");
    }
    if (!host || !*host || strpbrk(host, " \t\"<>\\")) {
        err_set(err, ERR_CONFIG, "this is no URL of a proxy");
        return err_hint(err, "write http://HOST:PORT, https://..., socks5h://... or off");
    }
    return true;
}
