#include "store/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/folder.h"
#include "store/generation_private.h"

#define NUMBER_DIGITS_MAX 15
#define INFO_MAX          (1024 * 1024) /* of bundle.json */

/* Life ---------------------------------------------------------------------------------------- */

struct generation *generation_ref(struct generation *g)
{
    g->refs++;
    return g;
}

void generation_unref(struct generation *g)
{
    if (!g || --g->refs > 0)
        return;
    chain_free(g->chain);
    key_unref(g->key);
    secret_free(g->key_pem);
    json_decref(g->info);
    free(g);
}

static void generation_unref_p(struct generation **g)
{
    generation_unref(*g);
}
#define auto_generation __attribute__((cleanup(generation_unref_p)))

const char *generation_sha256(const struct generation *g)
{
    return g->chain->items[0]->sha256_hex;
}

/* Names --------------------------------------------------------------------------------------- */

char *generation_folder_name(int64_t number)
{
    return xasprintf("%06" PRId64, number);
}

int64_t generation_number_of(const char *name)
{
    int64_t number = 0;
    size_t n = 0;

    for (; name[n] >= '0' && name[n] <= '9' && n < NUMBER_DIGITS_MAX; n++)
        number = number * 10 + (name[n] - '0');
    if (name[n] != '\0')
        return 0;
    auto_free char *canonical = generation_folder_name(number);
    return strcmp(canonical, name) == 0 ? number : 0;
}

int64_t generation_live_number(int dirfd)
{
    auto_free char *target = file_readlink(dirfd, GENERATION_LINK, NULL);
    const char *prefix = "generations/";

    if (!target || strncmp(target, prefix, strlen(prefix)) != 0)
        return 0;
    return generation_number_of(target + strlen(prefix));
}

char *generation_live_path(const struct state *s, const char *certificate)
{
    return xasprintf("%s/live/%s", s->path, certificate);
}

/* Folders ------------------------------------------------------------------------------------- */

int generation_open_all(struct state *s, const char *certificate, bool create, struct err **err)
{
    auto_close int fd = state_certificate_dir(s, certificate, create, err);

    return fd < 0 ? -1 : state_folder(s, fd, "generations", STATE_SHARED, create, err);
}

/* A state directory opened to its group later: the files follow as the folders do. */
static void share_files(const struct state *s, int fd)
{
    struct file_mode mode = state_file_mode(s, STATE_SHARED);
    auto_err struct err *e = NULL;
    struct stat st;

    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        auto_close int file =
            openat(fd, bundle_names[i], O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (file < 0 || fstat(file, &st) != 0 || !S_ISREG(st.st_mode) ||
            ((st.st_mode & 0040) && st.st_gid == s->group))
            continue; /* what is wrong with it is found when it is read */
        if (fchown(file, (uid_t)-1, mode.gid) != 0 || fchmod(file, mode.mode) != 0) {
            err_set_errno(&e, errno, "%s", bundle_names[i]);
            folder_owner_hint(&e);
            log_failure(LOG_LEVEL_WARNING, e, "not opened to the group of the state directory");
            return;
        }
    }
}

static int open_one(struct state *s, int all, int64_t number, struct err **err)
{
    auto_free char *name = generation_folder_name(number);
    int fd = all < 0 ? -1 : state_folder(s, all, name, STATE_SHARED, false, err);

    if (fd >= 0 && s->access == STATE_OWN && s->shared)
        share_files(s, fd);
    return fd;
}

static bool read_parts(const struct state *s, int fd, struct bundle *b, struct err **err)
{
    for (size_t i = 0; i < BUNDLE_PARTS; i++) {
        if (!state_read(s, fd, bundle_names[i], BUNDLE_PART_MAX, &b->parts[i], err))
            return false;
    }
    return true;
}

static json_t *read_info(const struct state *s, int fd, int64_t number, struct err **err)
{
    auto_buf struct buf text = {0};
    int64_t version = 0, n = 0;

    buf_init(&text, INFO_MAX);
    if (!state_read(s, fd, GENERATION_INFO, INFO_MAX, &text, err))
        return NULL;
    auto_json json_t *info = json_parse(text.data, text.len, err);
    if (!info || !json_need_int(info, "version", &version, err) ||
        !json_need_int(info, "number", &n, err)) {
        err_wrap(err, GENERATION_INFO);
        return NULL;
    }
    if (version > GENERATION_VERSION) {
        err_set(err, ERR_SYSTEM, GENERATION_INFO " was written by a newer release (version %lld)",
                (long long)version);
        return NULL;
    }
    if (n != number) {
        err_set(err, ERR_SYSTEM, GENERATION_INFO " is that of generation %lld", (long long)n);
        return NULL;
    }
    return take(info);
}

static bool damaged(int64_t number, const char *certificate, struct err **err)
{
    return err_wrap(err, "generation %lld of %s", (long long)number, certificate);
}

/* Facts --------------------------------------------------------------------------------------- */

json_t *generation_info_make(const json_t *info, const struct generation *g)
{
    const struct cert *leaf = g->chain->items[0];
    auto_bundle struct bundle b;
    json_t *j = json_deep_copy(info);

    bundle_make(&b, g->chain, g->key_pem);
    auto_free char *digest = bundle_digest(&b);
    json_put_int(j, "version", GENERATION_VERSION);
    json_put_str(j, "sha256", leaf->sha256_hex);
    json_put_str(j, "serial", leaf->serial_hex);
    json_put_strv(j, "names", &leaf->names);
    json_put_time(j, "not_before", leaf->not_before);
    json_put_time(j, "not_after", leaf->not_after);
    json_put_str(j, "issuer_cn", leaf->issuer_cn);
    json_put_str(j, "key_type", leaf->key_type_name);
    json_put_str(j, "digest", digest);
    return j;
}

static bool files_are_whole(const json_t *info, const struct bundle *b, struct err **err)
{
    const char *want = json_str(info, "digest");
    auto_free char *have = want ? bundle_digest(b) : NULL;

    if (want)
        return strcmp(want, have) == 0 ||
               err_set(err, ERR_SYSTEM, "the files are not those that were written");
    auto_chain struct chain *chain = NULL;
    auto_key struct key *key = NULL;
    return bundle_parse(b, &chain, &key, err);
}

static bool read_facts(const json_t *info, struct generation_facts *f, struct err **err)
{
    const char *sha256 = NULL, *serial = NULL;

    if (!json_need_string(info, "sha256", &sha256, err) ||
        !json_need_string(info, "serial", &serial, err))
        return false;
    f->sha256 = xstrdup(sha256);
    f->serial = xstrdup(serial);
    f->not_before = json_time(info, "not_before");
    f->not_after = json_time(info, "not_after");
    f->created_at = json_time(info, "created_at");
    f->issuer_cn = xstrdup(json_str(info, "issuer_cn"));
    f->key_type = xstrdup(json_str(info, "key_type"));
    f->issuer = xstrdup(json_str(info, "issuer"));
    f->directory = xstrdup(json_str(info, "directory"));
    f->account = xstrdup(json_str(info, "account"));
    f->ari_id = xstrdup(json_str(info, "ari_id"));
    json_read_strv(info, "names", &f->names);
    return f->not_after > f->not_before || err_set(err, ERR_SYSTEM, "no validity");
}

static bool facts_in(struct state *s, const char *certificate, int all, int64_t number,
                     struct generation_facts *ret, struct bundle *ret_bundle, struct err **err)
{
    struct generation_facts f = {.number = number};
    auto_bundle struct bundle b;
    auto_close int fd = open_one(s, all, number, err);
    auto_json json_t *info = fd < 0 ? NULL : read_info(s, fd, number, err);

    bundle_init(&b);
    if (!info || !read_parts(s, fd, &b, err) || !files_are_whole(info, &b, err))
        return damaged(number, certificate, err);
    if (!read_facts(info, &f, err)) {
        generation_facts_done(&f);
        err_wrap(err, GENERATION_INFO);
        return damaged(number, certificate, err);
    }
    *ret = f;
    if (ret_bundle) {
        bundle_done(ret_bundle);
        *ret_bundle = b;
        b = (struct bundle){0};
    }
    return true;
}

bool generation_facts(struct state *s, const char *certificate, int64_t number,
                      struct generation_facts *ret, struct bundle *ret_bundle, struct err **err)
{
    auto_close int all = generation_open_all(s, certificate, false, err);

    if (ret_bundle)
        bundle_init(ret_bundle);
    if (all < 0)
        return damaged(number, certificate, err);
    return facts_in(s, certificate, all, number, ret, ret_bundle, err);
}

void generation_facts_done(struct generation_facts *f)
{
    free(f->sha256);
    free(f->serial);
    free(f->issuer_cn);
    free(f->key_type);
    free(f->issuer);
    free(f->directory);
    free(f->account);
    free(f->ari_id);
    strv_done(&f->names);
    *f = (struct generation_facts){0};
}

/* Lists --------------------------------------------------------------------------------------- */

struct found {
    struct generation_list *list;
    bool hidden; /* something is there that has no name yet, or none any more */
};

static bool add_number(const char *name, void *userdata)
{
    struct found *f = userdata;
    struct generation_list *l = f->list;
    int64_t number = generation_number_of(name);
    size_t at = l->n;

    f->hidden = f->hidden || name[0] == '.';
    if (number == 0)
        return true;
    l->numbers = xreallocarray(l->numbers, l->n + 1, sizeof *l->numbers);
    for (; at > 0 && l->numbers[at - 1] > number; at--)
        l->numbers[at] = l->numbers[at - 1];
    l->numbers[at] = number;
    l->n++;
    return true;
}

void generation_list_done(struct generation_list *l)
{
    free(l->numbers);
    *l = (struct generation_list){0};
}

/* The open folders of a certificate, -1 where there is none. */
struct visit {
    int dirfd, all;
    bool hidden; /* in the folder of all */
};

static void visit_done(struct visit *v)
{
    close_p(&v->dirfd);
    close_p(&v->all);
}

static bool visit_open(struct state *s, const char *certificate, struct visit *ret,
                       struct err **err)
{
    auto_err struct err *e = NULL;

    *ret = (struct visit){.all = -1};
    ret->dirfd = state_certificate_dir(s, certificate, false, &e);
    if (ret->dirfd >= 0)
        ret->all = state_folder(s, ret->dirfd, "generations", STATE_SHARED, false, &e);
    return ret->all >= 0 || err_is_absent(e) || err_move(err, &e);
}

static bool visit_list(struct visit *v, struct generation_list *ret, struct err **err)
{
    struct found found = {.list = ret};
    int64_t live = v->dirfd < 0 ? 0 : generation_live_number(v->dirfd);

    *ret = (struct generation_list){0};
    if (v->all >= 0 && !state_each_name(v->all, add_number, &found, err)) {
        generation_list_done(ret);
        return false;
    }
    v->hidden = found.hidden;
    for (size_t i = 0; i < ret->n; i++) {
        if (ret->numbers[i] == live)
            ret->live = live;
    }
    return true;
}

/* Where nothing is under way for a certificate, whatever is hidden was left by a killed process. */
static void visit_sweep(struct state *s, const char *certificate, const struct visit *v)
{
    auto_free char *lanes = xasprintf("certificates/%s/", certificate);

    if (s->access != STATE_OWN || save_any(s, lanes))
        return;
    if (v->dirfd >= 0)
        state_sweep(v->dirfd);
    if (v->hidden)
        state_sweep(v->all);
}

bool generation_numbers(struct state *s, const char *certificate, struct generation_list *ret,
                        struct err **err)
{
    struct visit v;
    bool good = visit_open(s, certificate, &v, err) && visit_list(&v, ret, err);

    visit_done(&v);
    return good;
}

bool generation_list(struct state *s, const char *certificate, struct generation_list *ret,
                     struct err **err)
{
    struct visit v;
    bool good = visit_open(s, certificate, &v, err) && visit_list(&v, ret, err);

    if (good)
        visit_sweep(s, certificate, &v);
    visit_done(&v);
    return good;
}

bool generation_survey(struct state *s, const char *certificate, struct generation_list *ret,
                       struct generation_facts *ret_live, struct bundle *ret_bundle,
                       struct err **ret_damage, struct err **err)
{
    struct visit v;
    bool good = visit_open(s, certificate, &v, err) && visit_list(&v, ret, err);

    *ret_live = (struct generation_facts){0};
    if (ret_bundle)
        bundle_init(ret_bundle);
    if (good) {
        visit_sweep(s, certificate, &v);
        if (ret->live > 0)
            (void)!facts_in(s, certificate, v.all, ret->live, ret_live, ret_bundle, ret_damage);
    }
    visit_done(&v);
    return good;
}

/* Loading ------------------------------------------------------------------------------------- */

struct generation *generation_load(struct state *s, const char *certificate, int64_t number,
                                   struct err **err)
{
    auto_bundle struct bundle b;
    auto_close int all = generation_open_all(s, certificate, false, err);
    auto_close int fd = open_one(s, all, number, err);
    auto_generation struct generation *g = xcalloc(1, sizeof *g);

    bundle_init(&b);
    g->refs = 1;
    g->number = number;
    g->info = fd < 0 ? NULL : read_info(s, fd, number, err);
    if (!g->info || !read_parts(s, fd, &b, err) || !bundle_parse(&b, &g->chain, &g->key, err)) {
        damaged(number, certificate, err);
        return NULL;
    }
    const struct buf *pem = &b.parts[BUNDLE_KEY];
    g->key_pem = secret_new(pem->data, pem->len);
    return take(g);
}
