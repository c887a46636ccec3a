/* Key operations on the pool. The job handle, the task and the result are one object: it ends after
 * the callback, or when the pool drops it after key_job_free. */
#include "pki/key_private.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

#include "pki/openssl.h"

static void key_job_end(struct key_job *j)
{
    key_unref(j->key);
    key_unref(j->made);
    free(j->data);
    strv_done(&j->names);
    free(j->out);
    err_free(j->err);
    free(j);
}

static void run_job(void *task)
{
    struct key_job *j = task;

    j->run(j);
}

static void drop_job(void *task)
{
    key_job_end(task);
}

static void on_job_done(void *task)
{
    struct key_job *j = task;

    j->job = NULL;
    j->called = true;
    if (j->made_fn)
        j->made_fn(take(j->made), j->err, j->userdata);
    else
        j->bytes_fn(j->out, j->out_len, j->err, j->userdata);
    key_job_end(j);
}

struct key_job *key_job_start(struct worker *w, struct key_job job)
{
    struct key_job *j = xmalloc(sizeof(*j));

    *j = job;
    j->job = job_start(w, run_job, on_job_done, drop_job, j);
    return j;
}

void key_job_free(struct key_job *j)
{
    if (j && !j->called)
        job_free(j->job); /* drop_job frees j, now or when the thread is through with it */
}

static EVP_PKEY *generate(enum key_type type)
{
    switch (type) {
    case KEY_ECDSA_P256:
        return EVP_EC_gen("P-256");
    case KEY_ECDSA_P384:
        return EVP_EC_gen("P-384");
    case KEY_RSA_2048:
        return EVP_RSA_gen(2048);
    case KEY_RSA_3072:
        return EVP_RSA_gen(3072);
    case KEY_RSA_4096:
        return EVP_RSA_gen(4096);
    }
    return NULL;
}

static void run_generate(struct key_job *j)
{
    EVP_PKEY *pkey = generate(j->type);

    if (pkey)
        j->made = key_from_pkey(pkey, &j->err);
    else
        err_from_openssl(&j->err, ERR_SYSTEM, "generating a key of type %s",
                         key_type_name(j->type));
}

struct key_job *key_generate(struct worker *w, enum key_type type, key_made_fn *fn, void *userdata)
{
    return key_job_start(
        w,
        (struct key_job){.run = run_generate, .type = type, .made_fn = fn, .userdata = userdata});
}

/* RFC 7518 3.4: JWS wants r || s, each as wide as the curve's order, where OpenSSL makes DER. */
static void ecdsa_to_jws(struct key_job *j, const unsigned char *der, size_t der_len)
{
    int width = j->key->type == KEY_ECDSA_P256 ? 32 : 48;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)der_len);

    openssl_must(sig, "d2i_ECDSA_SIG");
    j->out_len = 2 * (size_t)width;
    j->out = xmalloc(j->out_len);
    openssl_must(BN_bn2binpad(ECDSA_SIG_get0_r(sig), j->out, width) == width &&
                     BN_bn2binpad(ECDSA_SIG_get0_s(sig), j->out + width, width) == width,
                 "BN_bn2binpad");
    ECDSA_SIG_free(sig);
}

static void run_sign(struct key_job *j)
{
    auto_free unsigned char *sig = NULL;
    size_t len;

    if (!key_sign_raw(j->key, j->data, j->data_len, &sig, &len, &j->err))
        return;
    if (j->key->type == KEY_ECDSA_P256 || j->key->type == KEY_ECDSA_P384) {
        ecdsa_to_jws(j, sig, len);
    } else {
        j->out = take(sig);
        j->out_len = len;
    }
}

struct key_job *key_sign(struct worker *w, struct key *key, const void *data, size_t len,
                         key_signed_fn *fn, void *userdata)
{
    return key_job_start(w, (struct key_job){.run = run_sign,
                                             .key = key_ref(key),
                                             .data = len ? xmemdup(data, len) : NULL,
                                             .data_len = len,
                                             .bytes_fn = fn,
                                             .userdata = userdata});
}
