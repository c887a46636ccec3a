/* Names in certificates: DNS names as lower-case A-labels (IDNA2008, libidn2), wildcards, IP
 * addresses (RFC 8738, IPv6 in RFC 5952 form). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strv.h"

enum name_type { NAME_DNS, NAME_IP };

/* Canonical form of what a user typed: "Bücher.example" -> "xn--bcher-kva.example", "*.Example.org"
 * ->
 * "*.example.org", "2001:DB8::1" -> "2001:db8::1". A trailing dot is dropped. Refuses (ERR_CONFIG,
 * with the reason) empty labels, labels over 63, names over 253 octets, inner wildcards, characters
 * no host name has, and single-label names except "localhost". Caller frees. */
NODISCARD char *name_canonical(const char *text, struct err **err);
/* Canonical text of the 4 or 16 octets of an address; NULL for any other length. Caller frees. */
char *name_from_ip(const void *octets, size_t len);
enum name_type name_type(const char *canonical);
bool name_is_wildcard(const char *canonical);
/* "*.x" -> "x", everything else itself. */
const char *name_base(const char *canonical);
/* Whether a certificate name (maybe a wildcard) covers the host. */
bool name_covers(const char *pattern, const char *host);
