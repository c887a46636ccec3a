/* The inside of keys and of their jobs, for the files of pki/ only. */
#pragma once

#include <openssl/evp.h>

#include "base/worker.h"
#include "pki/key.h"

/* References are counted on the loop's thread only: jobs take theirs before they start and give it
 * back when they are over, so that no atomics are needed. OpenSSL lets several threads use one
 * EVP_PKEY. */
struct key {
    unsigned refs;
    enum key_type type;
    EVP_PKEY *pkey;
};

/* Takes pkey over, also on failure. NULL and ERR_SYSTEM when it is of no type of enum key_type. */
NODISCARD struct key *key_from_pkey(EVP_PKEY *pkey, struct err **err);
/* False for a type that is not of the enum. */
bool key_type_of(const EVP_PKEY *pkey, enum key_type *ret_type);
/* The digest that goes with a key: SHA-384 with P-384, else SHA-256. */
const EVP_MD *key_digest(const struct key *k);
/* Signature over data as OpenSSL makes it (ECDSA: DER). Blocks: worker thread only, except for the
 * check of a key that was read. Caller frees *ret_sig. */
NODISCARD bool key_sign_raw(const struct key *k, const void *data, size_t len,
                            unsigned char **ret_sig, size_t *ret_len, struct err **err);

/* One operation with a key. `run` works on a pool thread and may touch only the job; it leaves a
 * result in `made` or `out`, or an error. Exactly one of the two callbacks is set. */
struct key_job {
    struct job *job;
    void (*run)(struct key_job *j);
    struct key *key;     /* the job's own reference; NULL while generating */
    enum key_type type;  /* to generate */
    unsigned char *data; /* to sign */
    size_t data_len;
    struct strv names; /* of the CSR */
    bool must_staple;

    struct key *made;
    unsigned char *out;
    size_t out_len;
    struct err *err;

    key_made_fn *made_fn;
    void (*bytes_fn)(const unsigned char *bytes, size_t len, const struct err *e, void *userdata);
    void *userdata;
    bool called; /* inside the callback: key_job_free there does nothing, the job ends anyway */
};

struct key_job *key_job_start(struct worker *w, struct key_job job);
