#include "agent/inspection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/print.h"
#include "base/clock.h"
#include "base/file.h"
#include "pki/name.h"
#include "pki/pem.h"
#include "store/generation.h"
#include "store/staple.h"

void inspection_done(struct inspection *i)
{
    free(i->file);
    free(i->connect);
    free(i->address);
    free(i->sni);
    chain_free(i->chain);
    free(i->key_text);
    free(i->trust_text);
    free(i->managed);
    inspected_staple_done(&i->staple);
    *i = (struct inspection){0};
}

/* Files
 * ---------------------------------------------------------------------------------------------- */

static bool is_private_key(const struct pem_block *b)
{
    static const char suffix[] = "PRIVATE KEY"; /* also "EC ...", "RSA ...", "ENCRYPTED ..." */
    size_t len = strlen(suffix);

    return b->label_len >= len && memcmp(b->label + b->label_len - len, suffix, len) == 0;
}

/* One pass to see what is there. *ret_key: from somewhere before the key to its end, or NULL. */
static bool survey_pem(const struct buf *pem, size_t *ret_certificates, const char **ret_key,
                       size_t *ret_key_len, struct err **err)
{
    struct pem_reader reader;
    struct pem_block block;
    enum pem_next next;
    const char *from = pem->data;

    pem_init(&reader, pem->data, pem->len);
    while ((next = pem_next(&reader, &block, err)) == PEM_BLOCK) {
        if (pem_block_is(&block, "CERTIFICATE"))
            (*ret_certificates)++;
        if (is_private_key(&block) && !*ret_key) {
            *ret_key = from;
            *ret_key_len = (size_t)(reader.at - from);
        }
        from = reader.at;
    }
    return next == PEM_END;
}

static void compare_key(struct inspection *i, const char *pem, size_t len)
{
    auto_err struct err *e = NULL;
    auto_key struct key *key = key_from_pem(pem, len, &e);
    unsigned char spki[32];

    i->key = INSPECTED_KEY_UNKNOWN;
    if (!key) {
        set_string(&i->key_text, xstrdup(e->text));
    } else if (i->chain) {
        key_spki_sha256(key, spki);
        i->key = memcmp(spki, i->chain->items[0]->spki_sha256, sizeof spki) == 0
                     ? INSPECTED_KEY_MATCHES
                     : INSPECTED_KEY_OTHER;
    }
}

static bool read_pem(struct inspection *i, int dirfd, const char *name, struct err **err)
{
    auto_buf struct buf pem;
    const char *key = NULL;
    size_t certificates = 0, key_len = 0;

    buf_init(&pem, CHAIN_PEM_MAX);
    pem.wipe = true;
    if (!file_read(dirfd, name, CHAIN_PEM_MAX, true, &pem, err))
        return dirfd == AT_FDCWD ? false : err_wrap(err, "%s", i->file);
    if (!survey_pem(&pem, &certificates, &key, &key_len, err))
        return err_wrap(err, "%s", i->file);
    if (certificates == 0 && !key)
        return err_set(err, ERR_REFUSED, "%s holds neither a certificate nor a private key in PEM",
                       i->file);
    if (certificates > 0 && !i->chain) {
        i->chain = chain_from_pem_file_text(pem.data, pem.len, err);
        if (!i->chain)
            return err_wrap(err, "%s", i->file);
    }
    if (key)
        compare_key(i, key, key_len);
    return true;
}

static bool read_directory(struct inspection *i, int dirfd, struct err **err)
{
    auto_err struct err *e = NULL;

    if (!read_pem(i, dirfd, "fullchain.pem", &e)) {
        if (!err_is_absent(e))
            return err_move(err, &e);
        err_free(take(e));
        if (!read_pem(i, dirfd, "cert.pem", err))
            return false;
    }
    if (i->key == INSPECTED_NO_KEY && !read_pem(i, dirfd, "privkey.pem", &e) && !err_is_absent(e)) {
        /* Certificates are for everybody, keys are not: what is readable is shown. */
        i->key = INSPECTED_KEY_UNKNOWN;
        set_string(&i->key_text, xstrdup(e->text));
    }
    auto_buf struct buf staple = {0};
    buf_init(&staple, STAPLE_MAX);
    if (file_read(dirfd, STAPLE_FILE, STAPLE_MAX, true, &staple, NULL))
        inspected_staple_take(&i->staple, staple.data, staple.len);
    return true;
}

bool inspection_read(struct inspection *i, const char *path, struct err **err)
{
    set_string(&i->file, xstrdup(path));
    auto_close int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return dirfd >= 0 ? read_directory(i, dirfd, err) : read_pem(i, AT_FDCWD, path, err);
}

/* Endpoints
 * ------------------------------------------------------------------------------------------ */

void inspection_take_probe(struct inspection *i, const struct probe_result *result)
{
    i->chain = xcalloc(1, sizeof *i->chain);
    for (size_t n = 0; n < result->chain->n; n++) {
        const struct cert *c = result->chain->items[n];
        struct cert *copy = cert_from_der(c->der, c->der_len, NULL); /* it was parsed before */
        if (copy)
            chain_add(i->chain, copy);
    }
    inspected_staple_take(&i->staple, result->staple, result->staple_len);
    i->handshake_ms = result->handshake_ms;
    memcpy(i->version, result->version, sizeof i->version);
    memcpy(i->cipher, result->cipher, sizeof i->cipher);
}

void inspection_judge(struct inspection *i, const char *ca_file, const char *host, time_t now)
{
    if (!i->chain)
        return;
    free(i->trust_text);
    i->trust = chain_trust(i->chain, ca_file, host, now, &i->trust_text);
    inspected_staple_judge(&i->staple, i->chain, now);
}

/* What is managed here
 * ------------------------------------------------------------------------------- */

/* Whether the leaf, or the host that was asked, has to do with the certificate. */
static bool has_its_names(const struct inspection *i, const struct config_certificate *c,
                          const char *host)
{
    const struct strv *names = &i->chain->items[0]->names;

    for (size_t n = 0; n < names->n; n++) {
        if (strv_has(&c->names, names->items[n]))
            return true;
    }
    for (size_t n = 0; host && n < c->names.n; n++) {
        if (name_covers(c->names.items[n], host))
            return true;
    }
    return false;
}

/* Compares with its generations on disk. True when it is one of them. */
static bool find_generation(struct inspection *i, struct state *state, const char *certificate,
                            bool *ret_has_live, struct err **err)
{
    const char *sha256 = i->chain->items[0]->sha256_hex;
    struct generation_list list = {0};
    bool found = false;

    if (!generation_list(state, certificate, &list, err))
        return false;
    *ret_has_live = list.live > 0;
    for (size_t n = list.n; n > 0 && !found; n--) {
        struct generation_facts facts = {0};
        auto_err struct err *e = NULL;
        int64_t number = list.numbers[n - 1];
        if (!generation_facts(state, certificate, number, &facts, NULL, &e)) {
            if (number == list.live) /* then nobody can tell what is live */
                err_move(err, &e);
            continue;
        }
        found = strcmp(facts.sha256, sha256) == 0;
        if (found) {
            auto_buf struct buf ours = {0};
            bool held = staple_load(state, certificate, number, &ours, NULL);
            inspected_staple_compare(&i->staple, held ? ours.data : NULL, ours.len);
            i->generation = number;
            i->is_live = number == list.live;
        }
        generation_facts_done(&facts);
    }
    generation_list_done(&list);
    return found;
}

bool inspection_compare(struct inspection *i, const struct config *config, const char *host,
                        struct err **err)
{
    if (!i->chain)
        return true;
    auto_err struct err *e = NULL;
    struct state *state = state_open(config->state_dir, STATE_READ, NULL, &e);
    bool found = false;

    if (!state)
        return err_is_absent(e) || err_move(err, &e); /* absent: nothing is managed yet */
    for (size_t n = 0; n < config->n_certificates && !found && !e; n++) {
        const struct config_certificate *c = config->certificates[n];
        bool has_live = false;
        if (!has_its_names(i, c, host))
            continue;
        found = find_generation(i, state, c->name, &has_live, &e);
        /* Another leaf for the same names only means something where one is live. */
        if (found || (has_live && !i->managed && !e))
            set_string(&i->managed, xstrdup(c->name));
    }
    state_free(state);
    return !e || err_move(err, &e);
}

/* Results
 * -------------------------------------------------------------------------------------------- */

int inspection_exit(const struct inspection *i)
{
    bool expired = i->trust && strcmp(i->trust, "expired") == 0;
    bool revoked = i->staple.status && strcmp(i->staple.status, "revoked") == 0;

    return expired || revoked || i->key == INSPECTED_KEY_OTHER || (i->managed && !i->is_live) ? 3
                                                                                              : 0;
}

static json_t *key_json(const struct inspection *i)
{
    json_t *j = json_object();
    bool known = i->key == INSPECTED_KEY_MATCHES || i->key == INSPECTED_KEY_OTHER;

    json_put_bool(j, "present", i->key != INSPECTED_NO_KEY);
    json_put(j, "matches", known ? json_boolean(i->key == INSPECTED_KEY_MATCHES) : json_null());
    return j;
}

static json_t *tls_json(const struct inspection *i)
{
    if (!i->connect)
        return json_null();
    json_t *j = json_object();

    json_put_str(j, "version", i->version);
    json_put_str(j, "cipher", i->cipher);
    json_put_int(j, "handshake_ms", i->handshake_ms);
    return j;
}

static json_t *managed_json(const struct inspection *i)
{
    if (!i->managed)
        return json_null();
    json_t *j = json_object();

    json_put_str(j, "name", i->managed);
    json_put(j, "generation", i->generation > 0 ? json_integer(i->generation) : json_null());
    json_put_bool(j, "is_live", i->is_live);
    return j;
}

json_t *inspection_to_json(const struct inspection *i)
{
    json_t *j = json_object();
    json_t *source = json_object();
    json_t *chain = json_array();

    json_put_str(source, "file", i->file);
    json_put_str(source, "connect", i->connect);
    json_put_str(source, "sni", i->sni);
    for (size_t n = 1; i->chain && n < i->chain->n; n++)
        json_array_append_new(chain, cert_to_json(i->chain->items[n]));
    json_put_str(j, "schema", "everleaf.inspect/1");
    json_put_int(j, "exit", inspection_exit(i));
    json_put(j, "source", source);
    json_put(j, "leaf", cert_to_json(i->chain ? i->chain->items[0] : NULL));
    json_put(j, "chain", chain);
    json_put(j, "key", key_json(i));
    json_put_str(j, "trust", i->trust);
    json_put_str(j, "trust_text", i->trust_text);
    json_put(j, "staple", inspected_staple_json(&i->staple));
    json_put(j, "tls", tls_json(i));
    json_put(j, "managed", managed_json(i));
    return j;
}

/* Text
 * -----------------------------------------------------------------------------------------------
 */

static void print_leaf(FILE *out, const struct cert *leaf, time_t now)
{
    char from[CLOCK_TEXT_MAX], to[CLOCK_TEXT_MAX], left[CLOCK_TEXT_MAX];
    auto_free char *names = strv_join(&leaf->names, ", ");

    print_line(out, 0, "names", leaf->names.n > 0 ? names : "none");
    print_line(out, 0, "subject", leaf->subject_cn);
    print_line(out, 0, "issued by", leaf->issuer_cn);
    print_line(out, 0, "serial", leaf->serial_hex);
    print_line(out, 0, "sha256", leaf->sha256_hex);
    print_line(out, 0, "key type", leaf->key_type_name);
    clock_rfc3339(leaf->not_before, from);
    clock_rfc3339(leaf->not_after, to);
    if (leaf->not_after > now)
        print_linef(out, 0, "valid", "%s to %s (%s left)", from, to,
                    duration_text((int64_t)leaf->not_after - (int64_t)now, left));
    else
        print_linef(out, 0, "valid", "%s to %s (expired)", from, to);
}

static void print_chain(FILE *out, const struct chain *c)
{
    char to[CLOCK_TEXT_MAX];

    for (size_t n = 1; n < c->n; n++) {
        const struct cert *issuer = c->items[n];
        print_linef(out, 0, "chain", "%s, issued by %s, valid to %s",
                    issuer->subject_cn ? issuer->subject_cn : "?", issuer->issuer_cn,
                    clock_rfc3339(issuer->not_after, to));
    }
}

static const char *key_words(const struct inspection *i)
{
    switch (i->key) {
    case INSPECTED_NO_KEY:
        return i->file ? "not here" : NULL;
    case INSPECTED_KEY_MATCHES:
        return "belongs to the certificate";
    case INSPECTED_KEY_OTHER:
        return "does NOT belong to the certificate";
    case INSPECTED_KEY_UNKNOWN:
        break;
    }
    return i->key_text ? i->key_text : "present";
}

static void print_managed(FILE *out, const struct inspection *i)
{
    if (!i->managed)
        return;
    if (i->generation > 0)
        print_linef(out, 0, "managed", "%s, generation %lld%s", i->managed,
                    (long long)i->generation, i->is_live ? ", live" : ", not the live one");
    else
        print_linef(out, 0, "managed", "the names are those of %s, which has another certificate",
                    i->managed);
}

void inspection_print(FILE *out, const struct inspection *i, time_t now)
{
    print_line(out, 0, "file", i->file);
    print_line(out, 0, "endpoint", i->connect);
    print_line(out, 0, "address", i->address);
    print_line(out, 0, "sni", i->sni);
    if (i->chain) {
        print_leaf(out, i->chain->items[0], now);
        print_chain(out, i->chain);
    }
    print_line(out, 0, "private key", key_words(i));
    if (i->trust)
        print_linef(out, 0, "trust", "%s: %s", i->trust, i->trust_text ? i->trust_text : "");
    if (i->connect) {
        auto_free char *staple = inspected_staple_text(&i->staple);
        print_line(out, 0, "staple", staple);
        print_linef(out, 0, "tls", "%s, %s, handshake %lld ms", i->version, i->cipher,
                    (long long)i->handshake_ms);
    }
    print_managed(out, i);
}
