/* Revocation lists on disk: STATE_DIR/crl/HASH.crl, named by the URL's digest, with what is known
 * of it in HASH.json. A list is examined and kept by a worker; it is in memory only while that
 * lasts. */
#pragma once

#include "pki/crl.h"
#include "store/state.h"

struct crl_question {
    const char *url;
    const struct cert *issuer; /* copied */
    void *body;                /* a list just fetched (moved here), or NULL: the one on disk */
    size_t body_len;
    const char *etag, *last_modified; /* of that fetch, or NULL; copied */
    const struct strv *serials;       /* looked for; copied */
};

struct crl_result {
    time_t this_update, next_update;
    time_t fetched_at;
    const char *etag, *last_modified; /* or NULL */
    const struct crl_query *found;    /* one per serial, same order */
    size_t n;
};

/* Either. e: the list is none of that issuer and URL, over, older than the one on disk, or there is
 * none (err_is_absent). A list that was fetched replaces the one on disk only when it is good. */
struct crl_job;
typedef void crl_result_fn(const struct crl_result *r, const struct err *e, void *userdata);
struct crl_job *crl_examine(struct state *s, const struct crl_question *q, crl_result_fn *fn,
                            void *userdata);
void crl_job_free(struct crl_job *j); /* NULL is fine; what was fetched is kept all the same */
