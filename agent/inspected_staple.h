/* The staple that an endpoint sent or that lies beside a certificate, judged as a client would. */
#pragma once

#include "pki/cert.h"

struct inspected_staple {
    unsigned char *der; /* NULL: none */
    size_t len;
    const char *status; /* product.md section 10 "staple"; static */
    char *text;         /* what is wrong with it, or NULL */
    time_t this_update, next_update;
    bool checked;         /* its signature was: the chain has the issuer */
    bool compared, equal; /* with the one we hold for that certificate */
};

void inspected_staple_done(struct inspected_staple *s);
/* Copies. der NULL: there is none. */
void inspected_staple_take(struct inspected_staple *s, const void *der, size_t len);
void inspected_staple_judge(struct inspected_staple *s, const struct chain *chain, time_t now);
/* ours NULL: we hold none. */
void inspected_staple_compare(struct inspected_staple *s, const void *ours, size_t len);
json_t *inspected_staple_json(const struct inspected_staple *s);
/* In words; caller frees. */
char *inspected_staple_text(const struct inspected_staple *s);
