#include "pki/public_suffix.h"

#include <arpa/inet.h>
#include <string.h>

#include <libpsl.h>

#include "pki/name.h"

/* The system's list when it is newer than the one built into the library: with an old list names
 * below a new suffix would all count as one domain. Kept for the life of the process. */
static const psl_ctx_t *list(void)
{
    static const psl_ctx_t *loaded;

    if (!loaded)
        loaded = psl_latest(NULL);
    if (!loaded)
        loaded = psl_builtin();
    return loaded;
}

static char *address_range(const char *address)
{
    struct in6_addr a;
    char text[INET6_ADDRSTRLEN];

    if (inet_pton(AF_INET6, address, &a) != 1)
        return xstrdup(address);
    memset(a.s6_addr + 8, 0, 8);
    return xasprintf("%s/64", inet_ntop(AF_INET6, &a, text, sizeof(text)));
}

char *public_suffix_domain(const char *canonical)
{
    const char *name = name_base(canonical);
    const char *domain;

    if (name_type(name) == NAME_IP)
        return address_range(name);
    domain = list() ? psl_registrable_domain(list(), name) : NULL;
    return xstrdup(domain ? domain : name);
}
