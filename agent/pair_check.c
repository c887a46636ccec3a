#include "agent/pair_check.h"

#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "pki/chain.h"
#include "pki/key.h"

#define PEM_MAX (1024 * 1024)

/* What the worker has; it outlives the handle when that is freed. */
struct reading {
    struct pair_check *owner;
    struct config *config;
    const struct config_server *server;
    struct err *err;
};

struct pair_check {
    struct job *job;
    pair_check_fn *fn;
    void *userdata;
};

static void reading_free(struct reading *r)
{
    config_unref(r->config);
    err_free(r->err);
    free(r);
}

static bool read_pem(const char *path, struct buf *ret)
{
    buf_init(ret, PEM_MAX);
    ret->wipe = true;
    return file_read(AT_FDCWD, path, PEM_MAX, true, ret, NULL);
}

static bool is_pair(const struct cert *leaf, const struct key *key)
{
    unsigned char spki[sizeof(leaf->spki_sha256)];

    key_spki_sha256(key, spki);
    return memcmp(spki, leaf->spki_sha256, sizeof(spki)) == 0;
}

/* A file that we may not read, or a key that has a passphrase, is nothing to judge by. */
static bool matches(const char *cert_path, const char *key_path, struct err **err)
{
    auto_buf struct buf cert_pem, key_pem;
    bool is_there = read_pem(cert_path, &cert_pem);
    bool has_key = read_pem(key_path, &key_pem);

    if (!is_there || !has_key)
        return true;
    struct chain *chain = chain_from_pem_file_text(cert_pem.data, cert_pem.len, NULL);
    struct key *key = key_from_pem(key_pem.data, key_pem.len, NULL);
    bool good = !chain || !key || is_pair(chain->items[0], key);
    chain_free(chain);
    key_unref(key);
    if (good)
        return true;
    err_set(
        err, ERR_REFUSED,
        "its configuration pairs %s with %s, which do not belong together: it would end when it "
        "loads them",
        cert_path, key_path);
    return err_hint(err, "let it read both from the same folder");
}

static void on_worker(void *task)
{
    struct reading *r = task;
    const struct server *s = &r->server->server;
    auto_strv struct strv pairs = {0};

    s->type->pairs(s, &pairs);
    for (size_t i = 0; i + 1 < pairs.n; i += 2) {
        if (!matches(pairs.items[i], pairs.items[i + 1], &r->err))
            return;
    }
}

static void on_done(void *task)
{
    struct reading *r = task;
    struct pair_check *p = r->owner;

    p->fn(r->err, p->userdata);
    free(p);
    reading_free(r);
}

static void on_dropped(void *task)
{
    reading_free(task);
}

struct pair_check *pair_check_start(const struct services *services, struct config *config,
                                    const struct config_server *server, pair_check_fn *fn,
                                    void *userdata)
{
    struct pair_check *p = xcalloc(1, sizeof(*p));
    struct reading *r = xcalloc(1, sizeof(*r));

    *r = (struct reading){.owner = p, .config = config_ref(config), .server = server};
    *p = (struct pair_check){.fn = fn, .userdata = userdata};
    p->job = job_start(services->worker, on_worker, on_done, on_dropped, r);
    return p;
}

void pair_check_free(struct pair_check *p)
{
    if (!p)
        return;
    job_free(p->job);
    free(p);
}
