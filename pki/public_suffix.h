/* What a CA counts certificates by: the registered domain, one label below the public suffix
 * (publicsuffix.org, private part included). The only user of libpsl. */
#pragma once

/* Of a canonical name (pki/name.h): "www.example.co.uk" and "*.example.co.uk" -> "example.co.uk"; a
 * name that is a public suffix itself stays as it is. IPv4 addresses stay, IPv6 becomes its /64
 * ("2001:db8:0:1::/64"). The list is read when this is called for the first time. Caller frees. */
char *public_suffix_domain(const char *canonical);
