/* What a file or an endpoint holds, as `everleaf inspect` shows it. A plain value: it is filled
 * from one of the two sources, judged, compared with what is managed here, and written as JSON or
 * text. */
#pragma once

#include <stdio.h>

#include "agent/config.h"
#include "agent/inspected_staple.h"
#include "pki/cert.h"
#include "pki/probe.h"

enum inspected_key {
    INSPECTED_NO_KEY,
    INSPECTED_KEY_UNKNOWN, /* there is one that cannot be compared */
    INSPECTED_KEY_MATCHES,
    INSPECTED_KEY_OTHER, /* it belongs to another certificate */
};

struct inspection {
    char *file, *connect, *address, *sni; /* NULL where it does not apply */
    struct chain *chain;                  /* NULL: the file holds only a key */
    enum inspected_key key;
    char *key_text;    /* why the key cannot be compared, or NULL */
    const char *trust; /* chain_trust(), NULL without a certificate */
    char *trust_text;
    struct inspected_staple staple;
    char version[16], cipher[64]; /* of an endpoint */
    int64_t handshake_ms;
    char *managed;      /* the certificate it belongs to, NULL: none is known */
    int64_t generation; /* the one it is, 0: none of ours */
    bool is_live;
};

void inspection_done(struct inspection *i);
/* PEM with certificates, a key or both; a directory is read as those in live/ are (fullchain.pem or
 * cert.pem, privkey.pem). False: unreadable, or nothing of that in it. */
NODISCARD bool inspection_read(struct inspection *i, const char *path, struct err **err);
void inspection_take_probe(struct inspection *i, const struct probe_result *result);
/* host NULL: names are not checked; ca_file NULL: the system's roots. */
void inspection_judge(struct inspection *i, const char *ca_file, const char *host, time_t now);
/* Looks in the state directory for the certificate that has this leaf, or whose names it has. What
 * cannot be read leaves it unknown: false and err. */
NODISCARD bool inspection_compare(struct inspection *i, const struct config *config,
                                  const char *host, struct err **err);
/* 0, or 3: expired, revoked, a mismatched pair, or other than live. */
int inspection_exit(const struct inspection *i);
json_t *inspection_to_json(const struct inspection *i); /* everleaf.inspect/1 */
void inspection_print(FILE *out, const struct inspection *i, time_t now);
