/* One question to the OCSP responders of a certificate: GET where it fits, POST where a GET brought
 * nothing usable (a cache in the way, a responder that cannot), the next URL after that. Ends at
 * once when the issuer said good or revoked; else with the best that was heard. */
#pragma once

#include "agent/services.h"
#include "pki/ocsp.h"

struct ocsp_question {
    const struct cert *leaf, *issuer; /* copied */
    const struct strv *urls;          /* at most OCSP_URLS_MAX are asked; copied */
    enum ocsp_hash hash;
    time_t held; /* thisUpdate of the staple we have, 0: none */
};
#define OCSP_URLS_MAX 4

struct ocsp_fetched {
    struct ocsp_answer answer;
    const unsigned char *der; /* borrowed */
    size_t der_len;
    time_t fresh_until; /* of the reply, by Cache-Control or Expires; 0: nobody said */
    const char *url;    /* the responder */
    const char *id;     /* what it was asked about, see ocsp_id() */
};

/* One of f and e. e: nobody gave an answer that could be believed; kind and retry_at are those of
 * the last failure. The handle is gone when it returns. */
struct ocsp_fetch;
typedef void ocsp_fetch_fn(const struct ocsp_fetched *f, const struct err *e, void *userdata);
struct ocsp_fetch *ocsp_fetch_start(const struct services *services,
                                    const struct ocsp_question *question, ocsp_fetch_fn *fn,
                                    void *userdata);
void ocsp_fetch_free(struct ocsp_fetch *f); /* NULL is fine */
